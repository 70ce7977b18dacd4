"""The claim: confirmation of a search's best node on fresh seeds, when the search ends.

A pure state machine over the tree, so that a resume needs no state of its own. Called again after every landing, it
returns the evaluations still needed (``next_moves``) or the ``verdict``:

    confirm  the best few nodes by screening mean, each better than the root's, are evaluated again, scored on select
    report   the best of them and the root get fresh seeds again, scored on holdout: Welch's interval of the difference;
             after three seeds a side the claim may stop (``search.claims.looks``)

Both are scored at secret positions, the same for all evaluations of an archive (``train.language_model.judgement``).
The interval has the error that both sides share through them, too.

Screening scores choose the finalists and never enter the claim. The root is no finalist. With one finalist there is
nothing to choose and no confirm stage; with none the verdict costs nothing.

The number of report runs per side follows from the seed deviation and the smallest gain worth claiming: as many as
detect that gain, or a larger expected one, with the configured power (``search.claims.plan.sized``). A node that is
behind the best by more than the standard error of their difference is no finalist: confirming it found no better
winners in simulations (tests/benchmarks/claims.py). Every finalist gets the same number of confirm runs. Allocated
one by one to where they matter most (OCBA, Chen et al. 2000), six of them found winners with 0.01 to 0.05 sigma more of
true gain in simulations, less than a claim could tell apart; top-two sampling was no better than equal numbers.

At equal score the shorter program is preferred (``search.claims.parsimony``): of the confirmed finalists, the shortest
one whose mean is equal to the best is reported on.

A claim consists of the moves since the last move of the search (a proposal or a screening). A search that continues
after a verdict therefore begins a new claim, with new seeds; scores of an earlier claim are never used again, and the
interval of the new one is wider (``search.claims.error_budget``). Finalists
do not change during a claim: a node with a confirm or report move in this claim stays a finalist, whatever lands later.
So a screening still in flight can do no harm, but let it land first: it may be the winner.

A finalist that fails a claim run (crash, invalid, ...) is out, and so is one that has become suspect. While
``ClaimPlan.limit`` lasts, the next best by screening replaces it; once reports have begun, the next best by
confirmation does. The root's failed report runs are repeated with other seeds, until ``report_seeds`` of them have
failed or the limit is reached.

With an evaluator that can (``archive.records.Trained``), all trainings of a stage, or of a look at it, end before the
first of them is judged (``search.run.sealing``). What fails from then on is neither replaced nor repeated in this
claim: a training that comes later could have been told something by a sandbox that has been shown this text.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import dropwhile, islice
from typing import Literal

import numpy as np

from archive.difference import Difference
from archive.interval import NoInterval
from archive.records import Decision, MoveRecord, Replicate, VerdictCode
from archive.tree import Tree
from prepare.output import many
from search.claims.deterministic import judge_exactly
from search.claims.error_budget import claims_before, confidence_of, is_claim, percent
from search.claims.parsimony import Standing, code_size, shortest_equal, within
from search.claims.plan import NoClaim as NoClaim
from search.claims.plan import fit as fit
from search.claims.plan import sized as sized
from search.claims.reports import Look, difference_of, last_look, look_words, report_sides, take_look
from search.claims.reports import describe as describe
from search.claims.state import ClaimState, looks_of
from search.claims.statistics import seed_deviation
from search.config import LEAST_SEEDS, ClaimPlan

_NOMINEE = "would-be champion"


# ---------------------------------------------------------------- the verdict


@dataclass(frozen=True)
class Verdict:
    """The outcome of a claim."""

    kind: Literal["champion", "no_champion"]
    code: VerdictCode
    node_id: str
    """The champion; without one the node that was reported on; without that the root."""
    reason: str
    """In words, for the summary and the report."""
    baseline: tuple[float, ...] = ()
    """The root's scores on holdout."""
    champion: tuple[float, ...] = ()
    """The reported node's scores on holdout."""
    difference: Difference | None = None
    look: Look | None = None
    """The look that the verdict followed; None for a claim with a single look."""
    level: float | None = None
    """The confidence of the claim, all of its looks together; None: that of its interval."""

    @property
    def confidence(self) -> float:
        return self.level if self.level is not None else 0.0 if self.difference is None else self.difference.confidence

    def is_decision(self, known: Decision) -> bool:
        """Return whether ``known`` is the row of this verdict: same code, node, scores and look."""
        own, figures = (self.kind, self.node_id, self.code), ("baseline", "champion", "confidence", "look")
        return own == (known.kind, known.node_id, known.code) and all(
            self.detail.get(figure) == known.detail.get(figure) for figure in figures
        )

    @property
    def detail(self) -> Mapping[str, object]:
        """Figures as plain JSON values, for ``Decision.detail``. They hold holdout scores, which no prompt may see."""
        figures: dict[str, object] = {"baseline": list(self.baseline), "champion": list(self.champion)}
        if self.difference is not None:
            d = self.difference
            figures |= {"gain": d.gain, "low": d.low, "high": d.high, "dof": d.dof, "confidence": d.confidence}
            if d.sampling is not None:
                figures |= {"windows": d.sampling.windows, "window_error": d.sampling.standard_error}
        return figures if self.look is None else figures | {"look": asdict(self.look)}


