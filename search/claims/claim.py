"""The claim: what may be said of a search when it ends, from fresh seeds alone.

A pure state machine over the tree, so that it resumes by itself. Asked again after every landing it answers with the
trainings still needed (``next_moves``) or with the ``verdict``:

    confirm  the best few nodes by screening mean, each better than the root's, are trained again and judged on select
    report   the best of them and the root get fresh seeds again, judged on holdout: Welch's interval of the difference

Screening scores choose the finalists and never enter the claim. The root is no finalist. With one finalist there is
nothing to choose and no confirm stage; with none the verdict costs nothing.

How many report runs a side gets follows from the seed deviation and the smallest gain worth claiming: as many as find
that gain, or a larger one that is to be expected, with the power that was asked for (``search.claims.plan.sized``).
Confirm runs are as many for each finalist. Given one by one to whom they decide most about (OCBA, Chen et al. 2000),
six of them found winners with 0.01 to 0.05 sigma more of true gain in simulations, less than a claim could tell apart;
top-two sampling was no better than equal numbers (tests/benchmarks/finalists.py).

At equal score the shorter program is preferred (``search.claims.parsimony``): of the confirmed finalists, the shortest
one whose mean is equal to the best is reported on.

A claim is made of the moves since the last move of the search (a proposal or a screening). A search that goes on
after a verdict therefore begins a new claim, with new seeds; scores of an earlier claim are never used again. Finalists
cannot change under way: a node that was given a confirm or report move in this claim stays one, whatever lands later.
So a screening that is still in flight can do no harm, but let it land first: it may be the winner.

A finalist that fails a claim run (crash, invalid, ...) is out, and so is one that has become suspect. While
``ClaimPlan.limit`` lasts, the next best by screening takes its place; once reports have begun, the next best by
confirmation does. The root's failed report runs are tried again with other seeds, until ``report_seeds`` of them have
failed or the limit is reached.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice, pairwise
from typing import Literal

import numpy as np

from archive.records import Evaluation, MoveRecord, Purpose, Replicate, Scored
from archive.tree import Tree
from search.claims.parsimony import Standing, code_size, shortest_equal
from search.claims.plan import LEAST_SEEDS
from search.claims.plan import ClaimPlan as ClaimPlan
from search.claims.plan import NoClaim as NoClaim
from search.claims.plan import fit as fit
from search.claims.plan import sized as sized
from search.claims.statistics import Difference, NoInterval, screening_sigma, welch

_NOMINEE = "would-be champion"


# ---------------------------------------------------------------- the verdict


@dataclass(frozen=True)
class Verdict:
    """How a claim ended."""

    kind: Literal["champion", "no_champion"]
    node_id: str
    """The champion; else the node that was reported on; else the root."""
    reason: str
    """In plain words, for the person who reads the report."""
    baseline: tuple[float, ...] = ()
    """The root's scores on holdout."""
    champion: tuple[float, ...] = ()
    """The reported node's scores on holdout."""
    difference: Difference | None = None

    @property
    def detail(self) -> Mapping[str, object]:
        """The figures as plain JSON values, for ``Decision.detail``. Holdout scores: no prompt may see them."""
        figures: dict[str, object] = {"baseline": list(self.baseline), "champion": list(self.champion)}
        if self.difference is not None:
            d = self.difference
            figures |= {"gain": d.gain, "low": d.low, "high": d.high, "dof": d.dof, "confidence": d.confidence}
        return figures


def next_moves(tree: Tree, plan: ClaimPlan) -> tuple[Replicate, ...]:
    """The trainings still needed and not yet chosen, most wanted first.

    Empty when what is needed is under way, and when the claim is over: ask ``verdict``. Fewer than all may be chosen at
    a time. The loop supplies a fresh seed for each.
    """
    step = _step(tree, plan, unit="")
    return () if isinstance(step, Verdict) else step


def verdict(tree: Tree, plan: ClaimPlan, unit: str = "") -> Verdict | None:
    """How the claim ended, or None while a training that matters to it is needed or under way.

    ``unit`` is the metric's, for the reason. Once there is a verdict, it stays until the search or the limit goes on.
    """
    step = _step(tree, plan, unit)
    return step if isinstance(step, Verdict) else None


def spent(tree: Tree) -> int:
    """Trainings of the claim under way that have landed and count against the budget."""
    return _Claim.of(tree).landed


# ---------------------------------------------------------------- what has happened in this claim


