"""What improve, draft and debug share: a prompt from a template, an answer that must apply, and one repair turn.

Templates are Markdown files in ``operators/prompts``; ``{{name}}`` stands for a part of the briefing. A user
overrides one of them by a file of the same name in a folder of their own (``prompts=`` of the operator).
"""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Mapping
from pathlib import Path

from archive.records import Candidate, Propose
from archive.tree import Tree
from operators import briefing
from operators.base import Context, NoCandidate
from operators.duplicates import normalised
from operators.edits import Unusable, apply, read_answer
from operators.llm.base import Answer, LlmError, Message, Prompt, Unavailable
from operators.llm.meter import Meter, Ticket
from operators.syntax import Unparsable, parse
from operators.untrusted import one_line

_PROMPTS = Path(__file__).with_name("prompts")
_HOLE = re.compile(r"\{\{(\w+)\}\}")
_TURNS = 2


class Author(ABC):
    """An operator that asks a language model for a changed program."""

    arity = 1
    needs_llm = True

    def __init__(self, llm: Meter, name: str, prompts: str | None = None) -> None:
        """``prompts``: a folder whose templates come before those of this repository."""
        self.name = name
        self.llm = llm
        self._folders = [Path(prompts)] if prompts else []
        self._folders.append(_PROMPTS)

    @abstractmethod
    def suits(self, tree: Tree, node_id: str) -> bool:
        """Whether ``node_id`` can be the parent."""

    @abstractmethod
    def parts(self, node_id: str, context: Context) -> Mapping[str, str]:
        """What fills the holes of this operator's template; called with ``tree.lock`` held."""

    def applies(self, tree: Tree, node_id: str) -> bool:
        """Never once the model can answer no more: caps reached, key refused."""
        return self.llm.closed is None and self.suits(tree, node_id)

    def propose(self, move: Propose, context: Context) -> Candidate | NoCandidate:
        with context.tree.lock:
            prompt = self.prompt(move, context)
            parent = context.tree[move.parents[0]].candidate.files
        reason = ""
        for turn in range(_TURNS):
            ticket = Ticket(context.run, context.move_number, turn, self.name)
            try:
                answer = self.llm.complete(prompt, ticket)
            except LlmError as error:
                reason = f"no answer: {type(error).__name__}: {one_line(str(error), 500)}"
                return NoCandidate(reason, unavailable=isinstance(error, Unavailable))
            try:
                idea, files = self._read(answer, parent, context)
                return Candidate(files, move.parents, self.name, idea)
            except Unusable as error:
                reason = str(error)
                prompt = prompt.followed_by(answer.text, self._filled("repair.md", {"reason": reason}))
        return NoCandidate(f"the answer could not be used, and one repair did not help: {one_line(reason, 500)}")

    def prompt(self, move: Propose, context: Context) -> Prompt:
        """Stable parts first: the system text is the same for every prompt of a search."""
        system = self._filled("system.md", {"task": briefing.task(context.task), "program": context.program.strip()})
        request = self._filled(f"{self.template}.md", self.parts(move.parents[0], context))
        return Prompt(system, (Message("user", request),))

    @property
    @abstractmethod
    def template(self) -> str:
        """The name of this operator's template."""

    def _read(self, answer: Answer, parent: Mapping[str, str], context: Context) -> tuple[str, dict[str, str]]:
        """The idea and the files of an answer. Raises ``Unusable``."""
        if answer.cut_off:
            raise Unusable(
                "the answer was cut off at the limit of tokens; give a shorter one, with few and small blocks"
            )
        proposal = read_answer(answer.text, context.task.editable)
        files = apply(proposal, parent)
        for path in context.task.editable:
            size = len(files.get(path, "").encode("utf-8", "replace"))
            if size > 1024 * context.task.limits.source_kb:
                raise Unusable(
                    f"{path} would have {size} bytes; at most {context.task.limits.source_kb} KB are allowed"
                )
            if path.endswith(".py") and path in files:
                try:
                    parse(files[path], path)
                except Unparsable as error:
                    raise Unusable(f"the changed file does not parse: {error}") from None
        identity = normalised(files)
        if identity == normalised(parent):
            raise Unusable("nothing changed but comments, layout or seeds; change what the program does")
        if identity in context.known:
            raise Unusable("this very program was tried before; do something else")
        return proposal.idea, files

    def _filled(self, name: str, parts: Mapping[str, str]) -> str:
        """A template with its holes filled in one pass, so that what fills one cannot open another."""
        path = next(folder / name for folder in self._folders if (folder / name).is_file())
        text = path.read_text(encoding="utf-8")
        if unknown := {hole for hole in _HOLE.findall(text) if hole not in parts}:
            raise ValueError(
                f"{path}: unknown {{{{{min(unknown)}}}}}; this template may use {', '.join(sorted(parts))}"
            )
        return _HOLE.sub(lambda hole: parts[hole[1]], text).strip() + "\n"
