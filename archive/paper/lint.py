"""What is wrong with a paper, as a list: numbers that are not bound, claims that the intervals do not bear, and form.

A finding has a code, the section and line where it stands, and words. An empty list lets the paper be built.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Literal

from archive.paper.document import Document
from archive.paper.floats import ABLATED, FIGURES, TABLES
from archive.paper.markup import MarkupError, tokens
from archive.paper.numbers import DEVIATIONS, Study, UnknownNumber
from archive.paper.prose import TITLES

Code = Literal[
    "markup",
    "unbound",
    "end",
    "unknown",
    "placeholder",
    "section",
    "repeated",
    "figure",
    "citation",
    "claim",
    "unreported",
    "pages",
]
BOUND = ("abstract", "results", "ablations")
"""Sections in which every number is bound or a setting. In others it may stand in the seed or beside a citation."""
_NUMBER = re.compile(r"(?<![\w.])(?<!\w-)\d+(?:[.,]\d+)*(?:[eE][-+]?\d+)?(?![\w])")
_PLACEHOLDERS = re.compile(
    r"\b(?:todo|tbd|fixme|xxx+|lorem ipsum)\b|\?\?|\bhere\s*\]|\[\s*(?:insert|citation|figure|your)\b|"
    r"\b(?:conclusions?|results|abstract|text)\s+(?:go(?:es)?\s+)?here\b",
    re.IGNORECASE,
)
_IMPROVES = re.compile(
    r"\b(?:improv\w+|outperform\w*|better than|superior|beats?|significant\w*|is supported|confirms?|proves?)\b",
    re.IGNORECASE,
)
_DENIES = re.compile(r"\b(?:no|not|nor|neither|never|cannot|without|if|whether|counts as)\b", re.IGNORECASE)
_KEYS = re.compile(r"\\(?:tw|ref|twfigure|twtable)\{[^{}]*\}")
_BOUNDS = re.compile(r"\b(?:ends?|bounds?|limits?|lower|upper|least|most)\b", re.IGNORECASE)
_LONGEST_REPEAT = 60
_SEED_FILES = """
SELECT DISTINCT s.text FROM study_runs AS r JOIN nodes AS n USING (run) JOIN files AS f USING (node_id)
JOIN sources AS s USING (sha) WHERE r.study = ? AND n.operator = 'seed'
"""


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


# ---------------------------------------------------------------- numbers


def _unbound(document: Document) -> Iterator[LintFinding]:
    allowed = settings(document.study.registered.plan)
    known = allowed | _numbers_of_seed(document.study)
    for name, body in document.sections.items():
        free = name not in BOUND
        for first, sentence in _sentences(_KEYS.sub("", body)):
            if free and "\\cite{" in sentence:
                continue  # the numbers of somebody else's paper
            for line, literal in _literals(first, sentence):
                if literal not in (known if free else allowed):
                    words = f"{literal} is neither bound to a query (\\tw) nor a setting of the registered plan"
                    rest = ", stands in no seed program, and its sentence cites nothing" if free else ""
                    yield LintFinding("unbound", name, line, words + rest)


def _literals(first: int, sentence: str) -> Iterator[tuple[int, str]]:
    """Yield the line and the text of each number. ``first``: the line of the first word."""
    sentence = sentence.lstrip()
    for match in _NUMBER.finditer(sentence):
        yield first + sentence[: match.start()].count("\n"), match[0].replace(",", "")


def _numbers_of_seed(study: Study) -> set[str]:
    """Return the numbers in the files of the seed program, which a description of the method may name."""
    texts = study.reader.query(_SEED_FILES, [study.name]).rows
    return {match[0] for (text,) in texts for match in _NUMBER.finditer(text)}


def _ends(document: Document) -> Iterator[LintFinding]:
    """Ends of intervals that stand without the other end, and are not called a bound."""
    for name, body in document.sections.items():
        for line, sentence in _sentences(body):
            ends = Counter(re.findall(r"\\tw\{([\w.]+)\.(low|high)((?:@[^{}]*)?)\}", sentence))
            for (quantity, end, place), count in ends.items():
                other = "high" if end == "low" else "low"
                if count > ends[(quantity, other, place)] and not _BOUNDS.search(sentence):
                    words = (
                        f"{quantity}.{end}{place} is an end of an interval and stands alone, or in place of the number"
                    )
                    yield LintFinding("end", name, line, words)


def settings(plan: Any) -> set[str]:
    """Return the numbers of a registered plan as they may be written, those in its texts too."""
    if isinstance(plan, dict):
        return set().union(*(settings(value) for name, value in plan.items() if name not in ("baseline", "digest")))
    if isinstance(plan, list):
        return set().union(*map(settings, plan))
    if isinstance(plan, str):
        return {match[0] for match in _NUMBER.finditer(plan)}
    if isinstance(plan, bool) or not isinstance(plan, int | float):
        return set()
    return {f"{plan:g}", str(plan), *({f"{100 * plan:g}"} if 0 < plan < 1 else ())}


# ---------------------------------------------------------------- claims


def _claims(document: Document) -> Iterator[LintFinding]:
    """Sentences that claim an improvement though the interval of the mean gain, or of their own, is not above zero."""
    study = document.study
    whole = _is_unsure(study.interval("gain"))
    for name in ("abstract", "results", "ablations"):
        for line, sentence in _sentences(document.sections[name]):
            if not _IMPROVES.search(sentence) or _DENIES.search(sentence):
                continue
            own = [key for key in re.findall(r"\\tw\{((?:claim\.gain|loss|gain)(?:@[^{}]*)?)\}", sentence)]
            unsure = [key for key in own if _is_unsure(study.interval(key))] or ([] if own or not whole else ["gain"])
            if unsure:
                yield LintFinding(
                    "claim", name, line, f"claims an improvement, and the interval of {unsure[0]} is not above zero"
                )


def _is_unsure(interval: tuple[float, float] | None) -> bool:
    return interval is None or interval[0] <= 0


def _sentences(body: str) -> Iterator[tuple[int, str]]:
    for match in re.finditer(r"(?:[^.]|\.(?=\S))+(?:\.|$)", body):
        start = match.start() + len(match[0]) - len(match[0].lstrip())
        if match[0].strip():
            yield 1 + body[:start].count("\n"), match[0]


# ---------------------------------------------------------------- form


def _placeholders(document: Document) -> Iterator[LintFinding]:
    for name, body in document.sections.items():
        for match in _PLACEHOLDERS.finditer(body):
            yield LintFinding(
                "placeholder", name, 1 + body[: match.start()].count("\n"), f"{match[0]!r} is a placeholder"
            )


def _repeated(document: Document) -> Iterator[LintFinding]:
    """Paragraphs and long sentences that stand in the paper twice."""
    seen: dict[str, str] = {}
    for name, body in document.sections.items():
        for line, sentence in _sentences(body):
            words = " ".join(sentence.split())
            if len(words) < _LONGEST_REPEAT or "\\emph" in words:
                continue
            if words in seen:
                yield LintFinding("repeated", name, line, f"the sentence stands in {seen[words]} too: {words[:50]!r}")
            seen[words] = name


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
    if "settings" not in document.tables:
        yield LintFinding("unreported", "setup", 0, "the settings are not described; put \\twtable{settings} there")
    if "ablation" not in document.tables and document.study.reader.query(ABLATED, [document.study.name]).rows:
        words = "the ablations that were made are not reported; put \\twtable{ablation} there"
        yield LintFinding("unreported", "ablations", 0, words)


_CHECKS: tuple[Callable[[Document], Iterator[LintFinding]], ...] = (
    _unbound, _ends, _claims, _placeholders, _repeated, _figures, _unreported,
)  # fmt: skip
