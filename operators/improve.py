"""improve: a language model changes a scored program, knowing what was tried on it and around it."""

from __future__ import annotations

import math
from collections.abc import Mapping

from archive.tree import Tree
from operators import briefing
from operators.author import Author
from operators.base import Context
from operators.llm.meter import Meter


class Improve(Author):
    """One change to the parent that should lower (or raise) the score by more than noise."""

    template = "improve"

    def __init__(self, llm: Meter, name: str = "improve", prompts: str | None = None) -> None:
        super().__init__(llm, name, prompts)

    def suits(self, tree: Tree, node_id: str) -> bool:
        return not math.isnan(tree.means[tree.index[node_id]])

    def parts(self, node_id: str, context: Context) -> Mapping[str, str]:
        return {
            "source": briefing.sources(context.tree, node_id, context.task),
            "result": briefing.result(context.tree, node_id),
            "noise": briefing.noise(context.sigma),
            "ancestors": briefing.ancestors(context.tree, node_id),
            "siblings": briefing.siblings(context.tree, node_id),
            "in_flight": briefing.in_flight(context.tree, context.move_number),
        }
