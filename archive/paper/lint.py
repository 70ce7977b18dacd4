"""What is wrong with a paper, as a list: numbers that are not bound, claims that the intervals do not bear, and form.

A finding has a code, the section and line where it stands, and words. An empty list lets the paper be built.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal

from archive.paper.assertions import directions, improvements, leaks, quotations, sources
from archive.paper.bindings import bound
from archive.paper.document import Document
from archive.paper.floats import ABLATED, FIGURES, TABLES
from archive.paper.literals import Typed, typed
from archive.paper.markup import MarkupError, tokens
from archive.paper.numbers import DEVIATIONS, VERDICT, UnknownNumber
from archive.paper.prose import TITLES
from archive.paper.reading import sentences

Code = Literal[
    "markup",
    "unbound",
    "bound",
    "unknown",
    "placeholder",
    "section",
    "repeated",
    "figure",
    "citation",
    "claim",
    "leak",
    "unreported",
    "pages",
]
_PLACEHOLDERS = re.compile(
    r"\b(?:todo|tbd|fixme|xxx+|lorem ipsum)\b|\?\?|\bhere\s*\]|\[\s*(?:insert|citation|figure|your)\b|"
    r"\b(?:conclusions?|results|abstract|text)\s+(?:go(?:es)?\s+)?here\b",
    re.IGNORECASE,
)
_LONGEST_REPEAT = 60
_SAME = 0.6
"""Two sentences are one if so much of their groups of three words is shared: one word in twelve may differ."""


@dataclass(frozen=True)
class LintFinding:
    """One thing that is wrong. ``line``: of the section's text, from 1; 0 for the section or the paper as a whole."""

    code: Code
    section: str
    line: int
    words: str

    def __str__(self) -> str:
        where = f"{self.section} line {self.line}" if self.line else self.section or "paper"
        return f"{where}: {self.words}"


def lint(document: Document) -> list[LintFinding]:
    """Return all findings. Raises nothing for text that is wrong."""
    found = [*_sections(document), *_markup(document)]
    if any(each.code == "markup" for each in found):
        return found
    found += _unknown(document)
    if any(each.code in ("unknown", "citation") for each in found):
        return found
    for check in _CHECKS:
        found += check(document)
    return found


def page_limit(pages: int, most: int) -> list[LintFinding]:
    """Return the finding for a paper that is too long."""
    return [LintFinding("pages", "", 0, f"{pages} pages; expected at most {most}")] if pages > most else []


def _sections(document: Document) -> Iterator[LintFinding]:
    for name in TITLES:
        if not document.sections.get(name, "").strip():
            yield LintFinding("section", name, 0, "the section is missing or empty")
    for name in document.sections.keys() - TITLES.keys():
        yield LintFinding("section", name, 0, f"there is no such section; they are {', '.join(TITLES)}")


def _markup(document: Document) -> Iterator[LintFinding]:
    for name, body in document.sections.items():
        try:
            list(tokens(body))
        except MarkupError as error:
            yield LintFinding("markup", name, error.line, str(error))


def _unknown(document: Document) -> Iterator[LintFinding]:
    """Numbers, references, figures and tables that do not exist."""
    for name, token in document.tokens("tw"):
        try:
            document.study.shown(token.text)
        except UnknownNumber as error:
            yield LintFinding("unknown", name, token.line, str(error))
    for name, token in document.tokens("cite"):
        for key in token.text.split(","):
            if key.strip() not in document.references:
                words = f"the reference {key.strip()!r} is not in the bibliography that was registered with the study"
                yield LintFinding("citation", name, token.line, words)
    for kind, known in (("twfigure", FIGURES), ("twtable", TABLES)):
        for name, token in document.tokens(kind):
            if token.text not in known:
                yield LintFinding(
                    "unknown", name, token.line, f"there is no {token.text!r}; there are {', '.join(known)}"
                )


# ---------------------------------------------------------------- sentences


def _of_sentences(document: Document) -> Iterator[LintFinding]:
    """What is wrong with single sentences: their numbers, claims and sources."""
    study = document.study
    allowed, quoted = Typed.of(study), quotations(study.registered.plan["hypothesis"])
    for name, body in document.sections.items():
        for each in sentences(name, body):
            yield from (LintFinding("unbound", name, *found) for found in typed(document, each, allowed))
            yield from (LintFinding("bound", name, *found) for found in bound(study, each))
            yield from (LintFinding("claim", name, *found) for found in improvements(study, each, quoted))
            yield from (LintFinding("claim", name, *found) for found in directions(study, each))
            yield from (LintFinding("leak", name, *found) for found in leaks(each))
            yield from (LintFinding("citation", name, *found) for found in sources(document, each))


