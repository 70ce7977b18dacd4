"""reflexion: a proposal is reflected upon before it is evaluated; rounds are calls of the ledger, and are replayed."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from garden import Garden
from scripts import edit, metered

from archive.llm_calls import LlmCall
from archive.records import Candidate
from operators.base import NoCandidate
from operators.llm.base import LlmError, Overloaded
from operators.rewrite.reflexion import Reflexion

SOURCE = "RATE = 0.001\n\n\ndef train(session):\n    return RATE\n"
FIRST, SECOND, THIRD = (edit("RATE = 0.001", f"RATE = 0.00{n}", f"rate {n}") for n in (2, 3, 4))


def reflected(
    garden: Garden, answers: list[str | LlmError], calls: list[LlmCall] | None = None, **more: Any
) -> tuple[Candidate | NoCandidate, list[str]]:
    """The proposal, and the last message of each call."""
    root = garden.tree.root if len(garden.tree) else garden.plant(SOURCE, 3.0).node_id
    meter, model = metered(answers, calls, sleep=lambda seconds: None, **more)
    made = garden.ask(Reflexion(meter), root)
    return made, [prompt.messages[-1].text for prompt in model.prompts]


def test_the_last_round_is_what_is_evaluated(garden: Garden) -> None:
    made, told = reflected(garden, [FIRST, SECOND, THIRD])
    assert isinstance(made, Candidate)
    assert made.files == {"train.py": SOURCE.replace("0.001", "0.004")}
    assert (made.idea, made.operator) == ("rate 4", "reflexion")
    assert "reflect on it: round 1 of 2" in told[1]
    assert "round 2 of 2" in told[2]


def test_each_round_shows_the_proposal_that_it_is_about(garden: Garden) -> None:
    garden.plant(SOURCE, 3.0)
    meter, model = metered([FIRST, SECOND, THIRD])
    garden.ask(Reflexion(meter), garden.tree.root)
    shown = [turn.text for prompt in model.prompts for turn in prompt.messages if turn.role == "assistant"]
    assert shown == [FIRST, SECOND]


@pytest.mark.parametrize("keep", ["KEEP", "`KEEP`", "\n**KEEP**.\n"])
def test_keep_ends_the_rounds_and_costs_no_repair(garden: Garden, keep: str) -> None:
    made, told = reflected(garden, [FIRST, keep])
    assert isinstance(made, Candidate)
    assert (made.idea, len(told)) == ("rate 2", 2)


def test_keep_is_no_first_answer(garden: Garden) -> None:
    made, _ = reflected(garden, ["KEEP", "KEEP"])
    assert isinstance(made, NoCandidate)


def test_a_round_is_repaired_once_and_then_what_was_accepted_stands(garden: Garden) -> None:
    made, told = reflected(garden, [FIRST, "nonsense", SECOND, "KEEP"])
    assert isinstance(made, Candidate)
    assert (made.idea, len(told)) == ("rate 3", 4)
    made, told = reflected(garden, [FIRST, "nonsense", "more nonsense"])
    assert isinstance(made, Candidate)
    assert (made.idea, len(told)) == ("rate 2", 3)


def test_where_no_further_call_can_be_made_what_was_accepted_stands(garden: Garden) -> None:
    made, _ = reflected(garden, [FIRST, Overloaded("busy")])
    assert isinstance(made, Candidate)
    assert made.idea == "rate 2"


def test_the_cap_of_the_run_ends_the_rounds(garden: Garden) -> None:
    calls: list[LlmCall] = []
    reflected(garden, [FIRST, "KEEP"], calls)
    used = (calls[0].tokens_in or 0) + (calls[0].tokens_out or 0)
    made, told = reflected(garden, [FIRST, SECOND, THIRD], max_tokens=used + 4096)
    assert isinstance(made, Candidate)
    assert (made.idea, len(told)) == ("rate 2", 1), "the second call could exceed it"


def test_rounds_are_in_the_ledger_and_are_replayed_after_an_interruption(garden: Garden) -> None:
    calls: list[LlmCall] = []
    first, _ = reflected(garden, [FIRST, SECOND, THIRD], calls)
    assert [(call.turn, call.operator) for call in calls] == [(0, "reflexion"), (2, "reflexion"), (4, "reflexion")]
    assert len({call.template for call in calls}) == 1
    assert "reflexion.md" in calls[0].template
    paid = {call.turn: call for call in calls[:2]}
    again, told = reflected(garden, [THIRD], lookup=lambda run, move, turn: paid.get(turn))
    assert isinstance(first, Candidate)
    assert isinstance(again, Candidate)
    assert replace(again, aim=None) == replace(first, aim=None)
    assert len(told) == 1, "two of the three calls were paid for before"


def test_a_wrong_number_of_rounds_is_refused() -> None:
    with pytest.raises(ValueError, match=r"operators\.reflexion\.rounds is 0; expected at least 1"):
        Reflexion(metered([])[0], rounds=0)