def next_moves(tree: Tree, plan: ClaimPlan) -> tuple[Replicate, ...]:
    """Return the evaluations still needed and not yet chosen, the most important first.

    Empty when all of them are in flight, and when the claim is over (see ``verdict``). Fewer than all may be chosen at
    a time. The engine supplies a fresh seed for each. Raises ValueError for an empty tree.
    """
    step = _step(tree, plan, unit="")
    return () if isinstance(step, Verdict) else step


def verdict(tree: Tree, plan: ClaimPlan, unit: str = "") -> Verdict | None:
    """Return the outcome of the claim, or None while an evaluation that it depends on is needed or in flight.

    ``unit`` is the metric's, for the reason. A verdict stays the same until the search continues or the limit grows.
    Raises ValueError for an empty tree.
    """
    step = _step(tree, plan, unit)
    return step if isinstance(step, Verdict) else None


def begun(tree: Tree) -> bool:
    """Return whether the last move of the run belongs to a claim."""
    return bool(tree.moves) and is_claim(next(reversed(tree.moves.values())))


def contenders(tree: Tree, plan: ClaimPlan | None = None) -> Iterator[str]:
    """Yield the nodes that a claim could be about, the best first; with a plan, those within its reach."""
    best: str | None = None
    for node_id in _contenders(tree, ClaimState.of(tree)):
        best = best or node_id
        if plan is None or _within_reach(tree, plan, node_id, best):
            yield node_id


def narrowed(tree: Tree, plan: ClaimPlan) -> ClaimPlan:
    """Return the plan with as many finalists as the present claim has, or would have if it began now."""
    claim = ClaimState.of(tree)
    if any(purpose == "report" for _, purpose in claim.sides):
        found = sum(purpose == "confirm" for _, purpose in claim.sides)
    else:
        found = len(list(islice(contenders(tree, plan), plan.candidates)))
    return replace(plan, candidates=min(plan.candidates, max(1, found)))


def request_look(tree: Tree, plan: ClaimPlan, number: int) -> int:
    """Return the look that the evaluation of a move is for; 0 for claims with a single look, and without reports."""
    record = tree.moves[number]
    reports = isinstance(record.move, Replicate) and record.move.purpose == "report"
    return looks_of(tree, ClaimState.of(tree).moves)[number] if reports and len(plan.look_seeds) > 1 else 0