@dataclass
class _Side:
    """One node's trainings for one purpose within a claim."""

    scores: list[float] = field(default_factory=list)
    failures: list[Evaluation] = field(default_factory=list)
    pending: int = 0

    def missing(self, seeds: int) -> int:
        return max(0, seeds - len(self.scores) - self.pending)


@dataclass(frozen=True)
class _Claim:
    """The claim moves since the last move of the search, and what became of them."""

    moves: tuple[MoveRecord, ...]
    sides: Mapping[tuple[str, Purpose], _Side]
    landed: int

    @classmethod
    def of(cls, tree: Tree) -> _Claim:
        moves = tuple(_since_last_search_move(tree))[::-1]
        numbers = {record.number for record in moves}
        sides: dict[tuple[str, Purpose], _Side] = {}
        for node_id, purpose in ((m.node_id, m.purpose) for r in moves if isinstance(m := r.move, Replicate)):
            sides.setdefault((node_id, purpose), _Side())
        landed = 0
        for node_id in dict.fromkeys(node_id for node_id, _ in sides):
            for e in tree.evaluations[node_id]:
                if e.request.move in numbers and e.outcome != "lost":
                    landed += 1
                    _count(sides[node_id, e.request.purpose], e, tree)
        for record in moves:
            if record.number in tree.open_moves and isinstance(record.move, Replicate):
                sides[record.move.node_id, record.move.purpose].pending += 1
        return cls(moves, sides, landed)

    def side(self, node_id: str, purpose: Purpose) -> _Side:
        return self.sides.get((node_id, purpose), _Side())

    def failure(self, node_id: str) -> Evaluation | None:
        """The first claim run in which a node failed."""
        failures = [e for purpose in ("confirm", "report") for e in self.side(node_id, purpose).failures]
        return failures[0] if failures else None

    def chosen(self, tree: Tree, purpose: Purpose | None = None) -> list[str]:
        """Nodes with moves in this claim, the root, failed and suspect ones left out, in order of their first move."""
        named = (node_id for node_id, why in self.sides if purpose in (None, why))
        return [n for n in dict.fromkeys(named) if n != tree.root and not self.failure(n) and not tree.suspect(n)]


def _is_claim(record: MoveRecord) -> bool:
    return isinstance(record.move, Replicate) and record.move.purpose != "screen"


def _since_last_search_move(tree: Tree) -> Iterator[MoveRecord]:
    """The moves of the claim under way, the latest first."""
    for record in reversed(tree.moves.values()):
        if not _is_claim(record):
            return
        yield record


def _claims_before(tree: Tree) -> int:
    """Claims that were followed by more search: claim moves next to which a move of the search comes."""
    return sum(_is_claim(a) and not _is_claim(b) for a, b in pairwise(tree.moves.values()))


def _count(side: _Side, evaluation: Evaluation, tree: Tree) -> None:
    if evaluation.conditions != tree.conditions:
        return  # it cannot be compared with what comes now
    if isinstance(evaluation, Scored):
        side.scores.append(evaluation.score)
    else:
        side.failures.append(evaluation)


# ---------------------------------------------------------------- the stages


def _step(tree: Tree, plan: ClaimPlan, unit: str) -> tuple[Replicate, ...] | Verdict:
    """The trainings needed now (perhaps none, while some are under way), or how the claim ended."""
    if len(tree) == 0:
        raise ValueError("a claim was asked for on an empty tree; expected at least the root with its score")
    if not tree.runs[0]:
        return Verdict("no_champion", tree.root, "no claim: the root has no score under the present conditions")
    claim = _Claim.of(tree)
    finalists = _finalists(tree, plan, claim)
    if not finalists:
        return _nobody(tree, claim, unit)
    reporting = claim.chosen(tree, "report")
    if len(finalists) > 1 and not reporting:
        confirming = _confirm(tree, plan, claim, finalists)
        if confirming is not None:
            return confirming
    nominee, why = _nominated(claim, reporting[-1]) if reporting else _nominate(tree, claim, finalists)
    return _report(tree, plan, claim, nominee, why, unit)


def _seed_sigma(tree: Tree, claim: _Claim) -> float | None:
    """The seed deviation from screenings and this claim's confirm runs."""
    sound = ((purpose, side) for (node_id, purpose), side in claim.sides.items() if not tree.suspect(node_id))
    return screening_sigma(tree, [side.scores for purpose, side in sound if purpose == "confirm"])


