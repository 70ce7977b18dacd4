"""What operators that ask a language model share: a prompt from a template, an answer that must do, one repair turn.

    Author.propose    the brief (what is shown) -> a conversation -> a candidate, or the reason for none
    converse          at most two turns: an answer that cannot be used is told why, once

The prompt is in the order in which it lasts, so that providers can cache its beginning: the system text is the same for
a whole search, then comes what belongs to the parent, then what changes from call to call.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

from archive.records import Candidate, Propose
from archive.tree import Tree
from operators.base import Context, NoCandidate
from operators.languages.fingerprint import normalised
from operators.languages.similarity import NEAR, likeness
from operators.languages.syntax import Unparsable, parse
from operators.languages.undefined_names import undefined
from operators.llm.base import Answer, LlmError, Message, Prompt, Unavailable
from operators.llm.meter import CallId, Meter
from operators.rewrite.answers.search_replace import InvalidAnswer, Proposal, apply, described, read_answer
from operators.rewrite.prompt import sections
from operators.rewrite.prompt.change_kinds import ChangeKind
from operators.rewrite.prompt.insights import Insights
from operators.rewrite.prompt.templates import Templates
from operators.rewrite.prompt.truncation import Listing, PromptParts, TooLong, fit, tokens
from operators.sanitize import one_line, quote

TURNS = 2
_COMMON = ("system", "repair")
"""Templates that belong to every prompt."""
_BEGINNING = 400
"""Characters of an answer without an end that are shown to the model again."""
_MARGIN = 50
"""Tokens for what providers put around a message."""

Files = Mapping[str, str]
Result = TypeVar("Result")


@dataclass(frozen=True)
class PromptContext:
    """All that a proposal is made from, read from the tree at one moment."""

    prompt: Prompt
    parent: Files
    failed: tuple[tuple[str, Files], ...]
    """Children of the parent that failed: who and how, in words, and their files."""
    aim: ChangeKind | None
    template: str
    """The version of the templates."""


class LlmOperator(ABC):
    """An operator that asks a language model for a changed program."""

    arity = 1
    needs_llm = True

    def __init__(self, llm: Meter, name: str | None = None, prompts: str | None = None) -> None:
        """``name``: that of its template unless it is given.

        ``prompts``: a folder whose templates come before those of this repository. Raises ValueError.
        """
        self.name = self.template if name is None else name
        self.llm = llm
        self.templates = Templates(prompts)
        self._lessons = Insights()

    @property
    @abstractmethod
    def template(self) -> str:
        """The name of this operator's template."""

    @abstractmethod
    def suits(self, tree: Tree, node_id: str) -> bool:
        """Whether ``node_id`` can be the parent."""

    @abstractmethod
    def parts(self, node_id: str, context: Context) -> PromptParts:
        """What fills the holes of this operator's template, but for those that need time; with ``tree.lock`` held."""

    def check(self, proposal: Proposal, files: Files, parent: Files) -> None:  # noqa: B027 - most want nothing more
        """What this operator wants of an answer beyond what all do. Raises ``InvalidAnswer``."""

    def aim(self, context: Context) -> ChangeKind | None:
        """The kind of change that is to be made, if it is not left open. May ask by SQL: ``tree.lock`` is not held."""
        return None

    def applies(self, tree: Tree, node_id: str) -> bool:
        """Never once the model can answer no more: caps reached, key refused."""
        return self.llm.closed is None and self.suits(tree, node_id)

    def propose(self, move: Propose, context: Context) -> Candidate | NoCandidate:
        try:
            brief = self.brief(move, context)
        except TooLong as error:
            return NoCandidate(str(error))
        aim = brief.aim.name if brief.aim else None

        def read(answer: Answer, last: bool) -> Candidate:
            idea, files = self._read(answer, brief, context, last)
            return Candidate(files, move.parents, self.name, idea, aim)

        def ticket(turn: int) -> CallId:
            return CallId(context.run, context.move_number, turn, self.name, aim, brief.template)

        return converse(self.llm, brief.prompt, ticket, self.templates, read)

    def brief(self, move: Propose, context: Context) -> PromptContext:
        """What is shown, and what the answer will be held against. Raises TooLong."""
        tree, task, parent = context.tree, context.task, move.parents[0]
        wanted = self.templates.holes(self.template)
        # Before the lock is taken: SQL takes its time, and the search goes on meanwhile.
        aim = self.aim(context)
        lines: Sequence[str] = ()
        if "lessons" in wanted:
            lines = self._lessons.lines(context.query, context.run, tree.conditions, context.sigma, tree.evaluated)
        with tree.lock:
            files = tree[parent].candidate.files
            parts = dict(
                self.parts(parent, context),
                lessons=Listing(tuple(lines), "lessons", "- nothing yet", keep="head"),
                knobs=sections.knobs(files, task),
            )
            if aim is not None:
                parts |= {"aim": aim.name, "aim_words": aim.words}
            names = (*_COMMON, self.template, *self.more_templates)
            prompt = written(self.templates, self.template, parts, context, self.llm.prompt_tokens)
            return PromptContext(prompt, files, _failed(tree, parent), aim, self.templates.version(names))

    more_templates: tuple[str, ...] = ()
    """Other files of the folder that the prompt is made from."""

    def _read(self, answer: Answer, brief: PromptContext, context: Context, last: bool) -> tuple[str, dict[str, str]]:
        """The idea and the files of an answer. Raises ``InvalidAnswer``."""
        whole(answer)
        proposal = read_answer(answer.text, context.task.editable)
        files = apply(proposal, brief.parent)
        well_formed(files, context)
        self.check(proposal, files, brief.parent)
        identity = normalised(files)
        if identity == normalised(brief.parent):
            raise InvalidAnswer("nothing changed but comments, layout or seeds; change what the program does")
        if identity in context.known:
            raise InvalidAnswer("this very program was tried before; do something else")
        if (refusal := context.gate(files)) is not None:
            raise InvalidAnswer(refusal)
        _complete(files, brief.parent)
        if not last:  # told once; a model that insists may have found what was missing
            _unlike(files, brief)
        return proposal.idea or described(brief.parent, files), files


