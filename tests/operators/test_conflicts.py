"""Crossover with conflicts resolved by a language model; without a valid answer they are drawn."""

from __future__ import annotations

import pytest
from garden import Garden
from scripts import metered

from archive.llm_calls import LlmCall
from archive.records import Candidate
from operators.base import NoCandidate
from operators.llm.base import KeyRefused, Overloaded
from operators.recombine.conflicts import read_places
from operators.recombine.crossover import Crossover
from operators.rewrite.answers.search_replace import InvalidAnswer

BASE = """\
RATE = 0.001


def train(session):
    model = build()
    model = middle(model)
    return fit(model)


def predict(state, task):
    return state
"""


def answer(*places: str, idea: str = "both") -> str:
    blocks = "\n".join(f"PLACE {number}\n```\n{text}\n```" for number, text in enumerate(places, 1))
    return f"IDEA: {idea}\n\n{blocks}\n"


GOOD = answer("    model = gate(wide())", idea="the gate around the wider model")


def quarrel(garden: Garden) -> tuple[str, str]:
    """Two children that changed the same line, and each another one that nobody else touched."""
    root = garden.plant(BASE, 3.0)
    a = BASE.replace("build()", "gate(build())").replace("RATE = 0.001", "RATE = 0.002")
    b = BASE.replace("build()", "wide()").replace("return state", "return back(state)")
    left = garden.grow(a, (root.node_id,), "improve", "a gate", 2.8, aim="architecture")
    right = garden.grow(b, (root.node_id,), "improve", "a wider model", 2.9)
    return left.node_id, right.node_id


def test_the_model_writes_the_conflict_and_the_rest_is_merged(garden: Garden) -> None:
    a, b = quarrel(garden)
    calls: list[LlmCall] = []
    meter, _ = metered([GOOD], calls)
    crossover = Crossover(llm=meter)
    assert crossover.needs_llm
    child = garden.ask(crossover, a, b)
    merged = (
        BASE.replace("build()", "gate(wide())").replace("0.001", "0.002").replace("return state", "return back(state)")
    )
    idea = f"merge of {a[:8]} and {b[:8]}: the gate around the wider model"
    assert child == Candidate({"train.py": merged}, (a, b), "crossover", idea)
    assert [(call.operator, call.turn) for call in calls] == [("crossover", 0)]
    assert "resolve.md" in calls[0].template


def test_both_ideas_and_all_three_versions_are_shown(garden: Garden) -> None:
    a, b = quarrel(garden)
    meter, model = metered([GOOD])
    garden.ask(Crossover(llm=meter), a, b)
    text = model.prompts[0].text
    first, second = text.index("improve (architecture): a gate: 2.8, better by 0.2"), text.index("a wider model: 2.9")
    assert text.index("The idea of program A") < first < text.index("The idea of program B") < second
    assert "the seed: 3" not in text, "what both have in common is no idea of either"
    for version in ("model = build()", "model = gate(build())", "model = wide()"):
        assert text.count(version) == 1
    assert "### PLACE 1 ###" in text
    assert "RATE = 0.002" in text
    assert "back(state)" in text, "the merged program"


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        ("IDEA: x\n", "PLACE 1 is missing"),
        ("A and B go well together.\n", "PLACE 1 is missing"),
        ("IDEA: x\nPLACE 1\n", "no block between lines of three backticks"),
        (answer("    model = wide()", "more"), "none of the places 1 to 1"),
        (answer("    model = ("), "does not parse"),
    ],
)
def test_an_answer_that_cannot_be_used_gets_one_repair_and_then_chance_decides(
    garden: Garden, bad: str, reason: str
) -> None:
    a, b = quarrel(garden)
    meter, model = metered([bad, GOOD])
    child = garden.ask(Crossover(llm=meter), a, b)
    assert isinstance(child, Candidate)
    assert "gate(wide())" in child.files["train.py"]
    assert reason in model.prompts[1].messages[-1].text
    meter, _ = metered([bad, bad])
    drawn = garden.ask(Crossover(llm=meter), a, b)
    assert isinstance(drawn, Candidate)
    assert "wide()" in drawn.files["train.py"] or "gate(build())" in drawn.files["train.py"]
    assert "conflicts drawn: the answer could not be used" in drawn.idea


