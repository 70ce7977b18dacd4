"""improve: a language model changes a scored program, knowing what was tried on it and around it.

Each proposal has an *aim*, a kind of change to make, so that the search does not get stuck on learning rates: see
``operators.rewrite.prompt.change_kinds``. The aim is kept with the node and with each call.
"""

from __future__ import annotations

from archive.tree import Tree
from operators.base import Context
from operators.llm.meter import Meter
from operators.rewrite.operator import LlmOperator
from operators.rewrite.prompt import sections
from operators.rewrite.prompt.change_kinds import ChangeKind, due, read_aims
from operators.rewrite.prompt.truncation import PromptParts


class Improve(LlmOperator):
    """One change to the parent that should better the score by more than noise."""

    template = "improve"
    more_templates = ("aims",)

    def __init__(self, llm: Meter, name: str | None = None, prompts: str | None = None) -> None:
        super().__init__(llm, name, prompts)
        read_aims(self.templates.text("aims"))  # a file that cannot be read is told at the start

    def suits(self, tree: Tree, node_id: str) -> bool:
        return tree.scored(node_id)

    def aim(self, context: Context) -> ChangeKind:
        """What credit says; of an answer that was paid for in an earlier session, what was asked then."""
        aims = read_aims(self.templates.text("aims"))
        with context.tree.lock:
            chosen = due(aims, context.tree, context.sigma, context.rng)
        paid = self.llm.paid(context.run, context.move_number)
        asked = paid.aim if paid is not None else None
        return next((aim for aim in aims if aim.name == asked), chosen)

    def parts(self, node_id: str, context: Context) -> PromptParts:
        return of_a_scored_program(node_id, context)


def of_a_scored_program(node_id: str, context: Context) -> PromptParts:
    """What is shown of a program that is to be changed. Called with ``tree.lock`` held."""
    tree, files = context.tree, context.tree[node_id].candidate.files
    return {
        "source": sections.sources(files, context.task),
        "result": sections.result(tree, node_id),
        "noise": sections.noise(context.sigma),
        "ancestors": sections.ancestors(tree, node_id),
        "siblings": sections.siblings(tree, node_id),
        "in_flight": sections.in_flight(tree, context.move_number),
    }
