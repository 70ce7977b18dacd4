"""simplify: a language model removes something from a program and keeps its score (``prune`` needs no model)."""

from __future__ import annotations

from collections.abc import Mapping

from archive.tree import Tree
from operators.base import Context
from operators.languages.similarity import program_size
from operators.rewrite.answers.search_replace import InvalidAnswer, Proposal
from operators.rewrite.improve import sections_of_scored_program
from operators.rewrite.operator import LlmOperator
from operators.rewrite.prompt.truncation import PromptSections


class Simplify(LlmOperator):
    """Ask for a shorter program with the same score; the search prefers it where scores are equal within noise."""

    template = "simplify"

    def accepts(self, tree: Tree, node_id: str) -> bool:
        return tree.scored(node_id)

    def prompt_sections(self, node_id: str, context: Context) -> PromptSections:
        return sections_of_scored_program(node_id, context)

    def check(self, proposal: Proposal, files: Mapping[str, str], parent: Mapping[str, str]) -> None:
        """Raise ``InvalidAnswer`` unless the syntax tree becomes smaller; comments and layout do not count."""
        before, after = program_size(parent), program_size(files)
        if after >= before:
            raise InvalidAnswer(
                f"the program did not become simpler: {after:,} words of syntax, {before:,} before, comments not "
                "counted; take something out"
            )
