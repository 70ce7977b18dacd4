"""debug: a language model repairs a failed program, given its outcome, reason and log."""

from __future__ import annotations

from archive.tree import Tree
from operators.base import Context
from operators.llm.meter import Meter
from operators.rewrite.operator import LlmOperator
from operators.rewrite.prompt import feedback, sections
from operators.rewrite.prompt.truncation import PromptSections


class Debug(LlmOperator):
    """Ask for the smallest change that makes a failed program run, at most ``tries`` times for one node."""

    template = "debug"

    def __init__(self, llm: Meter, name: str | None = None, prompts: str | None = None, tries: int = 2) -> None:
        """Raises ValueError for less than one try or invalid templates."""
        super().__init__(llm, name, prompts)
        if tries < 1:
            raise ValueError(f"operators.{self.name}.tries is {tries}; expected at least 1 repair of a failed node")
        self.tries = tries

    def accepts(self, tree: Tree, node_id: str) -> bool:
        """Return whether the node failed and has tries left: all its visits are tries, refused ones included."""
        return tree.visits[tree.index[node_id]] < self.tries and sections.has_failed(tree, node_id)

    def prompt_sections(self, node_id: str, context: Context) -> PromptSections:
        tree = context.tree
        parents = tree[node_id].parents
        before = parents[0] if parents else None
        return {
            "source": sections.sources(tree[node_id].candidate.files, context.task),
            "change": sections.change(tree, node_id, context.task),
            "failure": sections.failure(tree, node_id, context.task),
            "feedback": feedback.by_case(tree, node_id),
            "log": sections.log(tree, node_id),
            "ancestors": sections.ancestors(tree, node_id),
            "siblings": sections.siblings(tree, node_id),
            "relatives": sections.failed_relatives(tree, node_id),
            "hardware": sections.hardware(tree),
            "parent": sections.result(tree, before, context.task) if before else "It has no parent.",
            "leader": sections.leader(tree, before, context.task) if before else "",
        }
