"""Judgements in stages: no state is asked a stage before all have answered the one before it, whatever happens.

As in ``test_sealing``, everything is real but the evaluations.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
from test_sealing import ROOMY, Session, evaluated, half_of, nth, rows_are_in_order, verdicts

from archive.query.query import open_reader
from archive.records import Audit, Landed, Outcome, Request, StageAnswered, StageAnswers

STAGES = 3


def stage_of(request: Request) -> int | None:
    return None if request.trained is None else len(request.trained.answers)


@dataclass
class InStages(Session):
    """A session whose judgements have stages, each of them answered by its number."""

    def landed(self, request: Request, outcome: Outcome | None) -> Landed:
        stage, whole = stage_of(request), evaluated(request, outcome)
        if stage is None or outcome is not None:
            return whole
        assert request.trained is not None
        assert [each.position_set for each in request.trained.answers] == [f"set {n}" for n in range(stage)]
        if stage == STAGES - 1 or request.text_shown:
            return whole
        answers = StageAnswers(f"set {stage}", b"12345678", Audit(5, 0.0, 0.1), whole.resources, "audited")
        common = {name: getattr(whole, name) for name in ("conditions", "resources", "sandbox", "device")}
        times = {"started_at": 100.0, "finished_at": 110.0}
        return StageAnswered(request=request, trust="audited", stage=stage, answers=answers, **common, **times)

    def _check(self, request: Request, flying: list[Request]) -> None:
        """Everybody has answered the stage before, by the archive's own rows."""
        super()._check(request, flying)
        if stage := stage_of(request):
            tree = self.search.tree
            others = [n for n in tree.trained & tree.open_moves.keys() if _purpose(tree.moves[n]) == request.purpose]
            rows = dict(self.search.archive.query("SELECT move, count(*) FROM stage_answers GROUP BY move"))
            out = {r.request.node_id for r in self.told if r.outcome == "crashed"}
            behind = [n for n in others if rows.get(n, 0) < stage and tree.moves[n].move.node_id not in out]
            assert not behind, "a state is shown what follows before another one has answered"


def _purpose(record: object) -> str:
    return str(getattr(record.move, "purpose", ""))  # type: ignore[attr-defined]


def asked(session: Session, purpose: str) -> list[int]:
    return [stage for r in session.issued if r.purpose == purpose and (stage := stage_of(r)) is not None]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "a.duckdb"


@pytest.mark.slow
@pytest.mark.parametrize("slots", [1, 5])
def test_all_states_answer_a_stage_before_any_is_asked_the_next(path: Path, slots: int) -> None:
    session = InStages(path, slots)
    result = session.play()
    assert asked(session, "confirm") == [0] * 6 + [1] * 6 + [2] * 6
    assert asked(session, "report") == [0] * 8 + [1] * 8 + [2] * 8
    assert result is not None
    assert result.verdict is not None
    assert (result.verdict.kind, len(result.verdict.champion)) == ("champion", 4)
    reader = open_reader(path)
    assert reader.query("SELECT DISTINCT wall_seconds, cpu_seconds FROM evaluations WHERE purpose = 'report'").rows == [
        (20.0, 20.0)
    ], "a training, three stages"
    rows_are_in_order(path)
    assert not Path(f"{path}.states").exists()


@pytest.mark.slow
@pytest.mark.parametrize("number", [7, 16])
def test_a_killed_judgement_resumes_where_it_was_and_repeats_no_stage(path: Path, number: int) -> None:
    first = InStages(path)
    assert first.play(lambda s: len([r for r in s.told if stage_of(r.request) is not None]) >= 18 + number) is None
    second = InStages(path)
    result = second.play()
    assert result is not None
    assert result.verdict is not None
    assert len(result.verdict.champion) == 4
    told = [(e.request.move, half_of(e.request), stage_of(e.request)) for e in (*first.told, *second.told)]
    assert len(told) == len(set(told)) == 15 + 14 * (1 + STAGES)
    rows_are_in_order(path)


def in_stage(number: int, fails: Callable[[Request], Outcome | None]) -> Callable[[Request], Outcome | None]:
    return lambda request: fails(request) if stage_of(request) == number else None


@pytest.mark.slow
def test_what_fails_in_a_stage_is_out_and_is_asked_no_more(path: Path) -> None:
    session = InStages(path, slots=1, fails=in_stage(1, nth("confirm", "judge", 0)))
    result = session.play()
    assert asked(session, "confirm") == [0] * 6 + [1] * 5 + [2] * 4, "nor is its other training"
    assert result is not None
    assert result.verdict is not None
    assert result.verdict.kind == "champion"
    rows_are_in_order(path)


def test_a_nominee_that_fails_in_a_stage_ends_the_claim(path: Path) -> None:
    session = InStages(path, slots=1, fails=in_stage(1, nth("report", "judge", 0)), overrides=ROOMY)
    result = session.play()
    assert result is not None
    assert result.verdict is not None
    assert (result.verdict.kind, result.verdict.code) == ("no_champion", "no_finalist")
    assert "train" not in session.halves("report")[session.halves("report").index("judge") :], "no stand-in is trained"


@pytest.mark.slow
def test_a_lost_stage_is_made_again_before_the_next(path: Path) -> None:
    session = InStages(path, slots=2, fails=in_stage(0, nth("report", "judge", 0, 2, outcome="lost")))
    result = session.play()
    assert sorted(asked(session, "report")) == asked(session, "report") == [0] * 10 + [1] * 8 + [2] * 8
    assert result is not None
    assert result.verdict is not None
    assert len(result.verdict.champion) == 4


@pytest.mark.slow
def test_a_state_that_is_changed_between_stages_is_left_out(path: Path) -> None:
    first = InStages(path, slots=1, overrides=ROOMY)
    first.play(lambda s: asked(s, "report").count(1) >= 1)
    sorted(Path(f"{path}.states").glob("*.safetensors"))[-1].write_bytes(b"something else")
    second = InStages(path, slots=1, overrides=ROOMY)
    result = second.play()
    assert "train" not in second.halves("report")
    assert result is not None
    assert result.verdict is not None
    assert len(result.verdict.baseline) + len(result.verdict.champion) == 7


@pytest.mark.slow
def test_later_claims_of_the_archive_are_judged_at_the_last_stage_alone(path: Path) -> None:
    """Their trainings could have been told the text before it: in the same run, and in others."""
    first = InStages(path)
    assert first.play() is not None
    assert not any(r.text_shown for r in first.issued)
    later = InStages(path, overrides={"budget": 80})
    later.play()
    other = InStages(path, overrides={"run": "another"})
    assert other.play() is not None
    for session in (later, other):
        judged = [r for r in session.issued if r.trained is not None]
        assert judged
        assert all(r.text_shown and stage_of(r) == 0 for r in judged)
    assert len(verdicts(path)) >= 2


@pytest.mark.slow
def test_another_claim_between_two_stages_leaves_the_last_one(path: Path) -> None:
    """A run that was interrupted, and resumed after another run's claim has seen the text before the last stage."""
    InStages(path, slots=1).play(lambda s: asked(s, "report").count(1) >= 1)
    assert InStages(path, overrides={"run": "another"}).play() is not None
    resumed = InStages(path, slots=1)
    result = resumed.play()
    judged = [r for r in resumed.issued if r.trained is not None]
    assert all(r.text_shown for r in judged)
    assert result is not None
    assert result.verdict is not None
    assert len(result.verdict.champion) == 4
