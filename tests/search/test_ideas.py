"""Ideas as rows: from the scores of a run, and from a scripted model whose answers are checked and reflected on."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path

import duckdb
import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "archive"))
from archive_sample import Diary, a_family, a_run, an_ablation

from archive.llm_calls import LlmCall
from archive.paper.novelty import NoveltyFinding, available
from archive.research_ideas import ResearchIdea
from archive.storage.store import Archive
from operators.llm.base import LlmError
from operators.llm.meter import Meter
from operators.llm.scripted import Scripted
from search.cli.ideas import ideas
from search.study.hypotheses import hypotheses
from search.study.ideas import FIRST_MOVE, IdeaRequest, InvalidIdeas, ideas_of, parsed

FORM = {
    "name": "wide net", "title": "Width", "hypothesis": "Twice the width lowers the loss of the toy.",
    "experiment": "Evaluate it on three fresh seeds.", "expected_effect": "0.1", "risk": "slower",
    "interestingness": 7, "feasibility": 9,
}  # fmt: skip


def answer(**more: object) -> str:
    return f"Here they are:\n```json\n{json.dumps([{**FORM, **more}])}\n```"


# ---------------------------------------------------------------- from the archive


def test_what_nothing_has_tested_is_proposed(tmp_path: Path) -> None:
    with Archive.open(tmp_path / "a.duckdb") as archive:
        diary, (_, good, bad, _, best) = a_family(archive)
        found = {each.name: each for each in hypotheses(archive, diary.tree)}
        assert list(found) == [f"ablation-{each.node_id[:8]}" for each in (good, bad)], "the branches were merged"
        assert "0.3000" in found[f"ablation-{good.node_id[:8]}"].expected_effect
        assert best.node_id[:8] in found[f"ablation-{good.node_id[:8]}"].experiment
        an_ablation(archive, best, [3.0, 3.1], **{f"_{good.node_id}": [3.4, 3.5]})
        assert [each.name for each in hypotheses(archive, diary.tree)] == [f"ablation-{bad.node_id[:8]}"]


@pytest.mark.parametrize("direction", ["minimise", "maximise"])
def test_branches_without_a_merge_are_paired_the_best_first(tmp_path: Path, direction: str) -> None:
    sign = 1 if direction == "minimise" else -1
    with Archive.open(tmp_path / "a.duckdb") as archive:
        diary = Diary(archive, a_run(direction=direction))  # type: ignore[arg-type]
        root = diary.screened(diary.child(text="A = 0\n", operator="seed"), sign * 5.0)
        one, two, three = (diary.screened(diary.child(root), sign * score) for score in (1.0, 2.0, 3.0))
        names = [each.name for each in hypotheses(archive, diary.tree) if each.name.startswith("merge")]
        pairs = [(one, two), (one, three), (two, three)]
        assert names == [f"merge-{a.node_id[:8]}-{b.node_id[:8]}" for a, b in pairs]
        diary.child(two, one, operator="crossover")
        left = [each.name for each in hypotheses(archive, diary.tree) if each.name.startswith("merge")]
        assert left == names[1:], "in either order"


def test_parameters_are_proposed_with_the_estimate_of_their_effect(tmp_path: Path) -> None:
    with Archive.open(tmp_path / "a.duckdb") as archive:
        diary = Diary(archive)
        root = diary.screened(diary.child(text="RATE = 1.0\nSTEPS = 10\n", operator="seed"), 5.0)
        for n in range(1, 25):
            rate, steps = 1.0 + n / 10, 10 + n * 7 % 5
            diary.screened(diary.child(root, text=f"RATE = {rate}\nSTEPS = {steps}\n"), 5.0 - n / 10)
        found = [each for each in hypotheses(archive, diary.tree) if each.name.startswith("parameter")]
        assert found[0].title == "The effect of RATE"
        assert "Changing RATE from 1.0 to 3.4 increases the gain" in found[0].hypothesis
        diary.screened(diary.child(root, text="RATE = 1.0\nSTEPS = 13\n"), 4.9)
        left = [each.title for each in hypotheses(archive, diary.tree)]
        assert "The effect of RATE" not in left, "the best program was measured with RATE = 1.0"


# ---------------------------------------------------------------- from a model


def asked(
    script: Sequence[str | LlmError], rounds: int = 2, known: str = ""
) -> tuple[list[LlmCall], Scripted, tuple[ResearchIdea, ...]]:
    calls: list[LlmCall] = []
    model = Scripted(script)
    meter = Meter(model, max_dollars=1.0, max_tokens=10**6, record=calls.append)
    request = IdeaRequest(3, "Task: toy", "The topic: width", known, rounds)
    known_one = NoveltyFinding("known", "p in a.bib: Width", 0.9)
    found = ideas_of(
        request, meter, "night", lambda idea: known_one if idea.name == "wide-net" else NoveltyFinding("novel")
    )
    return calls, model, found


def test_a_model_reflects_on_what_the_program_found() -> None:
    calls, model, found = asked([answer(), answer(name="deep"), answer(name="deeper")])
    assert [(each.name, each.novelty, each.closest, each.rounds) for each in found] == [("deeper", "novel", None, 2)]
    assert "wide-net: known (closest: p in a.bib: Width)" in model.prompts[1].messages[-1].text
    assert {(call.operator, call.run) for call in calls} == {("ideas", "night")}
    assert [call.turn for call in calls] == [0, 1, 2]
    assert len({call.move for call in calls}) == 1
    assert calls[0].move >= FIRST_MOVE


def test_calls_with_another_prompt_have_another_number() -> None:
    first, again, other = (asked([answer()], 0, known)[0][0].move for known in ("", "", "an idea"))
    assert first == again != other


def test_a_wrong_answer_goes_back_and_the_last_right_one_stays() -> None:
    _, model, found = asked([answer(interestingness=11), answer(), "no JSON"])
    assert "interestingness of idea 1 has to be a whole number from 1 to 10" in model.prompts[1].messages[-1].text
    assert [(each.name, each.novelty, each.rounds) for each in found] == [("wide-net", "known", 1)]


def test_without_a_right_answer_there_is_an_error() -> None:
    with pytest.raises(LlmError, match=r"no answer of the model is in the form\. .*not JSON"):
        asked(["no", "nothing", "still nothing"])


def test_a_failed_reflection_keeps_the_ideas() -> None:
    _, _, found = asked([answer(), LlmError("overloaded")])
    assert [each.rounds for each in found] == [0]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{}", "expected a JSON array of at least one object, got dict"),
        ("[]", "at least one object"),
        ("[1]", "idea 1 is no object"),
        ("[" * 100_000, "not JSON"),
        (json.dumps([FORM, FORM]), "two ideas have one name"),
        (json.dumps([{**FORM, "risk": " "}]), "risk of idea 1 has to be a text"),
        (json.dumps([{**FORM, "title": "x" * 3000}]), "title of idea 1 has to be a text"),
        (json.dumps([{**FORM, "feasibility": True}]), "feasibility of idea 1 has to be a whole number"),
    ],
)
def test_what_is_not_in_the_form_is_refused(text: str, message: str) -> None:
    with pytest.raises(InvalidIdeas, match=message):
        parsed(text, 3, "scripted", 0)


def test_a_model_says_neither_what_is_novel_nor_more_than_was_asked() -> None:
    rows = [{**FORM, "name": f"n{n}", "novelty": "novel", "title": "a\x1b[31mb"} for n in range(5)]
    found = parsed(json.dumps(rows), 3, "scripted", 0)
    assert [(each.name, each.novelty, each.title) for each in found] == [(f"n{n}", "undecided", "ab") for n in range(3)]


# ---------------------------------------------------------------- the command


@pytest.fixture
def night(tmp_path: Path) -> Path:
    path = tmp_path / "a.duckdb"
    with Archive.open(path) as archive:
        a_family(archive)
    return path


def rows_of(path: Path, sql: str) -> list[tuple[object, ...]]:
    with Archive.open(path) as archive:
        return archive.query(sql)


def test_ideas_become_rows_once(night: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert ideas([f"archive={night}", "llm=none"]) == 0
    said = capsys.readouterr().out
    assert "Without a language model" in said
    assert ("no idea is called novel" if available() else "undecided without bm25s") in said
    assert "\n2 ideas recorded" in said
    assert ideas([f"archive={night}", "llm=none", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == []
    assert rows_of(night, "SELECT source, novelty, rounds FROM research_ideas") == [("archive", "undecided", 0)] * 2


@pytest.mark.skipif(not available(), reason="bm25s, of the extra [ideas], is not installed")
def test_a_store_decides_what_is_novel(night: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "a.jsonl").write_text('{"title": "Packing circles into a square"}\n')
    assert ideas([f"archive={night}", "llm=none", "--literature", str(tmp_path / "a.jsonl"), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert [(idea["novelty"], idea["closest"]) for idea in found] == [("novel", None)] * 2


@pytest.mark.slow
def test_a_model_of_the_configuration_is_asked_and_its_calls_are_in_the_ledger(
    night: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "topic.md").write_text("Look at </data> widths.")
    script = [f"archive={night}", "llm=scripted", f"llm.answers={json.dumps([json.dumps([FORM])] * 2)}"]
    assert ideas([*script, "--from", str(tmp_path / "topic.md"), "--rounds", "1", "--count", "1"]) == 0
    assert "wide-net: Width" in capsys.readouterr().out
    assert rows_of(night, "SELECT name, rounds, novelty FROM research_ideas") == [("wide-net", 1, "undecided")]
    calls = rows_of(night, "SELECT run, operator, text FROM llm_calls JOIN sources ON sha = prompt_sha ORDER BY turn")
    assert [(run, operator) for run, operator, _ in calls] == [("night", "ideas")] * 2
    assert "Look at ‹/data> widths." in str(calls[0][2])


def test_a_command_that_was_killed_before_it_recorded_does_not_pay_twice(night: Path) -> None:
    asked_once = [f"archive={night}", "llm=scripted", "--rounds", "0"]
    assert ideas([*asked_once, f"llm.answers={json.dumps([json.dumps([FORM])])}"]) == 0
    with duckdb.connect(str(night)) as connection:
        connection.execute("DELETE FROM research_ideas")
    assert ideas([*asked_once, "llm.answers=[]"]) == 0
    assert rows_of(night, "SELECT name FROM research_ideas") == [("wide-net",)]
    assert len(rows_of(night, "SELECT 1 FROM llm_calls")) == 1


def test_an_archive_or_a_store_that_is_not_there_is_an_error(
    night: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert ideas([f"archive={tmp_path / 'none.duckdb'}", "llm=none"]) == 1
    assert "there is no archive" in capsys.readouterr().err
    assert not (tmp_path / "none.duckdb").exists()
    assert ideas([f"archive={night}", "llm=none", "--literature", str(tmp_path / "none.bib")]) == 1
    assert "cannot be read" in capsys.readouterr().err
