"""draft: a language model writes a whole new program. The parent is the root."""

from __future__ import annotations

import math
from collections.abc import Mapping

from archive.tree import Tree
from operators import briefing
from operators.author import Author
from operators.base import Context
from operators.llm.meter import Meter


class Draft(Author):
    """Another approach than the ones in the tree."""

    template = "draft"

    def __init__(self, llm: Meter, name: str = "draft", prompts: str | None = None) -> None:
        super().__init__(llm, name, prompts)

    def suits(self, tree: Tree, node_id: str) -> bool:
        return node_id == tree.root and not math.isnan(tree.means[0])

    def parts(self, node_id: str, context: Context) -> Mapping[str, str]:
        return {
            "source": briefing.sources(context.tree, node_id, context.task),
            "result": briefing.result(context.tree, node_id),
            "noise": briefing.noise(context.sigma),
            "best": briefing.best(context.tree),
            "in_flight": briefing.in_flight(context.tree, context.move_number),
        }
