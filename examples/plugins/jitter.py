"""An operator of one's own: a random step of one parameter."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from archive.records import Candidate, Propose
from archive.tree import Tree
from operators.base import Context, NoCandidate
from operators.languages.parameters import find_parameters, set_parameters
from operators.numeric.search_space import range_of


@dataclass(frozen=True)
class Jitter:
    """Move one parameter of the parent by a normal step, inside the range that its ``tune:`` comment gives."""

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
        files = dict(context.tree[move.parents[0]].candidate.files)
        path = context.task.editable[0]
        ranges = {each: span for each in find_parameters(files[path]) if (span := range_of(each)) is not None}
        if not ranges:
            return NoCandidate("the program has no parameter with a range")
        parameter = list(ranges)[context.rng.integers(len(ranges))]
        span = ranges[parameter]
        low, high = span.bounds
        encoded = span.encode(parameter.value) + context.rng.normal(0, self.scale * (high - low))
        value = span.decode(float(np.clip(encoded, low, high)))
        if value == parameter.value:
            return NoCandidate(f"{parameter.name} would stay {value:g}")
        files[path] = set_parameters(files[path], {parameter.name: value})
        return Candidate(files, move.parents, self.name, f"{parameter.name} {parameter.value:g} -> {value:g}")
