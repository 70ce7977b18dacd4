"""Widening: what refusals in a row change. First the search looks elsewhere, then it stops with a reason."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

from archive.records import Propose, Stop
from archive.tree import Tree
from search.policies.base import Operators


@dataclass(frozen=True)
class Widening:
    """After ``widen_after`` refusals in a row any scored node may be the parent; after ``stop_after`` the search stops.

    While widened, an operator's weight is divided by one plus its share in the proposals that were refused, so the
    others come to the fore. Raises ValueError unless 1 <= widen_after <= stop_after.
    """

    widen_after: int = 5
    stop_after: int = 25

    def __post_init__(self) -> None:
        if not 1 <= self.widen_after <= self.stop_after:
            raise ValueError(
                f"widening has widen_after={self.widen_after} and stop_after={self.stop_after}; "
                "expected 1 <= widen_after <= stop_after. Set policy.widening."
            )

    def active(self, tree: Tree) -> bool:
        return tree.refused_in_a_row >= self.widen_after

    def stop(self, tree: Tree) -> Stop | None:
        """The end of a search whose operators have nothing new to say."""
        if tree.refused_in_a_row < self.stop_after:
            return None
        names = ", ".join(f"{name} ({times})" for name, times in sorted(self._recent(tree).items()))
        return Stop(
            f"{tree.refused_in_a_row} proposals in a row came to nothing: {names}. "
            "The operators seem to have nothing new left; the archive's refusals say why each was turned down."
        )

    def weights(self, tree: Tree, operators: Operators) -> Mapping[str, float]:
        """The weight of each operator, those of the latest proposals set back while the search is widened."""
        recent: Counter[str] = self._recent(tree) if self.active(tree) else Counter()
        return {name: view.weight / (1 + recent[name]) for name, view in operators.items()}

    def _recent(self, tree: Tree) -> Counter[str]:
        """Operators of as many of the latest proposals as were refused in a row."""
        counts: Counter[str] = Counter()
        for record in reversed(tree.moves.values()):
            if counts.total() >= tree.refused_in_a_row:
                break
            if isinstance(record.move, Propose) and record.move.parents:
                counts[record.move.operator] += 1
        return counts