# ---------------------------------------------------------------- form


def _placeholders(document: Document) -> Iterator[LintFinding]:
    for name, body in document.sections.items():
        for match in _PLACEHOLDERS.finditer(body):
            yield LintFinding(
                "placeholder", name, 1 + body[: match.start()].count("\n"), f"{match[0]!r} is a placeholder"
            )


def _repeated(document: Document) -> Iterator[LintFinding]:
    """Sentences that stand in the paper twice, also with a few words changed. The hypothesis may be quoted again."""
    hypothesis = " ".join(document.study.registered.plan["hypothesis"].lower().split())
    seen: list[tuple[str, frozenset[tuple[str, ...]]]] = []
    for name, body in document.sections.items():
        for each in sentences(name, body):
            text = " ".join(each.text.lower().split()).replace(hypothesis, "")
            threes = _threes(text) if not each.keys else frozenset({(text,)})  # numbers may be said twice
            if len(text) < _LONGEST_REPEAT or not threes:
                continue
            if (other := next((where for where, there in seen if _is_same(threes, there)), None)) is not None:
                yield LintFinding("repeated", name, each.line, f"the sentence stands in {other} too: {text[:50]!r}")
            seen.append((name, threes))


def _threes(text: str) -> frozenset[tuple[str, ...]]:
    words = text.split()
    return frozenset(zip(words, words[1:], words[2:], strict=False))


def _is_same(a: frozenset[tuple[str, ...]], b: frozenset[tuple[str, ...]]) -> bool:
    return len(a & b) >= _SAME * min(len(a), len(b)) and max(len(a), len(b)) <= 2 * min(len(a), len(b))


def _figures(document: Document) -> Iterator[LintFinding]:
    """Figures and tables that are shown and not referred to, the other way round, or shown twice."""
    refs = {key.strip() for _, token in document.tokens("ref") for key in token.text.split(",")}
    shown = Counter(
        f"{'fig' if token.kind == 'twfigure' else 'tab'}:{token.text}"
        for _, token in document.tokens("twfigure", "twtable")
    )
    for label, count in shown.items():
        if count > 1:
            yield LintFinding("figure", "", 0, f"{label} is shown {count} times")
        if label not in refs:
            yield LintFinding("figure", "", 0, f"{label} is shown and not referred to")
    for label in sorted(refs - shown.keys()):
        yield LintFinding("figure", "", 0, f"{label} is referred to and not shown")
    for name in document.figures:
        if not FIGURES[name].rows(document.study):
            yield LintFinding("figure", "", 0, f"fig:{name} has no rows")


def _unreported(document: Document) -> Iterator[LintFinding]:
    """Registered runs, settings, ablations and deviations are in the paper: by their tables, and by the list."""
    if "runs" not in document.tables:
        yield LintFinding("unreported", "results", 0, "the registered runs are not reported; put \\twtable{runs} there")
    if DEVIATIONS not in (token.text for _, token in document.tokens("tw")):
        yield LintFinding("unreported", "limitations", 0, "the deviations are not listed; put \\tw{deviations} there")
    for section in ("abstract", "results"):
        if (section, VERDICT) not in ((name, token.text) for name, token in document.tokens("tw")):
            words = "the verdict of the registered analysis is not there; say that the hypothesis is \\tw{verdict}"
            yield LintFinding("unreported", section, 0, words)
    if "settings" not in document.tables:
        yield LintFinding("unreported", "setup", 0, "the settings are not described; put \\twtable{settings} there")
    if "ablation" not in document.tables and document.study.reader.query(ABLATED, [document.study.name]).rows:
        words = "the ablations that were made are not reported; put \\twtable{ablation} there"
        yield LintFinding("unreported", "ablations", 0, words)


_CHECKS: tuple[Callable[[Document], Iterator[LintFinding]], ...] = (
    _of_sentences, _placeholders, _repeated, _figures, _unreported,
)  # fmt: skip
