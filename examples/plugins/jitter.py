"""An operator of one's own: a random step of one parameter."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from archive.records import Candidate, Propose
from archive.tree import Tree
from operators.base import Context, NoCandidate
from operators.languages.files import Editable
from operators.numeric.observations import lineage_files, search_space, values_of, with_values


@dataclass(frozen=True)
class Jitter:
    """Move one parameter of the parent by a normal step, inside its range."""

    name: str
    """The key under ``conf/operators``; the search passes it."""
    scale: float = 0.2
    """Standard deviation of the step, as a share of the range."""

    arity: ClassVar[int] = 1
    needs_llm: ClassVar[bool] = False

    def applies(self, tree: Tree, node_id: str) -> bool:
        """Return whether the node can be the parent. Policies ask often: keep it cheap."""
        return tree.scored(node_id)

    def propose(self, move: Propose, context: Context) -> Candidate | NoCandidate:
        """Return a child, or the reason why there is none. Must not write anywhere."""
        lineage = lineage_files(context.tree, move.parents[0])
        files = dict(lineage[-1])
        space = search_space(files, Editable.of(context.task), lineage)
        if not space:
            return NoCandidate("the program has no parameter with a range")
        path, name = list(space)[context.rng.integers(len(space))]
        span, value = space[path, name], values_of(files)[path, name]
        low, high = span.bounds
        encoded = span.encode(value) + context.rng.normal(0, self.scale * (high - low))
        new = span.decode(float(np.clip(encoded, low, high)))
        if new == value:
            return NoCandidate(f"{name} would stay {value:g}")
        return Candidate(
            with_values(files, {(path, name): new}), move.parents, self.name, f"{name} {value:g} -> {new:g}"
        )