def first_look(tree: Tree, plan: ClaimPlan) -> Look | None:
    """Return the first of two looks at the present claim, as soon as it can be taken."""
    claim = ClaimState.of(tree)
    reporting = claim.chosen(tree, "report")
    if len(plan.look_seeds) < 2 or not reporting or _fill(tree, plan, claim, reporting[-1], "", 1) is not None:
        return None
    return take_look(tree, plan, claim, reporting[-1])


def used_before(tree: Tree, concluded: bool) -> tuple[int, float]:
    """Return the evaluations, and their wall seconds, up to the end of the latest claim that is over.

    ``concluded``: whether the claim that the last move belongs to is over, too.
    """
    records: Iterator[MoveRecord] = reversed(tree.moves.values())
    if not concluded:
        records = dropwhile(is_claim, records)
    last = next((record.number for record in records if is_claim(record)), -1)
    landed = [e for es in tree.evaluations.values() for e in es if e.request.move <= last and e.outcome != "lost"]
    return len(landed), sum(e.resources.wall_seconds for e in landed)


def spent(tree: Tree) -> int:
    """Return the evaluations of the present claim that have landed and count against the budget."""
    return ClaimState.of(tree).landed


# ---------------------------------------------------------------- the stages


def _step(tree: Tree, plan: ClaimPlan, unit: str) -> tuple[Replicate, ...] | Verdict:
    """Return the evaluations needed now (none while some are in flight), or the verdict."""
    if len(tree) == 0:
        raise ValueError("a claim was asked for on an empty tree; expected at least the root with its score")
    if not tree.runs[0]:
        return _unclaimed("root_unscored", tree, "no claim: the root has no score under the present conditions")
    claim = ClaimState.of(tree)
    finalists = _finalists(tree, plan, claim)
    if not finalists:
        return _without_finalist(tree, plan, claim, unit)
    reporting = claim.chosen(tree, "report")
    if len(finalists) > 1 and not reporting:
        confirming = _confirm(tree, plan, claim, finalists)
        if confirming is not None:
            return confirming
    nominee, why = _nominated(claim, reporting[-1]) if reporting else _nominate(tree, claim, finalists)
    if (moves := _report(tree, plan, claim, nominee, why)) is not None:
        return moves
    return _judge(tree, plan, claim, nominee, _preferred(tree, claim, finalists, nominee), unit)


def _contenders(tree: Tree, claim: ClaimState) -> Iterator[str]:
    """Yield the nodes with a better screening mean than the root's, the best first, the earliest of equals."""
    keys = tree.means if tree.direction == "minimise" else -tree.means
    with np.errstate(invalid="ignore"):
        better = np.flatnonzero(keys < keys[0])
    for place in better[np.argsort(keys[better], kind="stable")]:
        node_id = tree.nodes[int(place)].node_id
        if not (tree.suspect(node_id) or tree.banned(node_id) or claim.failure(node_id)):
            yield node_id


def _limit(plan: ClaimPlan) -> int:
    return plan.evaluations if plan.limit is None else plan.limit


def _finalists(tree: Tree, plan: ClaimPlan, claim: ClaimState) -> list[str]:
    """Return the finalists chosen before, then the best contenders for free places that the budget can pay for."""
    finalists = claim.chosen(tree)
    left = _limit(plan) - len(claim.moves)
    if any(purpose == "report" for _, purpose in claim.sides):
        return _stand_ins(tree, plan, claim, finalists, left)
    others = (node_id for node_id in _contenders(tree, claim) if node_id not in finalists)
    places = plan.candidates if "confirm" not in claim.judged else 1  # nobody else can be confirmed
    others = (node_id for node_id in others if not finalists or _within_reach(tree, plan, node_id, finalists[0]))
    for node_id in islice(others, max(0, places - len(finalists))):
        longer = [*finalists, node_id]
        confirms = sum(claim.missing(n, "confirm", plan.confirm_seeds) for n in longer) if finalists else 0
        reports = 2 * (plan.report_seeds if finalists else plan.least_seeds)
        if confirms + reports > left:
            break
        finalists = longer
    return finalists


