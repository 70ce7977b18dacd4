"""Attacks in evaluations for a claim, which have no scoring sandbox.

What looks ahead finds nothing there: it ends as invalid, or with a score that is no better than the honest program's.
All that keeps answers, learns from windows or trains while it is judged is found by the second sandbox and the clock.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from archive.records import Scored

PROGRAMS = Path(__file__).parent / "candidates"
CHEATS = ["changes_with_its_calls", "fits_the_batch", "look_ahead", "replays_between_sandboxes", "trains_in_predict"]
AT_NIGHT = [
    "changes_with_the_batch",
    "learns_while_judged",
    "logits_of_infinity",
    "look_ahead_memo",
    "look_ahead_where_it_pays",
    "unnormalised",
    "zero_loss",
]
"""They go the way of one of ``CHEATS`` in a claim, or meet arithmetic that screenings share."""


@pytest.fixture(scope="module")
def honest(run_candidate, toy_seed: str) -> Scored:
    found = run_candidate(toy_seed, purpose="report")
    assert isinstance(found, Scored), found
    return found


@pytest.mark.slow
@pytest.mark.parametrize("name", [*CHEATS, *(pytest.param(name, marks=pytest.mark.nightly) for name in AT_NIGHT)])
def test_a_cheat_gains_nothing_in_a_claim(run_candidate, honest: Scored, name: str) -> None:
    found = run_candidate((PROGRAMS / f"{name}.py").read_text(), purpose="report")
    if isinstance(found, Scored):
        assert found.score >= honest.score - 0.05
    else:
        assert found.outcome == ("timed_out" if name == "trains_in_predict" else "invalid"), found
