"""Two looks at a claim: the boundary, when a claim stops, what it costs and says, and its error by simulation."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from growing import Growth
from scipy.special import ndtri
from test_claim import Runs
from test_sealing import Session, half_of

from archive.difference import Difference, ScoreStage, welch, welch_in_stages
from archive.noise import NoisePrior
from archive.query.query import open_reader
from archive.query.verify import verify
from archive.records import Decision, Replicate, Request, WindowScores
from search.claims.claim import Verdict, first_look, next_moves, request_look, verdict
from search.claims.looks import Boundary, boundary, conditional_power, stopped
from search.claims.plan import CERTAIN, as_started, claim_power, fit, paid_plans, sized
from search.claims.prospect import prospect
from search.claims.statistics import power
from search.config import LOOK_SEEDS, ClaimPlan
from search.settings import config_for

ALPHA = 0.025
FIVE = ClaimPlan(candidates=1, report_seeds=5, looks=2)


def grown() -> tuple[Growth, str, str]:
    growth = Growth()
    root = growth.root(3.39, 3.41)
    return growth, root, growth.child(3.1)


# ---------------------------------------------------------------- the boundary


@pytest.mark.parametrize("share", [0.25, 3 / 7, 0.6])
@pytest.mark.parametrize("alpha", [ALPHA, ALPHA / 3, ALPHA / 55])
def test_both_looks_together_spend_alpha(alpha: float, share: float) -> None:
    """By drawing: of the null, so many cross the one boundary or the other."""
    levels, rng = boundary(alpha, share), np.random.default_rng(3)
    first, rest = rng.standard_normal((2, 400_000))
    last = np.sqrt(share) * first + np.sqrt(1 - share) * rest
    crossed = (first > -ndtri(levels.first)) | (last > -ndtri(levels.last))
    assert crossed.mean() == pytest.approx(alpha, abs=4 * np.sqrt(alpha / 400_000))
    assert levels.first == pytest.approx(alpha * share**2)
    assert alpha - levels.first < levels.last < alpha


def test_numbers_that_make_no_boundary_are_refused() -> None:
    for alpha, share in ((0.0, 0.5), (0.025, 1.0)):
        with pytest.raises(ValueError, match="expected numbers between 0 and 1"):
            boundary(alpha, share)


def test_conditional_power_is_that_of_the_rest() -> None:
    levels, rng = boundary(ALPHA, 0.6), np.random.default_rng(4)
    for z in (-0.5, 0.7, 2.0):
        drift = (z + 1) / np.sqrt(0.6)
        last = np.sqrt(0.6) * z + np.sqrt(0.4) * rng.normal(np.sqrt(0.4) * drift, 1, 200_000)
        assert conditional_power(z, levels) == pytest.approx((last > -ndtri(levels.last)).mean(), abs=0.005)


# ---------------------------------------------------------------- stages


def test_one_stage_is_welch() -> None:
    before, after = [3.4, 3.5, 3.3], [3.1, 3.0]
    assert welch_in_stages([ScoreStage(before, after)], "minimise") == welch(before, after, "minimise")


def test_the_level_of_a_stage_does_not_matter() -> None:
    """The second stage's text is harder by 2: gain and interval are those without that."""

    def staged(shift: float) -> Difference:
        second = [3.42 + shift, 3.38 + shift], [3.11 + shift, 3.05 + shift]
        found = welch_in_stages([ScoreStage([3.4, 3.5, 3.3], [3.1, 3.0, 3.2]), ScoreStage(*second)], "minimise")
        assert isinstance(found, Difference)
        return found

    near, far = staged(0.0), staged(2.0)
    assert (far.gain, far.low, far.high) == pytest.approx((near.gain, near.low, near.high))
    assert far.gain == pytest.approx(0.6 * 0.3 + 0.4 * 0.32)
    assert (far.baseline_n, far.champion_n) == (5, 5)
    assert far.dof <= 6, "three and two runs: each stage has taken one from each side"


# ---------------------------------------------------------------- when a claim stops