def converse(
    llm: Meter,
    prompt: Prompt,
    ticket: Callable[[int], CallId],
    templates: Templates,
    read: Callable[[Answer, bool], Result],
) -> Result | NoCandidate:
    """What ``read`` makes of the first answer that it does not find ``InvalidAnswer``, of at most two.

    ``read`` gets an answer and whether it is the last; ``ticket`` names the call of a turn. Both calls are recorded and
    paid for, whatever comes of them.
    """
    reason = ""
    for turn in range(TURNS):
        try:
            answer = llm.complete(prompt, ticket(turn))
        except LlmError as error:
            said = f"no answer: {type(error).__name__}: {one_line(str(error), 500)}"
            return NoCandidate(said, unavailable=isinstance(error, Unavailable))
        try:
            return read(answer, turn == TURNS - 1)
        except InvalidAnswer as error:
            reason = one_line(f"{error}: {error.shown}" if error.shown else str(error), 500)
            told = {
                "reason": one_line(str(error), 500),
                "shown": quote(error.shown, "text", keep="head") if error.shown else "",
            }
            prompt = prompt.followed_by(_shown_again(answer), templates.filled("repair", told))
    return NoCandidate(f"the answer could not be used, and one repair did not help: {reason}")


def _shown_again(answer: Answer) -> str:
    """What a model sees of its own answer when it is to repair it: of one without an end, how it began.

    All of that would cost what is far too long once more, and a small model would only copy it.
    """
    return f"{answer.text[:_BEGINNING]}\n[...]" if answer.cut_off else answer.text


def written(templates: Templates, name: str, parts: PromptParts, context: Context, limit: int) -> Prompt:
    """The prompt of a template, its parts shortened to ``limit`` tokens in all. Raises TooLong."""
    about = {"task": sections.task(context.task), "program": context.program.strip()}
    system = templates.filled("system", about)
    wanted = templates.holes(name)
    used = tokens(system) + tokens(templates.text(name)) + _MARGIN
    texts = fit({hole: part for hole, part in parts.items() if hole in wanted}, used, limit)
    stable, rest = templates.halves(name, texts)
    return Prompt(system, (Message("user", rest, stable.strip()),))


def whole(answer: Answer) -> None:
    """Raises ``InvalidAnswer`` for an answer that ended at the limit of tokens."""
    if answer.cut_off:
        raise InvalidAnswer(
            "the answer was cut off at the limit of tokens; give a shorter one, with few and small blocks"
        )


def well_formed(files: Files, context: Context) -> None:
    """Raises ``InvalidAnswer`` for files that are too long or do not parse."""
    limit = 1000 * context.task.limits.source_kb
    for path in context.task.editable:
        size = len(files.get(path, "").encode("utf-8", "replace"))
        if size > limit:
            raise InvalidAnswer(f"{path} would have {size:,} bytes; {limit:,} are allowed")
        if path.endswith(".py") and path in files:
            try:
                parse(files[path], path)
            except Unparsable as error:
                raise InvalidAnswer("the changed file does not parse", str(error)) from None


def _complete(files: Files, parent: Files) -> None:
    """Raises ``InvalidAnswer`` for a name that is used and defined nowhere, if the parent could do without it."""
    before = undefined(parent)
    if new := [name for name in undefined(files) if name not in before]:
        raise InvalidAnswer(
            f"`{one_line(new[0], 80)}` is used and nowhere defined; define it, or change every line that uses it"
        )


def _failed(tree: Tree, parent: str) -> tuple[tuple[str, Files], ...]:
    """The parent's latest children that failed."""
    found = []
    for child in tree.children(parent)[-_SIBLINGS:]:
        last = sections.last_failure(tree, child)
        if last is not None and sections.has_failed(tree, child):
            found.append((f"{child[:8]}, which {_FATES[last.outcome]}", tree[child].candidate.files))
    return tuple(found)


_SIBLINGS = 16
_FATES = {
    "crashed": "crashed",
    "timed_out": "ran out of time",
    "out_of_memory": "ran out of memory",
    "invalid": "was invalid",
    "stopped": "was stopped as hopeless",
}


def _unlike(files: Files, brief: PromptContext) -> None:
    """Raises ``InvalidAnswer`` for a change that is nearly the one of a sibling that failed."""
    for who, sibling in brief.failed:
        alike = likeness(brief.parent, files, sibling)
        if alike >= NEAR:
            raise InvalidAnswer(
                f"this is nearly the change of {who} (likeness {alike:.2f}). Mend what failed there or do something "
                "else; if this differs in what matters, give it again"
            )
