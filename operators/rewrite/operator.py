"""Base class of operators that ask a language model for a changed program: prompt, conversation, checks, candidate."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

from archive.records import Candidate, Propose
from archive.tree import Tree
from operators.base import Context, NoCandidate
from operators.languages.files import Files, editable_files
from operators.languages.fingerprint import fingerprint
from operators.languages.similarity import NEAR_DUPLICATE, similarity
from operators.languages.undefined_names import undefined_names
from operators.llm.base import Answer, Prompt
from operators.llm.meter import CallId, Meter
from operators.rewrite.answers.search_replace import (
    InvalidAnswer,
    Proposal,
    apply,
    idea_of_change,
    read_answer,
)
from operators.rewrite.conversation import ask_with_repair, build_prompt, require_complete, require_well_formed
from operators.rewrite.prompt import sections
from operators.rewrite.prompt.change_kinds import ChangeKind
from operators.rewrite.prompt.insights import Insights
from operators.rewrite.prompt.templates import Templates
from operators.rewrite.prompt.truncation import Listing, PromptSections, TooLong
from operators.sanitize import one_line
from prepare.source import normalised

KEEP = "KEEP"
"""Answer of a model that changes nothing of its proposal."""
_AROUND = " \n\t`*."
"""Characters around it that models add."""
_SIBLINGS = 16
_OUTCOMES = {
    "crashed": "crashed",
    "timed_out": "ran out of time",
    "out_of_memory": "ran out of memory",
    "invalid": "was invalid",
    "infeasible": "broke a constraint",
    "stopped": "was stopped as hopeless",
}


@dataclass(frozen=True)
class PromptContext:
    """Everything that a proposal is made from, read from the tree at one moment."""

    prompt: Prompt
    parent: Files
    failed: tuple[tuple[str, Files], ...]
    """The parent's children that failed: id and outcome as text, and their files."""
    change_kind: ChangeKind | None
    template: str
    """Texts of the templates."""


@dataclass(frozen=True)
class Accepted:
    """A candidate, and the answer that it was made of."""

    candidate: Candidate
    text: str


