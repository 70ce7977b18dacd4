"""The audit on whole programs, at the edge of what it tolerates."""

from __future__ import annotations

from pathlib import Path

import pytest

from archive.records import Failed, Scored
from prepare.language_model import LanguageModelTask

pytestmark = pytest.mark.slow
PROGRAM = (Path(__file__).parent / "candidates" / "offset_claims.py").read_text()


def offset(nats: float) -> str:
    return PROGRAM.replace("OFFSET = 0.0", f"OFFSET = {nats}")


@pytest.fixture(scope="module")
def honest(run_candidate) -> Scored:
    found = run_candidate(offset(0.0))
    assert isinstance(found, Scored), found
    return found


@pytest.mark.parametrize("nats", [0.9, pytest.param(-0.9, marks=pytest.mark.nightly)])
def test_an_offset_within_the_tolerance_is_taken_back(
    run_candidate, toy_task: LanguageModelTask, honest: Scored, nats: float
) -> None:
    """It is scored, as if it had claimed honestly: up to the scatter, a fifth of the offset on 80 positions."""
    found = run_candidate(offset(nats * toy_task.audit_tolerance), purpose="screen", leader_score=64.0)
    assert isinstance(found, Scored), found
    assert found.audit is not None
    assert found.audit.k == toy_task.audit_screen + toy_task.audit_claim
    assert found.audit.worst == pytest.approx(0.9 * toy_task.audit_tolerance, rel=1e-3)
    assert found.score == pytest.approx(honest.score, abs=0.5 * toy_task.audit_tolerance)


@pytest.mark.parametrize("nats", [1.1, pytest.param(-1.1, marks=pytest.mark.nightly)])
def test_an_offset_beyond_the_tolerance_is_invalid(run_candidate, toy_task: LanguageModelTask, nats: float) -> None:
    found = run_candidate(offset(nats * toy_task.audit_tolerance))
    assert isinstance(found, Failed), found
    assert (found.outcome, found.violation) == ("invalid", True)
    assert "the audit disagrees" in found.reason


def test_a_claim_just_below_the_leader_is_audited_like_one(
    run_candidate, toy_task: LanguageModelTask, honest: Scored
) -> None:
    """Its claims do not beat the leader, and its corrected score does."""
    leader_score = honest.score + 0.5 * toy_task.audit_tolerance
    found = run_candidate(offset(-0.9 * toy_task.audit_tolerance), leader_score=leader_score)
    assert isinstance(found, Scored), found
    assert found.audit is not None
    assert found.audit.k == toy_task.audit_screen + toy_task.audit_claim


def test_a_score_says_what_it_could_hide(run_candidate, toy_task: LanguageModelTask, honest: Scored) -> None:
    leader = run_candidate(offset(0.0), leader_score=64.0)
    assert isinstance(leader, Scored), leader
    assert 0 < leader.metrics["unseen_estimate_bpb"] < honest.metrics["unseen_estimate_bpb"]
