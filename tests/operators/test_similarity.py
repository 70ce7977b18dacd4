"""Similarity of two changes, and the answer to a near-duplicate of a change that failed."""

from __future__ import annotations

import pytest
from garden import Garden
from hypothesis import given
from hypothesis import strategies as st
from scripts import edit, metered, whole

from archive.llm_calls import LlmCall
from archive.records import Candidate
from operators.base import NoCandidate
from operators.languages.similarity import NEAR_DUPLICATE, program_size, similarity
from operators.rewrite.improve import Improve

PARENT = """\
import torch
from torch import nn

RATE = 0.001
WARMUP = 0.05


def train(session):
    model = build(RATE)
    return fit(model, WARMUP)
"""
GATE = """\
class Gate(nn.Module):
    \"\"\"A gate.\"\"\"

    def __init__(self, width):
        super().__init__()
        self.inner = nn.Linear(width, width)
        self.scale = nn.Parameter(torch.zeros(width))

    def forward(self, x):
        opened = torch.sigmoid(self.inner(x))
        return x * opened * self.scale


"""


def files(text: str) -> dict[str, str]:
    return {"train.py": text}


def gated(block: str = GATE) -> dict[str, str]:
    return files(PARENT.replace("def train", block + "def train").replace("build(RATE)", "Gate(build(RATE))"))


@pytest.mark.parametrize(
    ("other", "low", "high"),
    [
        (gated(), 1.0, 1.0),
        (gated(GATE.replace("A gate", "Another word").replace("opened = ", "opened =  ")), 1.0, 1.0),
        (gated(GATE.replace("opened", "g")), NEAR_DUPLICATE, 0.99),
        (gated(GATE.replace("zeros", "ones")), NEAR_DUPLICATE, 0.99),
        (
            gated(GATE.replace("        return", "        opened = opened.clone()\n        return")),
            NEAR_DUPLICATE,
            0.99,
        ),
        (files(PARENT.replace("build(RATE)", "Gate(build(RATE))")), 0.0, 0.3),
        (files(PARENT.replace("0.05", "0.1")), 0.0, 0.05),
        (files(PARENT), 0.0, 0.0),
    ],
)
def test_changes_are_compared_and_not_programs(other: dict[str, str], low: float, high: float) -> None:
    assert low <= similarity(files(PARENT), gated(), other) <= high


def test_another_value_is_another_change() -> None:
    one, other = files(PARENT.replace("0.001", "0.002")), files(PARENT.replace("0.001", "0.003"))
    assert similarity(files(PARENT), one, other) < 0.5
    assert program_size(one) == program_size(other) == program_size(files(PARENT + "# a comment\n"))
    assert program_size(gated()) > program_size(files(PARENT)) > program_size(files("x = 1\n"))


def test_taking_away_is_not_adding() -> None:
    line = "model = warm(model, RATE, steps=WARMUP, sharp=True)\n"
    assert similarity(files(line), files(""), files(line + line)) < 0.3


@given(st.lists(st.sampled_from(["a = 1", "b = a", "c = f(a, b)", "d = [c]", "e = a + b"]), max_size=6), st.booleans())
def test_it_is_symmetric_and_bounded(lines: list[str], python: bool) -> None:
    path = "train.py" if python else "notes.txt"
    base, one, other = {path: "a = 1\n"}, {path: "\n".join(lines)}, {path: "c = f(a, b)\nd = [c]\n"}
    value = similarity(base, one, other)
    assert 0.0 <= value <= 1.0
    assert value == similarity(base, other, one)
    assert similarity(base, one, one) in (0.0, 1.0)


ANSWER = whole(gated()["train.py"], "a gate")
NEARLY = whole(gated(GATE.replace("zeros", "ones"))["train.py"], "a gate that is open")


def test_what_is_nearly_a_failed_sibling_is_told_once_and_then_believed(garden: Garden) -> None:
    root = garden.plant(PARENT, 3.0)
    sibling = garden.grow(gated(), (root.node_id,))
    meter, model = metered([NEARLY, NEARLY])
    assert isinstance(garden.ask(Improve(meter), root.node_id), Candidate), "it has not failed yet"
    assert len(model.prompts) == 1
    garden.fail(sibling, "out_of_memory")
    meter, model = metered([NEARLY, NEARLY])
    insisted = garden.ask(Improve(meter), root.node_id)
    assert isinstance(insisted, Candidate)
    assert len(model.prompts) == 2
    said = model.prompts[1].messages[-1].text
    assert f"nearly the change of {sibling.node_id[:8]}, which ran out of memory (similarity 0." in said
    other = edit("WARMUP = 0.05", "WARMUP = 0.1")
    meter, model = metered([NEARLY, other])
    assert garden.ask(Improve(meter), root.node_id) == Candidate(
        files(PARENT.replace("0.05", "0.1")), (root.node_id,), "improve", "an idea", _aim(model.prompts[0].text)
    )


def test_what_equals_a_failed_sibling_is_refused_for_good(garden: Garden) -> None:
    root = garden.plant(PARENT, 3.0)
    garden.fail(garden.grow(gated(), (root.node_id,)))
    calls: list[LlmCall] = []
    meter, _ = metered([ANSWER, ANSWER], calls)
    refused = garden.ask(Improve(meter), root.node_id)
    assert isinstance(refused, NoCandidate)
    assert "tried before" in refused.reason
    assert [(call.turn, call.dollars) for call in calls] == [(0, 0.0), (1, 0.0)], "both are recorded with their price"


def _aim(prompt: str) -> str:
    return prompt.partition("of one kind, **")[2].partition("**")[0]
