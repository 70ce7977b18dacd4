"""draft: a language model writes a whole new program from the task's text. The parent is the root.

The seed program is not shown if the task has an example of its own: models copy what they are shown, and a draft is to
be different.
"""

from __future__ import annotations

from collections.abc import Mapping

from archive.tree import Tree
from operators.base import Context
from operators.rewrite.answers.search_replace import InvalidAnswer, Proposal, is_whole_file
from operators.rewrite.operator import LlmOperator
from operators.rewrite.prompt import sections
from operators.rewrite.prompt.about import whole_program
from operators.rewrite.prompt.truncation import PromptSections


class Draft(LlmOperator):
    """Ask for an approach that differs from those in the tree."""

    template = "draft"

    def accepts(self, tree: Tree, node_id: str) -> bool:
        return node_id == tree.root and tree.scored(node_id)

    def prompt_sections(self, node_id: str, context: Context) -> PromptSections:
        return {
            "example": sections.example(context.tree, context.task),
            "result": sections.result(context.tree, node_id, context.task),
            "noise": sections.noise(context.sigma, context.task),
            "best": sections.best(context.tree),
            "in_flight": sections.in_flight(context.tree, context.move_number),
            "whole": whole_program(list(context.tree[node_id].candidate.files), context.task.editable),
        }

    def check(self, proposal: Proposal, files: Mapping[str, str], parent: Mapping[str, str]) -> None:
        changed = [path for path, text in files.items() if text != parent.get(path)]
        if proposal.edits or not all(is_whole_file(proposal, path, files[path], parent) for path in changed):
            which = "each" if len(parent) > 1 else "the"
            raise InvalidAnswer(f"there is no file to change here; give {which} whole new file in one fenced block")