def _within_reach(tree: Tree, plan: ClaimPlan, node_id: str, best: str) -> bool:
    """Return whether a screening mean is behind the best by no more than the standard error of the difference."""
    if plan.reach is None:
        return True
    own, first = (Standing(n, tree.mean(n), int(tree.runs[tree.index[n]])) for n in (node_id, best))
    return within(own, first, plan.reach)


def _stand_ins(tree: Tree, plan: ClaimPlan, claim: ClaimState, finalists: list[str], left: int) -> list[str]:
    """Return the finalists after reports have begun; if none is left, the next contender that can be paid for."""
    if claim.chosen(tree, "report"):
        return finalists
    if "report" in claim.judged or left < plan.least_seeds + _root_missing(tree, claim, plan.least_seeds):
        return []
    return finalists or list(islice(_contenders(tree, claim), 1))


def _root_missing(tree: Tree, claim: ClaimState, seeds: int, look: int = 1) -> int:
    """Return the report runs that the root lacks; none after too many failures."""
    side = claim.side(tree.root, "report")
    return 0 if len(side.failures) >= max(seeds, LEAST_SEEDS) else claim.missing(tree.root, "report", seeds, look)


def _confirm(tree: Tree, plan: ClaimPlan, claim: ClaimState, finalists: Sequence[str]) -> tuple[Replicate, ...] | None:
    """Return the confirm runs still to be chosen, round by round; None when all are in."""
    sides = {node_id: claim.side(node_id, "confirm") for node_id in finalists}
    if all(len(side.scores) >= plan.confirm_seeds for side in sides.values()):
        return None
    if "confirm" in claim.judged and not any(side.pending for side in sides.values()):
        return None
    wanted = [
        [Replicate(node_id, "confirm", f"finalist {place} of {len(sides)}: {_screened(tree, node_id)}")] * missing
        for place, (node_id, side) in enumerate(sides.items(), 1)
        if (missing := claim.missing(node_id, "confirm", plan.confirm_seeds))
    ]
    return _in_turn(wanted)


def _screened(tree: Tree, node_id: str) -> str:
    place = tree.index[node_id]
    return f"mean screening score {tree.means[place]:.4g} in {many(tree.runs[place], 'run')}"


def _nominate(tree: Tree, claim: ClaimState, finalists: Sequence[str]) -> tuple[str, str]:
    """Return (the finalist to report on, the reason): the best confirm mean, or a shorter program that is equal to it.

    A single finalist needs no confirmation. The reason holds no score on select: reasons of moves are shown before the
    verdict.
    """
    sides = [(n, scores) for n in finalists if (scores := claim.side(n, "confirm").scores)]
    if len(finalists) == 1 or not sides:
        return finalists[0], f"{_NOMINEE}: {'the only finalist' if len(finalists) == 1 else 'the best by screening'}"
    standings = [Standing(node_id, float(np.mean(scores)), len(scores)) for node_id, scores in sides]
    sigma = seed_deviation(tree)
    deviation = None if sigma is None else sigma.value
    preferred, best = shortest_equal(standings, lambda n: _size(tree, n), tree.direction, deviation)
    among = f"the best of {len(finalists)} finalists on fresh seeds"
    if preferred == best:
        return best.node_id, f"{_NOMINEE}: {among}"
    return preferred.node_id, f"{_NOMINEE}, {_shorter(tree, preferred.node_id, best.node_id)}, {among}"


def _size(tree: Tree, node_id: str) -> int:
    return code_size(tree[node_id].candidate.files)


def _shorter(tree: Tree, node_id: str, than: str) -> str:
    """Say by how much a program is shorter than one with an equal score."""
    sizes = f"{_size(tree, node_id)} syntax nodes against {_size(tree, than)}"
    return f"shorter ({sizes}) and equal within noise to {than[:8]}"


