"""debug: a language model repairs a program that failed, from its outcome, reason and log. Its children are few."""

from __future__ import annotations

from collections.abc import Mapping

from archive.tree import Tree
from operators import briefing
from operators.author import Author
from operators.base import Context
from operators.llm.meter import Meter


class Debug(Author):
    """The smallest change that makes a failed program run. At most ``tries`` of them for one node."""

    template = "debug"

    def __init__(self, llm: Meter, name: str = "debug", prompts: str | None = None, tries: int = 2) -> None:
        super().__init__(llm, name, prompts)
        self.tries = tries

    def suits(self, tree: Tree, node_id: str) -> bool:
        """A failed node is a parent to nothing else, so its charges are the tries so far, refused ones included."""
        return tree.charges[tree.index[node_id]] < self.tries and briefing.has_failed(tree, node_id)

    def parts(self, node_id: str, context: Context) -> Mapping[str, str]:
        parents = context.tree[node_id].parents
        return {
            "source": briefing.sources(context.tree, node_id, context.task),
            "failure": briefing.failure(context.tree, node_id),
            "ancestors": briefing.ancestors(context.tree, node_id),
            "siblings": briefing.siblings(context.tree, node_id),
            "parent": briefing.result(context.tree, parents[0]) if parents else "It has no parent.",
        }