def _contenders(tree: Tree, claim: _Claim) -> Iterator[str]:
    """Yield the nodes with a better screening mean than the root's, the best first, the earliest of equals."""
    keys = tree.means if tree.direction == "minimise" else -tree.means
    with np.errstate(invalid="ignore"):
        better = np.flatnonzero(keys < keys[0])
    for place in better[np.argsort(keys[better], kind="stable")]:
        node_id = tree.nodes[int(place)].node_id
        if not tree.suspect(node_id) and not claim.failure(node_id):
            yield node_id


def _limit(plan: ClaimPlan) -> int:
    return plan.evaluations if plan.limit is None else plan.limit


def _finalists(tree: Tree, plan: ClaimPlan, claim: _Claim) -> list[str]:
    """Those chosen before, then the best contenders for the places that are free and can be paid."""
    finalists = claim.chosen(tree)
    left = _limit(plan) - len(claim.moves)
    if any(purpose == "report" for _, purpose in claim.sides):
        return _stand_ins(tree, claim, finalists, left)
    others = (node_id for node_id in _contenders(tree, claim) if node_id not in finalists)
    for node_id in islice(others, max(0, plan.candidates - len(finalists))):
        longer = [*finalists, node_id]
        confirms = sum(claim.side(n, "confirm").missing(plan.confirm_seeds) for n in longer) if finalists else 0
        reports = 2 * (plan.report_seeds if finalists else LEAST_SEEDS)
        if confirms + reports > left:
            break
        finalists = longer
    return finalists


def _stand_ins(tree: Tree, claim: _Claim, finalists: list[str], left: int) -> list[str]:
    """The finalists once reports have begun; the next contender when none is left, as far as two more can be paid."""
    if claim.chosen(tree, "report"):
        return finalists
    if left < LEAST_SEEDS + _root_missing(tree, claim, LEAST_SEEDS):
        return []
    return finalists or list(islice(_contenders(tree, claim), 1))


def _root_missing(tree: Tree, claim: _Claim, seeds: int) -> int:
    """Report runs that the root lacks, unless it has failed so often that no more are tried."""
    side = claim.side(tree.root, "report")
    return 0 if len(side.failures) >= max(seeds, LEAST_SEEDS) else side.missing(seeds)


def _confirm(tree: Tree, plan: ClaimPlan, claim: _Claim, finalists: Sequence[str]) -> tuple[Replicate, ...] | None:
    """Confirm runs still to be chosen, one seed of everybody before the next; None when all are scored."""
    sides = {node_id: claim.side(node_id, "confirm") for node_id in finalists}
    if all(len(side.scores) >= plan.confirm_seeds for side in sides.values()):
        return None
    wanted = [
        [Replicate(node_id, "confirm", f"finalist {place} of {len(sides)}: {_screened(tree, node_id)}")]
        * missing
        for place, (node_id, side) in enumerate(sides.items(), 1)
        if (missing := side.missing(plan.confirm_seeds))
    ]
    return _in_turn(wanted)


def _screened(tree: Tree, node_id: str) -> str:
    place = tree.index[node_id]
    return f"mean screening score {tree.means[place]:.4g} in {tree.runs[place]} run(s)"


def _nominate(tree: Tree, claim: _Claim, finalists: Sequence[str]) -> tuple[str, str]:
    """(the finalist to report on, why): the best confirm mean, or a shorter program that is equal to it.

    A lone one needs no confirmation. The words hold no figure of select: reasons of moves are for everybody to read.
    """
    if len(finalists) == 1:
        return finalists[0], f"{_NOMINEE}: the only finalist"
    sides = [(node_id, claim.side(node_id, "confirm").scores) for node_id in finalists]
    standings = [Standing(node_id, float(np.mean(scores)), len(scores)) for node_id, scores in sides]
    sizes = {node_id: code_size(tree[node_id].candidate.files) for node_id in finalists}
    preferred, best = shortest_equal(standings, sizes.__getitem__, tree.direction, _seed_sigma(tree, claim))
    among = f"the best of {len(finalists)} finalists on fresh seeds"
    if preferred == best:
        return best.node_id, f"{_NOMINEE}: {among}"
    shorter = f"shorter ({sizes[preferred.node_id]} syntax nodes against {sizes[best.node_id]})"
    return preferred.node_id, f"{_NOMINEE}, {shorter} and equal within noise to {best.node_id[:8]}, {among}"


def _nominated(claim: _Claim, nominee: str) -> tuple[str, str]:
    """The same once its reports have begun: what was said then."""
    moves = (record.move for record in reversed(claim.moves))
    said = (m.reason for m in moves if isinstance(m, Replicate) and (m.node_id, m.purpose) == (nominee, "report"))
    return nominee, next(said)


