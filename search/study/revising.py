"""Revision of a paper: a language model rewrites sections on what reviewers said; no check may regress.

The reviewers that drive the revision are one step of the ledger, those that report on it another: the writer never
sees what the second ones say, and they never see the first ones' reviews.
"""

from __future__ import annotations

import difflib
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from archive.paper import prose
from archive.paper.document import Document
from archive.paper.lint import LintFinding, lint
from archive.paper.review import Opinion
from operators.llm.base import LlmError, Prompt
from operators.llm.meter import CallId, Meter
from operators.rewrite.prompt.templates import Templates
from operators.sanitize import one_line, quote
from search.study.reviewing import move_of
from search.study.writing import section_prompt, too_long, unfenced

OPERATOR, DRIVING, REPORTING = "revise", "review_to_revise", "review_to_report"
"""The steps in the ledger of costs: the writer, the reviewers that it reads, and those that it does not."""
_LONGEST_REVIEWS = 12_000
_TEMPLATES = ("paper_system", "paper_revise", "paper_repair")


@dataclass(frozen=True)
class RevisedSection:
    """A section after the revision. ``refused``: why the model's text was not taken; empty if it was."""

    name: str
    before: str
    after: str
    refused: str = ""

    @property
    def accepted(self) -> bool:
        return self.before != self.after


def weaknesses_of(opinions: Sequence[Opinion]) -> str:
    """Return what the driving reviewers said, as data of a prompt."""
    said = [text for each in opinions for texts in (each.review.weaknesses, each.review.questions) for text in texts]
    return quote("\n".join(f"- {one_line(text, 600)}" for text in said), "reviews", _LONGEST_REVIEWS, keep="head")


def revise(
    document: Document, opinions: Sequence[Opinion], llm: Meter, run: str, repairs: int
) -> Iterator[RevisedSection]:
    """Yield each section when it is done; a later section is checked with the earlier ones as they are then.

    ``run``: whose ledger has the calls; ``repairs``: further calls for one section at most.
    """
    templates, said = Templates(), weaknesses_of(opinions)
    for name in prose.TITLES:
        done = _section(document, name, said, llm, run, repairs, templates)
        document = with_section(document, name, done.after)
        yield done


def with_section(document: Document, name: str, text: str) -> Document:
    """Return the paper with another text of one section."""
    return Document(document.study, {**document.sections, name: text})


def _section(
    document: Document, name: str, said: str, llm: Meter, run: str, repairs: int, templates: Templates
) -> RevisedSection:
    before, reason = document.sections[name], ""
    prompt = section_prompt(document, name, templates, "paper_revise", weaknesses=said)
    move = move_of(prompt, f"{OPERATOR} {name}")
    for turn in range(1, 2 + repairs):
        answer = _answer(prompt, CallId(run, move, turn, OPERATOR, template=templates.version(_TEMPLATES)), llm)
        if isinstance(answer, LlmError):
            return RevisedSection(name, before, before, f"no answer: {answer}")
        text = unfenced(answer)
        if text.split() == before.split():
            return RevisedSection(name, before, before)
        reason = too_long(text) or "; ".join(regressions(document, with_section(document, name, text)))
        if not reason:
            return RevisedSection(name, before, text)
        prompt = prompt.followed_by(answer, templates.render("paper_repair", {"reason": reason}))
    return RevisedSection(name, before, before, reason)


def _answer(prompt: Prompt, call: CallId, llm: Meter) -> str | LlmError:
    try:
        return llm.complete(prompt, call).text
    except LlmError as error:
        return error


def regressions(before: Document, after: Document) -> list[str]:
    """Return what is worse after a change: findings of a code that were fewer, and what is no longer reported."""
    found, there = lint(after), Counter(each.code for each in lint(before))
    worse = [each for each in found if _count(found, each) > there[each.code]]
    if worse:
        return [str(each) for each in worse]
    return [f"{what} was in the paper, and is not there now" for what in _reported(before) - _reported(after)]


def _count(found: Sequence[LintFinding], finding: LintFinding) -> int:
    return sum(each.code == finding.code for each in found)


def _reported(document: Document) -> set[str]:
    """Return the numbers, references, figures and tables of a paper whose text can be read."""
    return {f"\\{token.kind}{{{token.text}}}" for _, token in document.tokens("tw", "cite", "twfigure", "twtable")}


def difference(revised: Sequence[RevisedSection]) -> str:
    """Return the unified diff of the sections."""
    return "".join(
        line
        for each in revised
        for line in difflib.unified_diff(
            each.before.splitlines(keepends=True),
            each.after.splitlines(keepends=True),
            f"before/sections/{each.name}.tex",
            f"after/sections/{each.name}.tex",
        )
    )


def revised_sections(revised: Sequence[RevisedSection]) -> Mapping[str, str]:
    return {each.name: each.after for each in revised}
