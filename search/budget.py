"""What a search may use: evaluations (every training counts, replicates too), hours, and a score to stop at.

The claim is paid from the same budget, so the search ends while enough is left for it.
"""

from __future__ import annotations

from dataclasses import dataclass

from archive.tree import Tree


@dataclass(frozen=True)
class Budget:
    """Limits of one run; None means no limit. Raises ValueError for nonsense, and for no limit at all."""

    evaluations: int | None = None
    hours: float | None = None
    target: float | None = None

    def __post_init__(self) -> None:
        for name, kind in (("evaluations", int), ("hours", (int, float)), ("target", (int, float))):
            value = getattr(self, name)
            if value is not None and (isinstance(value, bool) or not isinstance(value, kind)):
                raise ValueError(f"budget.{name} is {value!r}; expected a number, or null for no limit")
        if self.evaluations is not None and self.evaluations < 1:
            raise ValueError(f"budget.evaluations is {self.evaluations}; expected at least 1")
        if self.hours is not None and self.hours <= 0:
            raise ValueError(f"budget.hours is {self.hours}; expected a positive number of hours")
        if self.evaluations is None and self.hours is None and self.target is None:
            raise ValueError(
                "no budget: set budget.evaluations, budget.hours or budget.target, so that the search ends"
            )

    def evaluations_left(self, tree: Tree, in_flight: int) -> float:
        """How many more trainings may be started."""
        return float("inf") if self.evaluations is None else self.evaluations - tree.evaluated - in_flight

    def seconds_left(self, used: float) -> float:
        """Wall seconds left of the whole run, earlier sessions counted in."""
        return float("inf") if self.hours is None else 3600 * self.hours - used

    def reached(self, tree: Tree) -> bool:
        """Whether the leader's mean has reached the target."""
        leader = tree.leader()
        if self.target is None or leader is None:
            return False
        mean = float(tree.means[tree.index[leader]])
        return not tree.better(self.target, mean)
