"""improve: a language model changes a scored program, given what was tried on it and what else is in progress.

Each proposal asks for one kind of change (``operators.rewrite.prompt.change_kinds``), so that the search does not only
change learning rates. The archive keeps the kind with the node and with each call, in the column ``aim``.
"""

from __future__ import annotations

from archive.tree import Tree
from operators.base import Context
from operators.llm.meter import Meter
from operators.rewrite.operator import LlmOperator
from operators.rewrite.prompt import feedback, sections
from operators.rewrite.prompt.change_kinds import ChangeKind, read_change_kinds, sampled_kind
from operators.rewrite.prompt.truncation import PromptSections
from prepare.task import Task


class Improve(LlmOperator):
    """Ask for one change that improves the score by more than noise."""

    template = "improve"
    more_templates: tuple[str, ...] = ("aims",)

    def __init__(self, llm: Meter, name: str | None = None, prompts: str | None = None) -> None:
        super().__init__(llm, name, prompts)
        self._kinds = read_change_kinds(self.templates.text("aims"))

    def accepts(self, tree: Tree, node_id: str) -> bool:
        return tree.scored(node_id)

    def change_kind(self, context: Context) -> ChangeKind:
        """Return a sampled kind; for an answer of an earlier session, the kind that was asked for then."""
        kinds = self.kinds_for(context.task)
        with context.tree.lock:
            sampled = sampled_kind(kinds, context.tree, context.typical_noise, context.rng)
        paid = self.llm.paid(context.run, context.move_number)
        asked = paid.aim if paid is not None else None
        return next((kind for kind in kinds if kind.name == asked), sampled)

    def kinds_for(self, task: Task) -> tuple[ChangeKind, ...]:
        """Return the kinds of the user's own template, else those of the task, else the usual ones."""
        given = None if "aims" in self.templates.replaced else task.prompt_info.change_kinds
        return self._kinds if given is None else read_change_kinds(given)

    def prompt_sections(self, node_id: str, context: Context) -> PromptSections:
        return sections_of_scored_program(node_id, context)


def sections_of_scored_program(node_id: str, context: Context) -> PromptSections:
    """Return the sections on a scored program that is to be changed. Called with ``tree.lock`` held."""
    tree, files = context.tree, context.tree[node_id].candidate.files
    return {
        "source": sections.sources(files, context.task),
        "result": sections.result(tree, node_id, context.task),
        "feedback": feedback.by_case(tree, node_id),
        "leader": sections.leader(tree, node_id, context.task),
        "others": sections.others(tree, node_id, context.task),
        "hardware": sections.hardware(tree),
        "noise": sections.noise(context.sigma, context.task),
        "ancestors": sections.ancestors(tree, node_id),
        "siblings": sections.siblings(tree, node_id),
        "in_flight": sections.in_flight(tree, context.move_number),
    }