class LlmOperator(ABC):
    """An operator that asks a language model for a changed program."""

    arity = 1
    needs_llm = True
    common_templates: tuple[str, ...] = ("system", "repair")
    """Templates that belong to every prompt, that of the system text first."""
    more_templates: tuple[str, ...] = ()
    """Further templates that the prompt is made from."""

    def __init__(self, llm: Meter, name: str | None = None, prompts: str | None = None) -> None:
        """Set up the operator.

        Args:
            name: Defaults to the name of the template.
            prompts: Folder with templates that replace those of this repository.

        Raises:
            ValueError: Invalid templates.
        """
        self.name = self.template if name is None else name
        self.llm = llm
        self.templates = Templates(prompts)
        self._insights = Insights()

    @property
    @abstractmethod
    def template(self) -> str:
        """Name of this operator's template."""

    @abstractmethod
    def accepts(self, tree: Tree, node_id: str) -> bool:
        """Return whether ``node_id`` can be the parent."""

    @abstractmethod
    def prompt_sections(self, node_id: str, context: Context) -> PromptSections:
        """Return the sections of this operator's template that are read from the tree; with ``tree.lock`` held."""

    def check(self, proposal: Proposal, files: Files, parent: Files) -> None:  # noqa: B027 - optional
        """Raise ``InvalidAnswer`` if the answer breaks a rule of this operator."""

    def change_kind(self, context: Context) -> ChangeKind | None:
        """Return the kind of change to ask for, or None. May query the archive: ``tree.lock`` is not held."""
        return None

    def applies(self, tree: Tree, node_id: str) -> bool:
        """Return whether ``node_id`` can be the parent; False once the model is closed (caps reached, key refused)."""
        return self.llm.closed is None and self.accepts(tree, node_id)

    def propose(self, move: Propose, context: Context) -> Candidate | NoCandidate:
        try:
            basis = self.prompt_context(move, context)
        except TooLong as error:
            return NoCandidate(str(error))
        made = self.ask(basis, basis.prompt, 0, move, context)
        return made if isinstance(made, NoCandidate) else self.refine(made, basis, move, context).candidate

    def refine(self, made: Accepted, basis: PromptContext, move: Propose, context: Context) -> Accepted:
        """Return the proposal, or one that the model made of it."""
        return made

    def ask(
        self,
        basis: PromptContext,
        prompt: Prompt,
        first_turn: int,
        move: Propose,
        context: Context,
        kept: Accepted | None = None,
    ) -> Accepted | NoCandidate:
        """Ask for a proposal, with one repair turn. ``kept``: what the answer ``KEEP`` stands for."""
        kind = basis.change_kind.name if basis.change_kind else None

        def read(answer: Answer, last: bool) -> Accepted:
            if kept is not None and answer.text.strip(_AROUND) == KEEP:
                return kept
            idea, files = self._read(answer, basis, context, last)
            return Accepted(Candidate(files, move.parents, self.name, idea, kind), answer.text)

        def call_id(turn: int) -> CallId:
            return CallId(context.run, context.move_number, first_turn + turn, self.name, kind, basis.template)

        return ask_with_repair(self.llm, prompt, call_id, self.templates, read)

    def prompt_context(self, move: Propose, context: Context) -> PromptContext:
        """Return the prompt, and what its answer is checked against. Raises TooLong."""
        tree, parent = context.tree, move.parents[0]
        # Before the lock is taken, since they may query the archive, and the search must not wait.
        kind = self.change_kind(context)
        insights = self._insights_for(context)
        with tree.lock:
            files = tree[parent].candidate.files
            parts = dict(
                self.prompt_sections(parent, context),
                lessons=Listing(tuple(insights), "lessons", "- nothing yet", keep="head"),
                knobs=sections.parameters(tree, parent, context.task),
            )
            if kind is not None:
                parts |= {"aim": kind.name, "aim_words": kind.description}
            names = (*self.common_templates, self.template, *self.more_templates)
            limit = self.llm.prompt_tokens
            prompt = build_prompt(self.templates, self.template, parts, context, limit, self.common_templates[0])
            return PromptContext(prompt, files, _failed_children(tree, parent), kind, self.templates.version(names))

    def _insights_for(self, context: Context) -> Sequence[str]:
        if "lessons" not in self.templates.placeholders(self.template):
            return ()
        return self._insights.lines(context.tree, context.query, context.typical_noise)

    def _read(self, answer: Answer, basis: PromptContext, context: Context, last: bool) -> tuple[str, dict[str, str]]:
        """Return the idea and the files of an answer. Raises ``InvalidAnswer``."""
        require_complete(answer)
        patterns = context.task.editable
        own = editable_files(patterns, basis.parent) or list(patterns)
        proposal = read_answer(normalised(answer.text), own, patterns)
        files = {path: normalised(text) for path, text in apply(proposal, basis.parent).items()}
        require_well_formed(files, context)
        self.check(proposal, files, basis.parent)
        require_new_program(files, basis.parent, context)
        if not last:  # only once: a model that insists may have found what was missing
            _require_new_change(files, basis)
        return proposal.idea or idea_of_change(basis.parent, files), files


def require_new_program(files: Files, parent: Files, context: Context) -> None:
    """Raise ``InvalidAnswer`` for a program that is known, or that the static checks refuse."""
    identity = fingerprint(files)
    if identity == fingerprint(parent):
        raise InvalidAnswer("nothing changed but comments, layout or seeds; change what the program does")
    if identity in context.known:
        raise InvalidAnswer("this very program was tried before; do something else")
    if (refusal := context.gate(files)) is not None:
        raise InvalidAnswer(refusal)
    _require_defined_names(files, parent)


def _require_defined_names(files: Files, parent: Files) -> None:
    """Raise ``InvalidAnswer`` for a name that is used but not defined, unless the parent has it as well."""
    before = undefined_names(parent)
    if new := [name for name in undefined_names(files) if name not in before]:
        raise InvalidAnswer(
            f"`{one_line(new[0], 80)}` is used and nowhere defined; define it, or change every line that uses it"
        )


def _require_new_change(files: Files, basis: PromptContext) -> None:
    """Raise ``InvalidAnswer`` for a near-duplicate of a sibling's change that failed."""
    for sibling, sibling_files in basis.failed:
        alike = similarity(basis.parent, files, sibling_files)
        if alike >= NEAR_DUPLICATE:
            raise InvalidAnswer(
                f"this is nearly the change of {sibling} (similarity {alike:.2f}). Fix what failed there or do "
                "something else; if this differs in what matters, give it again"
            )


def _failed_children(tree: Tree, parent: str) -> tuple[tuple[str, Files], ...]:
    """Return the parent's latest children that failed."""
    found = []
    for child in tree.children(parent)[-_SIBLINGS:]:
        last = sections.last_failure(tree, child)
        if last is not None and sections.has_failed(tree, child):
            found.append((f"{child[:8]}, which {_OUTCOMES[last.outcome]}", tree[child].candidate.files))
    return tuple(found)