def test_a_clear_gain_takes_three_seeds_a_side() -> None:
    growth, root, a = grown()
    runs = Runs(growth, FIVE)
    end = runs.play({(a, "report"): [3.07, 3.09, 3.08], (root, "report"): [3.41, 3.40, 3.42]})
    assert (end.kind, end.code, len(runs.done)) == ("champion", "improvement", 6)
    assert end.reason == (
        "3.41 -> 3.08 bpb (gain 0.33, 95% interval 0.31 to 0.35, 3 fresh seeds each)"
        "; stopped after the first look, at 3 of 5 seeds a side: the gain is clear"
    )
    assert end.detail["look"] == {
        "number": 1, "of": 2, "seeds": 3, "planned": 5, "level": pytest.approx(0.009), "stopped": "success",
    }  # fmt: skip
    assert next_moves(growth.tree, FIVE) == ()
    assert end.is_decision(_decision(end)), "and it is the recorded one after a restart"
    paid = [verdict(growth.tree, plan, "bpb") for plan in paid_plans(FIVE, 6)]
    assert end in paid


def _decision(end: Verdict) -> Decision:
    return Decision("test", end.kind, end.node_id, end.reason, dict(end.detail), 0.0, end.code)


def test_no_gain_in_sight_ends_the_claim_too() -> None:
    growth, root, a = grown()
    runs = Runs(growth, FIVE)
    end = runs.play({(a, "report"): [3.43, 3.40, 3.42], (root, "report"): [3.41, 3.40, 3.42]})
    assert (end.kind, end.code, len(runs.done)) == ("no_champion", "within_noise", 6)
    assert end.reason.endswith("at 3 of 5 seeds a side: more seeds would hardly show a gain")


def test_in_between_all_seeds_are_taken_at_the_level_that_is_left() -> None:
    growth, root, a = grown()
    runs = Runs(growth, FIVE)
    end = runs.play({(a, "report"): [3.30, 3.40, 3.33, 3.31, 3.36], (root, "report"): [3.41, 3.38, 3.45, 3.40, 3.43]})
    assert len(runs.done) == 10
    assert end.difference is not None
    assert end.difference.confidence == pytest.approx(boundary(ALPHA, 0.6).confidence)
    assert end.difference.significant == (end.kind == "champion")
    assert "stopped" not in end.reason


def test_fewer_than_five_seeds_have_a_single_look() -> None:
    assert (ClaimPlan().look_seeds, FIVE.look_seeds, ClaimPlan(report_seeds=12, looks=2).look_seeds) == (
        (4,),
        (3, 5),
        (3, 12),
    )
    growth, root, a = grown()
    for node_id in (a, root) * 3:
        growth.land(growth.choose(Replicate(node_id, "report")), 3.4 if node_id == root else 3.0)
    assert first_look(growth.tree, ClaimPlan(candidates=1, looks=2)) is None
    assert [move.purpose for move in next_moves(growth.tree, ClaimPlan(candidates=1, looks=2))] == ["report", "report"]


def test_a_claim_has_two_looks_unless_one_is_asked_for() -> None:
    assert ClaimPlan(report_seeds=12).look_seeds == (3, 12)
    assert ClaimPlan(report_seeds=12, looks=1).look_seeds == (12,)
    assert config_for([], "cpu").claim == ClaimPlan(smallest_gain=0.03)
    with pytest.raises(ValueError, match="expected 1 or 2"):
        ClaimPlan(looks=3)


def leading(by: float) -> Growth:
    growth = Growth()
    growth.tree.noise_prior = NoisePrior(0.01, 1)
    growth.root(3.39, 3.4, 3.41)
    growth.child(3.4 - by)
    return growth


def test_a_clear_lead_takes_two_looks_and_one_confirm_seed() -> None:
    growth, plan = leading(0.07), ClaimPlan(smallest_gain=0.03)
    clear = sized(plan, growth.tree)
    assert (clear.look_seeds, clear.confirm_seeds, clear.evaluations) == ((3, 5), 1, 13)
    assert clear.reach is not None
    single = sized(replace(plan, looks=1), growth.tree)
    assert (single.look_seeds, single.confirm_seeds, single.reach) == ((4,), 2, None)


def test_a_certain_lead_takes_the_first_look_alone_and_keeps_nothing_for_a_second() -> None:
    """So that the search has what a second look would keep; not where the user has asked for more seeds."""
    tree, plan = leading(0.3).tree, ClaimPlan(smallest_gain=0.03)
    certain = sized(plan, tree)
    assert (certain.look_seeds, certain.confirm_seeds) == ((3,), 1)
    begun_now = prospect(certain, tree, 14, None, "bpb")
    assert isinstance(begun_now, ClaimPlan)
    assert (begun_now.candidates, begun_now.evaluations) == (1, 6)
    assert sized(replace(plan, report_seeds=LOOK_SEEDS), tree).look_seeds == (3, 5)
    assert sized(replace(plan, most_report_seeds=4, report_seeds=4), leading(0.07).tree).look_seeds == (4,)


