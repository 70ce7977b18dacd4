"""simplify: a language model takes something out of a program and keeps its score; ``prune`` does so without one."""

from __future__ import annotations

from collections.abc import Mapping

from archive.tree import Tree
from operators.base import Context
from operators.languages.similarity import size
from operators.rewrite.answers.search_replace import InvalidAnswer, Proposal
from operators.rewrite.improve import of_a_scored_program
from operators.rewrite.operator import LlmOperator
from operators.rewrite.prompt.truncation import PromptParts


class Simplify(LlmOperator):
    """Less program for the same score. At an equal score, within noise, the search prefers the shorter one."""

    template = "simplify"

    def suits(self, tree: Tree, node_id: str) -> bool:
        return tree.scored(node_id)

    def parts(self, node_id: str, context: Context) -> PromptParts:
        return of_a_scored_program(node_id, context)

    def check(self, proposal: Proposal, files: Mapping[str, str], parent: Mapping[str, str]) -> None:
        """Comments and layout do not count: what must become less is the syntax tree."""
        before, after = size(parent), size(files)
        if after >= before:
            raise InvalidAnswer(
                f"the program did not become simpler: {after:,} words of syntax, {before:,} before, comments not "
                "counted; take something out"
            )
