"""The state of a claim: its moves since the last move of the search, and what they have resulted in."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from archive.records import Evaluation, Failed, MoveRecord, Purpose, Replicate, Scored, WindowScores
from archive.tree import Tree
from search.claims.error_budget import since_last_search_move
from search.config import FIRST_LOOK


@dataclass
class Side:
    """One node's evaluations for one purpose within a claim."""

    scores: list[float] = field(default_factory=list)
    windows: list[WindowScores] = field(default_factory=list)
    """Of the scores that were made at secret positions: all of them, or none."""
    sets: list[str | None] = field(default_factory=list)
    """The position set of each score."""
    failures: list[Evaluation] = field(default_factory=list)
    pending: int = 0

    def first(self, seeds: int | None) -> Side:
        """Return the first scores alone; all of them for None."""
        return Side(self.scores[:seeds], self.windows[:seeds], sets=self.sets[:seeds])

    def of(self, position_set: str | None) -> Side:
        """Return the scores of one position set alone."""
        scores = [score for score, name in zip(self.scores, self.sets, strict=True) if name == position_set]
        return Side(scores, [windows for windows in self.windows if windows.position_set == position_set])

    def missing(self, seeds: int) -> int:
        return max(0, seeds - len(self.scores) - self.pending)


@dataclass(frozen=True)
class ClaimState:
    """The claim moves since the last move of the search, and their results."""

    moves: tuple[MoveRecord, ...]
    sides: Mapping[tuple[str, Purpose], Side]
    landed: int
    judged: frozenset[Purpose]
    """Stages whose trainings have ended and whose judgement has begun: nothing more is trained for them, unless for a
    second look."""
    looks: Mapping[int, int]
    """Move -> the look that a report is for, 1 or 2; other moves have 1."""
    judged_looks: frozenset[int]
    """Looks whose trainings have ended and whose judgement has begun."""

    @classmethod
    def of(cls, tree: Tree) -> ClaimState:
        moves = tuple(since_last_search_move(tree))[::-1]
        numbers = {record.number for record in moves}
        sides: dict[tuple[str, Purpose], Side] = {}
        for node_id, purpose in ((m.node_id, m.purpose) for r in moves if isinstance(m := r.move, Replicate)):
            sides.setdefault((node_id, purpose), Side())
        own = [
            e
            for node_id in dict.fromkeys(node_id for node_id, _ in sides)
            for e in tree.evaluations[node_id]
            if e.request.move in numbers and e.outcome != "lost"
        ]
        looks = looks_of(tree, moves)
        comparable = _latest_position_sets(own, looks)
        for e in own:
            if e.conditions == tree.conditions:  # else made on other hardware or data
                stage = e.request.purpose, looks[e.request.move]
                _count(sides[e.request.node_id, e.request.purpose], e, comparable[stage])
        for record in moves:
            if record.number in tree.open_moves and isinstance(record.move, Replicate):
                sides[record.move.node_id, record.move.purpose].pending += 1
        judging = [r for r in moves if r.number in tree.judging and isinstance(r.move, Replicate)]
        judged = frozenset(r.move.purpose for r in judging if isinstance(r.move, Replicate))
        reports = frozenset(looks[r.number] for r in judging if _is_report(r))
        return cls(moves, sides, len(own), judged, looks, reports)

    def side(self, node_id: str, purpose: Purpose) -> Side:
        return self.sides.get((node_id, purpose), Side())

    def missing(self, node_id: str, purpose: Purpose, seeds: int, look: int = 1) -> int:
        """Return the evaluations that a node lacks, and that can still be made. look: that a report is for."""
        judged = look in self.judged_looks if purpose == "report" else purpose in self.judged
        return 0 if judged else self.side(node_id, purpose).missing(seeds)

    def failure(self, node_id: str) -> Evaluation | None:
        """Return the first failed claim run of a node, or None."""
        failures = [e for purpose in ("confirm", "report") for e in self.side(node_id, purpose).failures]
        return failures[0] if failures else None

    def chosen(self, tree: Tree, purpose: Purpose | None = None) -> list[str]:
        """Return the nodes with moves in this claim, by first move; root, failed and suspect nodes left out."""
        named = (node_id for node_id, why in self.sides if purpose in (None, why))
        return [n for n in dict.fromkeys(named) if n != tree.root and not self.failure(n) and not tree.suspect(n)]


def looks_of(tree: Tree, moves: Sequence[MoveRecord]) -> Mapping[int, int]:
    """Return the look that each move of a claim is for, by its number: the second for reports after ``FIRST_LOOK``.

    All reports of the first look have landed before one of the second is chosen, so a report is for the second if the
    reports of its node before it have resulted in the scores of the first.
    """
    scored = {
        e.request.move
        for node_id in dict.fromkeys(r.move.node_id for r in moves if isinstance(r.move, Replicate))
        for e in tree.evaluations[node_id]
        if isinstance(e, Scored) and e.conditions == tree.conditions
    }
    looks, before = dict[int, int](), dict[str, int]()
    for record in sorted(moves, key=lambda record: record.number):
        looks[record.number] = 1
        if _is_report(record) and isinstance(record.move, Replicate):
            known = before.get(record.move.node_id, 0)
            looks[record.number] = 1 if known < FIRST_LOOK else 2
            before[record.move.node_id] = known + (record.number in scored)
    return looks


def _is_report(record: MoveRecord) -> bool:
    return isinstance(record.move, Replicate) and record.move.purpose == "report"


def _latest_position_sets(
    evaluations: Sequence[Evaluation], looks: Mapping[int, int]
) -> Mapping[tuple[Purpose, int], str | None]:
    """Return the position set of the latest score of each purpose and look; others are not comparable with it.

    There is more than one only where a claim was interrupted, and resumed in another archive or by another version.
    """
    scored = sorted((e for e in evaluations if isinstance(e, Scored)), key=lambda e: e.request.move)
    sets = {(e.request.purpose, looks[e.request.move]): _position_set(e) for e in scored}
    return defaultdict(lambda: None, sets)


def _position_set(evaluation: Scored) -> str | None:
    return None if evaluation.windows is None else evaluation.windows.position_set


def _count(side: Side, evaluation: Evaluation, position_set: str | None) -> None:
    if isinstance(evaluation, Failed):
        side.failures.append(evaluation)
    elif _position_set(evaluation) == position_set:
        side.scores.append(evaluation.score)
        side.sets.append(position_set)
        if evaluation.windows is not None:
            side.windows.append(evaluation.windows)