def test_a_gate_is_heard_before_the_answer_is_taken(garden: Garden) -> None:
    a, b = quarrel(garden)
    meter, model = metered([GOOD, answer("    model = both()")])
    child = garden.ask(
        Crossover(llm=meter), a, b, gate=lambda files: "no gates" if "gate" in files["train.py"] else None
    )
    assert isinstance(child, Candidate)
    assert "both()" in child.files["train.py"]
    assert "no gates" in model.prompts[1].messages[-1].text


@pytest.mark.parametrize("error", [Overloaded("busy"), KeyRefused("no such key")])
def test_without_an_answer_chance_decides(garden: Garden, error: Overloaded | KeyRefused) -> None:
    a, b = quarrel(garden)
    meter, _ = metered([error])
    meter.model.attempts = 1  # type: ignore[union-attr]
    crossover = Crossover(llm=meter)
    drawn = garden.ask(crossover, a, b)
    assert isinstance(drawn, Candidate)
    assert f"conflicts drawn: no answer: {type(error).__name__}" in drawn.idea
    assert crossover.needs_llm is not error.fatal, "a model that can answer no more is not waited for"


def test_without_conflicts_nobody_is_asked(garden: Garden) -> None:
    root = garden.plant(BASE, 3.0)
    a = garden.grow(BASE.replace("build()", "wide()"), (root.node_id,), score=2.9)
    b = garden.grow(BASE.replace("return state", "return back(state)"), (root.node_id,), score=2.9)
    meter, model = metered([])
    child = garden.ask(Crossover(llm=meter), a.node_id, b.node_id)
    assert isinstance(child, Candidate)
    assert model.prompts == []
    assert "conflicts" not in child.idea


def test_what_equals_a_parent_is_not_taken(garden: Garden) -> None:
    root = garden.plant(BASE, 3.0)
    a = garden.grow(BASE.replace("build()", "gate(build())"), (root.node_id,), score=2.8)
    b = garden.grow(BASE.replace("build()", "wide()"), (root.node_id,), score=2.9)
    meter, model = metered([answer("    model = wide()")] * 2)
    refused = garden.ask(Crossover(llm=meter), a.node_id, b.node_id)
    assert isinstance(refused, NoCandidate)
    assert "equals one of its parents" in model.prompts[1].messages[-1].text


def test_without_a_model_it_is_as_it_was() -> None:
    assert not Crossover().needs_llm


def test_places_are_read_strictly() -> None:
    text = "**IDEA:** x\n## PLACE 2:\n```python\nb\n```\nwords\nPLACE 1\n```\n```\n"
    answered = read_places(text, 2)
    assert (answered.idea, answered.places) == ("x", ((), ("b\n",)))
    with pytest.raises(InvalidAnswer, match="PLACE 1 is given twice"):
        read_places(answer("x") + "PLACE 1\n```\ny\n```\n", 1)


def test_constants_that_conflict_are_drawn_once_for_what_is_shown_and_for_what_is_made(garden: Garden) -> None:
    root = garden.plant(BASE, 3.0)
    drawn = set()
    for i in range(6):
        a = garden.grow(BASE.replace("build()", "gate()").replace("0.001", f"0.1{i}"), (root.node_id,), score=2.8)
        b = garden.grow(BASE.replace("build()", "wide()").replace("0.001", f"0.2{i}"), (root.node_id,), score=2.8)
        meter, model = metered([answer(f"    model = both({i})")])
        child = garden.ask(Crossover(llm=meter), a.node_id, b.node_id, seed=i)
        assert isinstance(child, Candidate)
        rate = child.files["train.py"].splitlines()[0]
        assert rate in model.prompts[0].text
        drawn.add(rate[:10])
    assert drawn == {"RATE = 0.1", "RATE = 0.2"}
