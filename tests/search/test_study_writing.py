"""Sections by a scripted model: what is wrong goes back to it, and a section that stays wrong is left plain."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "archive"))
from study_sample import a_study

from archive.llm_calls import LlmCall
from archive.paper import prose
from archive.paper.document import Document
from archive.paper.lint import lint
from archive.paper.numbers import Study
from archive.query.query import open_reader
from operators.llm.base import Prompt
from operators.llm.meter import Meter
from operators.llm.scripted import Scripted
from search.study.writing import FIRST_MOVE, WrittenSection, write


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Study]:
    reader = open_reader(a_study(tmp_path_factory.mktemp("study") / "a.duckdb"))
    with reader.held():
        yield Study.of(reader, "small")


def written(study: Study, script: Scripted, repairs: int = 1) -> tuple[dict[str, WrittenSection], list[LlmCall]]:
    calls: list[LlmCall] = []
    meter = Meter(script, max_dollars=1.0, max_tokens=10**6, record=calls.append)
    return {each.name: each for each in write(study, meter, "small-1", 1, repairs)}, calls


def plain_of(prompt: Prompt) -> str:
    """The plain version in a prompt: what a model that changes nothing answers."""
    return prompt.messages[0].text.split("in the section:\n\n")[1].split("\n\nAnswer with")[0]


@pytest.mark.slow
def test_sections_that_are_right_are_taken(study: Study) -> None:
    found, calls = written(study, Scripted(lambda prompt: f"```latex\n{plain_of(prompt)} We thank the reader.\n```"))
    assert [each.plain for each in found.values()] == [""] * len(prose.TITLES)
    assert all(each.text.endswith("We thank the reader.\n") for each in found.values())
    assert lint(Document(study, {name: each.text for name, each in found.items()})) == []
    assert [call.move for call in calls] == [FIRST_MOVE + len(prose.TITLES) + n for n in range(len(prose.TITLES))]
    assert {call.operator for call in calls} == {"write"}


@pytest.mark.slow
def test_an_invented_number_goes_back_with_its_line(study: Study) -> None:
    def answer(prompt: Prompt) -> str:
        text = plain_of(prompt)
        return text if len(prompt.messages) > 1 else text.replace("\\tw{gain}", "0.93")

    script = Scripted(answer)
    found, calls = written(study, script)
    assert not any(each.plain for each in found.values())
    wrong = [prompt.messages[-1].text for prompt in script.prompts if len(prompt.messages) > 1]
    assert len(wrong) == 2 == len(calls) - len(prose.TITLES)  # abstract and results
    assert all("0.93 is neither bound to a query" in text for text in wrong)


@pytest.mark.slow
@pytest.mark.parametrize("repairs", [0, 2])
def test_a_section_that_stays_wrong_is_left_plain(study: Study, repairs: int) -> None:
    found, calls = written(
        study, Scripted(lambda prompt: "We reach 0.93 \\cite{nobody2031}. \\input{/etc/passwd}"), repairs
    )
    assert {name: each.text for name, each in found.items()} == prose.sections(study)
    assert all("is not allowed in a section" in each.plain for each in found.values())
    assert len(calls) == len(prose.TITLES) * (1 + repairs)


def test_without_answers_the_paper_is_plain(study: Study) -> None:
    found, _ = written(study, Scripted([]))
    assert {name: each.text for name, each in found.items()} == prose.sections(study)
    assert all(each.plain.startswith("no answer") for each in found.values())