def test_three_seeds_find_a_certain_gain_even_if_the_deviation_is_twice_its_estimate() -> None:
    """By Welch's interval, whose power is below Student's: 89%."""
    rng = np.random.default_rng(11)
    found = [welch(list(rng.normal(0, 2, 3)), list(rng.normal(-CERTAIN, 2, 3)), "minimise") for _ in range(1000)]
    share = np.mean([isinstance(one, Difference) and one.significant for one in found])
    assert share == pytest.approx(0.89, abs=0.03)


@pytest.mark.parametrize("looks", [1, 2])
def test_a_claim_that_resumes_has_the_seeds_that_it_began_with(looks: int) -> None:
    """With fewer finalists than the plan allows, what they do not need is spent on seeds; so it is after a restart."""
    growth, _, _ = grown()
    plan = ClaimPlan(report_seeds=8, least_report_seeds=2, looks=looks)
    began = prospect(plan, growth.tree, 14, None, "bpb")
    assert isinstance(began, ClaimPlan)
    assert (began.candidates, began.report_seeds) == (1, 7)
    growth.choose(next_moves(growth.tree, began)[0])
    assert prospect(plan, growth.tree, 14, None, "bpb") == began


@pytest.mark.parametrize(
    ("recorded", "looks"),
    [({"claim": {"candidates": 3}}, 1), ({"claim": {"looks": 1}}, 1), ({"claim": "off"}, 2), ({}, 2)],
)
def test_a_run_keeps_the_looks_that_it_was_started_with(recorded: dict[str, object], looks: int) -> None:
    """Runs of earlier versions, whose claims have one look, end by the rule by which they began."""
    assert as_started(ClaimPlan(), recorded, 2) == ClaimPlan(looks=looks, claims_elsewhere=2)
    assert as_started(ClaimPlan(looks=1), {"claim": {"looks": 2}}, 0).looks == 2


def test_a_stop_needs_more_than_the_usual_level() -> None:
    one = welch([3.41, 3.40, 3.45], [3.36, 3.35, 3.33], "minimise")
    assert isinstance(one, Difference)
    assert one.significant
    levels = boundary(ALPHA, 0.6)
    assert stopped(one, Boundary(levels.share, 1e-4, levels.last)) is None
    assert stopped(one, Boundary(levels.share, ALPHA, levels.last)) == "success"


def test_the_second_look_has_text_of_its_own() -> None:
    """Harder text in the second look, told by its name: compared within the look, and the moves know theirs."""
    growth, root, a = grown()

    def land(node_id: str, score: float, text: str) -> int:
        record = growth.choose(Replicate(node_id, "report"))
        windows = WindowScores.of(text, np.array([score - 0.001, score + 0.001]))
        growth.land(record, score, windows=windows)
        return request_look(growth.tree, FIVE, record.number)

    first = [land(n, s, "one") for n, s in ((a, 3.3), (root, 3.42), (a, 3.4), (root, 3.38), (a, 3.32), (root, 3.45))]
    assert first_look(growth.tree, FIVE) is not None
    assert len(next_moves(growth.tree, FIVE)) == 4
    second = [land(n, s + 2, "two") for n, s in ((a, 3.31), (root, 3.4), (a, 3.33), (root, 3.43))]
    assert (first, second) == ([1] * 6, [2] * 4)
    assert request_look(growth.tree, ClaimPlan(candidates=1), growth.next_move - 1) == 0
    end = verdict(growth.tree, FIVE)
    assert end is not None
    assert end.difference is not None
    assert end.difference.gain == pytest.approx(0.6 * (10.25 - 10.02) / 3 + 0.4 * (6.83 - 6.64) / 2)
    assert end.difference.standard_error < 0.1