def _nominated(claim: ClaimState, nominee: str) -> tuple[str, str]:
    """Return the nominee with the reason recorded when its reports began."""
    moves = (record.move for record in reversed(claim.moves))
    reasons = (m.reason for m in moves if isinstance(m, Replicate) and (m.node_id, m.purpose) == (nominee, "report"))
    return nominee, next(reasons)


def _report(tree: Tree, plan: ClaimPlan, claim: ClaimState, nominee: str, why: str) -> tuple[Replicate, ...] | None:
    """Return the report runs still to be chosen; None when all are in, or a look has stopped the claim."""
    for number in range(1, len(plan.look_seeds) + 1):
        if (moves := _fill(tree, plan, claim, nominee, why, number)) is not None:
            return moves
        if number < len(plan.look_seeds) and ((look := take_look(tree, plan, claim, nominee)) is None or look.stopped):
            return None
    return None


def _fill(
    tree: Tree, plan: ClaimPlan, claim: ClaimState, nominee: str, why: str, number: int
) -> tuple[Replicate, ...] | None:
    """Return the report runs still to be chosen for a look; None when all are in. Sides alternate, so that drift
    affects both.
    """
    seeds, root, side = plan.look_seeds[number - 1], claim.side(tree.root, "report"), claim.side(nominee, "report")
    wanted = [
        [Replicate(nominee, "report", why)] * claim.missing(nominee, "report", seeds, number),
        [Replicate(tree.root, "report", "baseline of the claim")] * _root_missing(tree, claim, seeds, number),
    ]
    left = _limit(plan) - len(claim.moves)
    moves = _in_turn(wanted)[: max(0, left)]
    later = number < len(plan.look_seeds)  # what is open beyond the seeds of a look belongs to the next one
    waits = any(each.pending and not (later and len(each.scores) >= seeds) for each in (root, side))
    return moves if moves or waits else None


def _in_turn(columns: Sequence[Sequence[Replicate]]) -> tuple[Replicate, ...]:
    """Interleave the columns, longest first: the order does not depend on how many moves were chosen already."""
    rounds = range(max(map(len, columns), default=0), 0, -1)
    return tuple(column[0] for lacking in rounds for column in columns if len(column) >= lacking)


# ---------------------------------------------------------------- the verdict in words


def _preferred(tree: Tree, claim: ClaimState, finalists: Sequence[str], nominee: str) -> str:
    """Return the remark on a nominee that was preferred to the finalist with the best confirm mean; else empty."""
    sign = 1.0 if tree.direction == "minimise" else -1.0
    means = {n: sign * float(np.mean(scores)) for n in finalists if (scores := claim.side(n, "confirm").scores)}
    best = min(means, key=means.__getitem__, default=nominee)
    if best == nominee or nominee not in means:
        return ""
    among = f"the best of {len(means)} finalists on fresh seeds"
    return f"; {nominee[:8]} was preferred: {_shorter(tree, nominee, best)}, {among}"


def _judge(tree: Tree, plan: ClaimPlan, claim: ClaimState, nominee: str, preferred: str, unit: str) -> Verdict:
    baseline, champion = (tuple(side.scores) for side in report_sides(tree, claim, nominee))
    if plan.deterministic and baseline and champion:
        return _judge_exactly(tree, plan, nominee, _remarks(tree, claim), unit, (baseline, champion))
    look = last_look(tree, plan, claim, nominee)
    level = look.level if look is not None and not look.stopped else None
    difference = difference_of(tree, plan, claim, nominee, level=level)
    remarks = preferred + _remarks(tree, claim) + _earlier_claims(tree, plan)
    if isinstance(difference, NoInterval):
        reason = f"no claim: {difference.reason}{remarks}"
        return Verdict("no_champion", "no_interval", nominee, reason, baseline, champion)
    words, whole = describe(difference, unit) + look_words(look), confidence_of(tree, plan)
    wins = difference.significant if look is None or not look.stopped else look.stopped == "success"
    if not wins:
        words = f"no improvement beyond noise: {words}"
    kind, code = _ENDS[wins]
    return Verdict(kind, code, nominee, words + remarks, baseline, champion, difference, look, whole)


