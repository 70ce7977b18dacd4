"""The sections of a paper by a language model: each is checked, repaired a few times, and left plain if that fails.

A model sees keys with their values. Its text is data: what ``archive.paper.lint`` finds in it goes back to it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from archive.paper import prose
from archive.paper.document import Document
from archive.paper.lint import lint
from archive.paper.numbers import Study
from operators.llm.base import LlmError, Message, Prompt
from operators.llm.meter import CallId, Meter
from operators.rewrite.prompt.templates import Templates

OPERATOR = "write"
"""The step in the ledger of costs."""
FIRST_MOVE = 1_000_000
"""Calls of papers are numbered from here, apart from the moves of the run that they are charged to."""
_MOST_ATTEMPTS = 1000
_LONGEST = 20_000
_TEMPLATES = ("paper_system", "paper_section", "paper_repair")


@dataclass(frozen=True)
class WrittenSection:
    """A section. ``plain``: why it was left as the program writes it; empty if the model wrote it."""

    name: str
    text: str
    plain: str = ""


def write(
    study: Study, llm: Meter, run: str, attempt: int, repairs: int, templates: Templates | None = None
) -> Iterator[WrittenSection]:
    """Yield each section when it is done. A call that was answered in a killed session is not sent again.

    ``run``: whose ledger has the calls; ``attempt``: of the paper; ``repairs``: further calls for one section at most.
    """
    templates = templates or Templates()
    sections = prose.sections(study)
    for place, name in enumerate(prose.TITLES):
        move = FIRST_MOVE + (attempt % _MOST_ATTEMPTS) * len(prose.TITLES) + place

        def call(turn: int, move: int = move) -> CallId:
            return CallId(run, move, turn, OPERATOR, template=templates.version(_TEMPLATES))

        written = _section(Document(study, sections), name, llm, call, repairs, templates)
        sections[name] = written.text
        yield written


def _section(
    document: Document, name: str, llm: Meter, call: Callable[[int], CallId], repairs: int, templates: Templates
) -> WrittenSection:
    plain, reason = document.sections[name], ""
    prompt = section_prompt(document, name, templates, "paper_section")
    for turn in range(1 + repairs):
        try:
            answer = llm.complete(prompt, call(turn))
        except LlmError as error:
            return WrittenSection(name, plain, f"no answer: {error}")
        text = unfenced(answer.text)
        reason = _wrong(document, name, text)
        if not reason:
            return WrittenSection(name, text)
        prompt = prompt.followed_by(answer.text, templates.render("paper_repair", {"reason": reason}))
    return WrittenSection(name, plain, reason)


def section_prompt(document: Document, name: str, templates: Templates, template: str, **more: str) -> Prompt:
    """Return the prompt for one section: keys with their values, references, and the section as it is."""
    numbers = "\n".join(f"{key} = {value}" for key, value in document.values().items())
    references = "\n".join(f"{key}: {each.text}" for key, each in document.references.items())
    parts = {
        "numbers": numbers,
        "references": references,
        "title": prose.TITLES[name],
        "plain": document.sections[name],
        **more,
    }
    stable, rest = templates.render_halves(template, parts)
    return Prompt(templates.render("paper_system", {}), (Message("user", rest, stable.strip()),))


def unfenced(text: str) -> str:
    """Return an answer without the fence that models put around it."""
    match = re.fullmatch(r"\s*```\w*\n(.*?)```\s*", text, re.DOTALL)
    return (match[1] if match else text).strip() + "\n"


def too_long(text: str) -> str:
    """Return words on a section that is too long; empty if it is not."""
    return f"the section has {len(text):,} characters; at most {_LONGEST:,} are taken" if len(text) > _LONGEST else ""


def _wrong(document: Document, name: str, text: str) -> str:
    """Return what is wrong with a section, all findings in one text; empty if nothing is."""
    if words := too_long(text):
        return words
    found = lint(Document(document.study, {**document.sections, name: text}))
    return "; ".join(str(each) for each in found)