@pytest.mark.parametrize("killed_in", ["train", pytest.param("judge", marks=pytest.mark.slow)])
def test_a_second_look_is_trained_after_the_first_and_survives_a_kill(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, killed_in: str
) -> None:
    """Whole sessions with sealed trainings: nothing is trained twice, and nothing judged before its look is trained."""
    monkeypatch.setattr("search.claims.reports.stopped", lambda difference, levels: None)
    path, everything = tmp_path / "a.duckdb", {"overrides": ["claim.confirm_seeds=1", "claim.report_seeds=5"]}

    def second(request: Request) -> bool:
        return request.look == 2 and half_of(request) == killed_in

    killed = Session(path, overrides=everything)
    assert killed.play(lambda session: sum(map(second, session.issued)) > 1) is None
    again = Session(path, overrides=everything)
    result = again.play()
    assert result is not None
    assert result.verdict is not None
    assert result.verdict.look is not None
    assert (result.verdict.look.number, len(result.verdict.baseline)) == (2, 5)
    issued = [r for r in [*killed.issued, *again.issued] if r.purpose == "report"]
    judged = {r.move: r.look for r in issued if half_of(r) == "judge"}
    assert sorted(judged.values()) == [1] * 6 + [2] * 4
    reader = open_reader(path)
    sealed, began = (
        dict(reader.query(f"SELECT move, arrival FROM {table}").rows) for table in ("trainings", "judgements")
    )
    for look in (1, 2):
        moves = [move for move, own in judged.items() if own == look]
        assert max(sealed[move] for move in moves) < min(began[move] for move in moves)
    assert max(began[m] for m in judged if judged[m] == 1) < min(sealed[m] for m in judged if judged[m] == 2)
    assert reader.query("SELECT detail->>'seeds', detail->>'stopped' FROM events WHERE kind = 'look'").rows == [
        ("3", None)
    ]
    assert not verify(reader).rows
    assert Session(path, overrides=everything).play().verdict == result.verdict  # type: ignore[union-attr]


# ---------------------------------------------------------------- finalists and planning


def test_a_node_far_behind_the_best_is_no_finalist() -> None:
    growth = Growth()
    growth.root(3.39, 3.41)
    a, b, _ = growth.child(3.0), growth.child(3.013), growth.child(3.1)
    near = ClaimPlan(reach=0.01)
    assert {move.node_id for move in next_moves(growth.tree, near)} == {a, b}
    alone = [move.purpose for move in next_moves(growth.tree, ClaimPlan(reach=0.005))]
    assert set(alone) == {"report"}, "one finalist needs no confirmation"


def test_power_counts_what_two_looks_cost() -> None:
    plans = [ClaimPlan(candidates=1, report_seeds=seeds, looks=2) for seeds in (4, 5, 6, 12)]
    found = [claim_power(plan, 2.0, 0.95) for plan in plans]
    assert found == sorted(found)
    assert 0.66 < found[1] < power(2.0, 5), "66% are simulated: it is Student's power, as everywhere"
    small = fit(ClaimPlan(report_seeds=7, least_report_seeds=4), 14)
    assert isinstance(small, ClaimPlan)
    assert small.report_seeds == 4


# ---------------------------------------------------------------- the error


def crowned(seeds: int, deviation: float, gain: float, claims: int, seed: int) -> tuple[float, float, float]:
    """Simulated claims: share of champions, of intervals that hold the gain, and mean seeds a side."""
    rng, levels, wins, held, used = np.random.default_rng(seed), boundary(ALPHA, 3 / seeds), 0, 0, 0
    for _ in range(claims):
        root, other = rng.normal(0, 1, seeds), rng.normal(-gain, deviation, seeds)
        look = welch(root[:3], other[:3], "minimise", 0.95)
        assert isinstance(look, Difference)
        why = stopped(look, levels)
        stages = [ScoreStage(root[:3], other[:3]), ScoreStage(root[3:], other[3:])]
        found = look if why else welch_in_stages(stages, "minimise", levels.confidence)
        assert isinstance(found, Difference)
        wins += why == "success" if why else found.significant
        held += found.low <= gain <= found.high
        used += 3 if why else seeds
    return wins / claims, held / claims, used / claims


def test_null_claims_are_hardly_ever_crowned_and_large_gains_stop_early() -> None:
    null, covered, _ = crowned(5, 1.0, 0.0, 1500, 7)
    assert null <= ALPHA + 2 * np.sqrt(ALPHA / 1500)
    assert 0.93 <= covered <= 0.98
    found, covered, seeds = crowned(5, 1.0, 8.0, 300, 8)
    assert found == 1.0
    assert covered >= 0.93
    assert seeds < 3.2