_ENDS: Mapping[bool, tuple[Literal["champion", "no_champion"], VerdictCode]] = {
    True: ("champion", "improvement"),
    False: ("no_champion", "within_noise"),
}


def _judge_exactly(
    tree: Tree, plan: ClaimPlan, nominee: str, remarks: str, unit: str, scores: tuple[tuple[float, ...], ...]
) -> Verdict:
    found = judge_exactly(tree, nominee, confidence_of(tree, plan), plan.smallest_gain, unit)
    kind: Literal["champion", "no_champion"] = (
        "champion" if found.code in ("verified", "improvement") else "no_champion"
    )
    sampled = found.difference is not None and found.difference.standard_error > 0
    words = found.words + remarks + (_earlier_claims(tree, plan) if sampled else "")  # an exact score spends no error
    return Verdict(kind, found.code, nominee, words, scores[0], scores[1], found.difference)


def _unclaimed(code: VerdictCode, tree: Tree, reason: str) -> Verdict:
    """Return the verdict of a claim without a node to report on."""
    return Verdict("no_champion", code, tree.root, reason)


def _without_finalist(tree: Tree, plan: ClaimPlan, claim: ClaimState, unit: str) -> Verdict:
    """Return the verdict when there is no finalist, or none left."""
    if claim.moves:
        why = "that the budget can pay for" if "report" not in claim.judged else "whose training was done before"
        reason = f"no claim: no finalist is left {why}{_remarks(tree, claim)}{_earlier_claims(tree, plan)}"
        return _unclaimed("no_finalist", tree, reason)
    return _unclaimed("none_better", tree, f"{_why_none_better(tree, unit)}, so nothing was spent on a claim")


def _why_none_better(tree: Tree, unit: str) -> str:
    if len(tree) == 1:
        return "nothing was tried: the search made no program besides the root"
    if not tree.runs[1:].any():
        failures = Counter(failed.outcome for node in tree.nodes[1:] for failed in tree.failures(node.node_id))
        counted = ", ".join(f"{count} {outcome}" for outcome, count in failures.most_common())
        return f"nothing could be scored besides the root: {counted or 'no program was evaluated'}"
    score = f"{tree.means[0]:.4g} {unit}".rstrip()
    return f"no improvement beyond noise: no node has a better screening mean than the root ({score})"


def _remarks(tree: Tree, claim: ClaimState) -> str:
    """Describe failed and suspect finalists."""
    remarks = []
    root = claim.side(tree.root, "report").failures
    if root:
        remarks.append(f"the root failed {len(root)} of its report runs ({root[0].outcome})")
    for node_id in dict.fromkeys(node_id for node_id, _ in claim.sides):
        failure = claim.failure(node_id)
        suspicion = tree.suspicion(node_id)
        if failure is not None and node_id != tree.root:
            remarks.append(f"{node_id[:8]} is out: {failure.outcome} in its {failure.request.purpose} run")
        elif suspicion is not None:
            remarks.append(f"{node_id[:8]} is out: {suspicion}")
    return "".join(f"; {remark}" for remark in remarks)


def _earlier_claims(tree: Tree, plan: ClaimPlan) -> str:
    """Return which claim of the run and on its holdout this is, and at what level it is judged; empty for the first."""
    own, elsewhere = claims_before(tree), plan.claims_elsewhere
    if not own and not elsewhere:
        return ""
    which = [f"claim {own + 1} of this run"] if own else []
    which += [f"claim {own + elsewhere + 1} on this holdout"] if elsewhere else []
    level = f"judged at {percent(confidence_of(tree, plan))}"
    return f"; {', '.join(which)}, {level}: all of them together may err with {1 - plan.confidence:.2g}"
