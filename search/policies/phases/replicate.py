"""Replication of the leader: a leader with a single run and many children is evaluated again."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from archive.records import Replicate
from archive.tree import Tree
from prepare.output import many
from search.policies import validation
from search.policies.base import screening_count


@dataclass(frozen=True)
class LeaderReplication:
    """Replicates the leader up to ``runs`` screenings once it has ``after`` children or attempts.

    The best of many single runs looks better than it is, and a lucky leader attracts children that cannot beat its
    luck. So the ranking depends on that one run, and a second one is worth its cost: at most one evaluation in ``after
    + 1``, and none in a short search. Replicating every candidate is worse at equal budget. ``runs = 1`` turns it off.
    Raises ValueError for ``runs`` or ``after`` below 1.
    """

    ordinal: ClassVar[bool] = True
    runs: int = 1
    after: int = 10

    def __post_init__(self) -> None:
        validation.whole("recheck.runs", self.runs, 1)
        validation.whole("recheck.after", self.after, 1)

    def choose(self, tree: Tree) -> Replicate | None:
        """Return a replicate of the leader, or None."""
        leader = tree.leader() if self.runs > 1 and not tree.deterministic else None
        if leader is None or leader == tree.root:
            return None
        visits = int(tree.visits[tree.index[leader]])
        tried = screening_count(tree, leader)
        # Each further run waits for as many further children, or a leader that is hard to beat would use up its runs.
        if tried >= self.runs or visits < self.after * tried:
            return None
        return Replicate(leader, reason=f"it leads on {many(tried, 'run')} and has {visits} children or attempts")
