"""The state of a claim: its moves since the last move of the search, and what they have resulted in."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from archive.records import Evaluation, Failed, MoveRecord, Purpose, Replicate, Scored, WindowScores
from archive.tree import Tree
from search.claims.error_budget import since_last_search_move


@dataclass
class Side:
    """One node's evaluations for one purpose within a claim."""

    scores: list[float] = field(default_factory=list)
    windows: list[WindowScores] = field(default_factory=list)
    """Of the scores that were made at secret positions: all of them, or none."""
    failures: list[Evaluation] = field(default_factory=list)
    pending: int = 0

    def missing(self, seeds: int) -> int:
        return max(0, seeds - len(self.scores) - self.pending)


@dataclass(frozen=True)
class ClaimState:
    """The claim moves since the last move of the search, and their results."""

    moves: tuple[MoveRecord, ...]
    sides: Mapping[tuple[str, Purpose], Side]
    landed: int
    judged: frozenset[Purpose]
    """Stages whose trainings have ended and whose judgement has begun: nothing more is trained for them."""

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
        comparable = _latest_position_sets(own)
        for e in own:
            if e.conditions == tree.conditions:  # else made on other hardware or data
                _count(sides[e.request.node_id, e.request.purpose], e, comparable[e.request.purpose])
        for record in moves:
            if record.number in tree.open_moves and isinstance(record.move, Replicate):
                sides[record.move.node_id, record.move.purpose].pending += 1
        judged = frozenset(r.move.purpose for r in moves if r.number in tree.judging and isinstance(r.move, Replicate))
        return cls(moves, sides, len(own), judged)

    def side(self, node_id: str, purpose: Purpose) -> Side:
        return self.sides.get((node_id, purpose), Side())

    def missing(self, node_id: str, purpose: Purpose, seeds: int) -> int:
        """Return the evaluations that a node lacks, and that can still be made."""
        return 0 if purpose in self.judged else self.side(node_id, purpose).missing(seeds)

    def failure(self, node_id: str) -> Evaluation | None:
        """Return the first failed claim run of a node, or None."""
        failures = [e for purpose in ("confirm", "report") for e in self.side(node_id, purpose).failures]
        return failures[0] if failures else None

    def chosen(self, tree: Tree, purpose: Purpose | None = None) -> list[str]:
        """Return the nodes with moves in this claim, by first move; root, failed and suspect nodes left out."""
        named = (node_id for node_id, why in self.sides if purpose in (None, why))
        return [n for n in dict.fromkeys(named) if n != tree.root and not self.failure(n) and not tree.suspect(n)]


def _latest_position_sets(evaluations: Sequence[Evaluation]) -> Mapping[Purpose, str | None]:
    """Return the position set of the latest score of each purpose; scores of other sets are not comparable with it.

    There is more than one only where a claim was interrupted, and resumed in another archive or by another version.
    """
    scored = sorted((e for e in evaluations if isinstance(e, Scored)), key=lambda e: e.request.move)
    return defaultdict(lambda: None, {e.request.purpose: _position_set(e) for e in scored})


def _position_set(evaluation: Scored) -> str | None:
    return None if evaluation.windows is None else evaluation.windows.position_set


def _count(side: Side, evaluation: Evaluation, position_set: str | None) -> None:
    if isinstance(evaluation, Failed):
        side.failures.append(evaluation)
    elif _position_set(evaluation) == position_set:
        side.scores.append(evaluation.score)
        if evaluation.windows is not None:
            side.windows.append(evaluation.windows)