def _report(
    tree: Tree, plan: ClaimPlan, claim: _Claim, nominee: str, why: str, unit: str
) -> tuple[Replicate, ...] | Verdict:
    """Report runs still to be chosen, or the verdict. The sides take turns, so a drift of the machine meets both."""
    root, side = claim.side(tree.root, "report"), claim.side(nominee, "report")
    wanted = [
        [Replicate(nominee, "report", why)] * side.missing(plan.report_seeds),
        [Replicate(tree.root, "report", "baseline of the claim")] * _root_missing(tree, claim, plan.report_seeds),
    ]
    left = _limit(plan) - len(claim.moves)
    moves = _in_turn(wanted)[: max(0, left)]
    if moves or root.pending or side.pending:
        return moves
    return _judge(tree, plan, claim, nominee, why, unit)


def _in_turn(columns: Sequence[Sequence[Replicate]]) -> tuple[Replicate, ...]:
    """One of each column in turn, those that lack most first: the same order, however much of it is chosen already."""
    rounds = range(max(map(len, columns), default=0), 0, -1)
    return tuple(column[0] for lacking in rounds for column in columns if len(column) >= lacking)


# ---------------------------------------------------------------- the judgement, in words


def _judge(tree: Tree, plan: ClaimPlan, claim: _Claim, nominee: str, why: str, unit: str) -> Verdict:
    baseline = tuple(claim.side(tree.root, "report").scores)
    champion = tuple(claim.side(nominee, "report").scores)
    difference = welch(baseline, champion, tree.direction, plan.confidence)
    _, shorter, rival = why.partition(f"{_NOMINEE}, ")
    remarks = (f"; {nominee[:8]} was preferred: {rival}" if shorter else "") + _remarks(tree, claim)
    if isinstance(difference, NoInterval):
        reason = f"no claim: {difference.reason}{remarks}"
        return Verdict("no_champion", nominee, reason, baseline, champion)
    words = describe(difference, unit)
    if difference.significant:
        return Verdict("champion", nominee, f"{words}{remarks}", baseline, champion, difference)
    reason = f"no improvement beyond noise: {words}{remarks}"
    return Verdict("no_champion", nominee, reason, baseline, champion, difference)


def _nobody(tree: Tree, claim: _Claim, unit: str) -> Verdict:
    """The verdict when there is no finalist, or none left."""
    if claim.moves:
        reason = f"no claim: no finalist is left that the budget can pay for{_remarks(tree, claim)}"
        return Verdict("no_champion", tree.root, reason)
    score = f"{tree.means[0]:.4g} {unit}".rstrip()
    return Verdict(
        "no_champion",
        tree.root,
        f"no improvement beyond noise: no node has a better screening mean than the root ({score}), "
        "so nothing was spent on a claim",
    )


def _remarks(tree: Tree, claim: _Claim) -> str:
    """Who failed in a claim run, and whether this is not the first claim."""
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
    if earlier := _claims_before(tree):
        remarks.append(f"claim {earlier + 1} of this run, and each is another chance to be lucky")
    return "".join(f"; {remark}" for remark in remarks)


def describe(difference: Difference, unit: str = "") -> str:
    """A difference in one line: ``3.41 -> 3.08 bpb (gain 0.33, 95% interval 0.30 to 0.36, 4 fresh seeds each)``."""
    d, digits = difference, _digits(difference)
    seeds = (
        f"{d.baseline_n} fresh seeds each"
        if d.baseline_n == d.champion_n
        else f"{d.baseline_n} and {d.champion_n} fresh seeds"
    )
    means = f"{d.baseline_mean:.{digits}f} -> {d.champion_mean:.{digits}f} {unit}".rstrip()
    interval = f"{100 * d.confidence:g}% interval {d.low:.{digits}f} to {d.high:.{digits}f}"
    note = f"; {d.note}" if d.note else ""
    return f"{means} (gain {d.gain:.{digits}f}, {interval}, {seeds}{note})"


def _digits(difference: Difference) -> int:
    """Decimals that the interval's width bears out, and enough that neither end is rounded to zero."""
    half = (difference.high - difference.low) / 2 or abs(difference.gain) / 10
    digits = min(6, max(2, math.ceil(-math.log10(half)))) if half > 0 else 2
    while digits < 6 and 0 in (round(difference.low, digits), round(difference.high, digits)):
        digits += 1
    return digits
