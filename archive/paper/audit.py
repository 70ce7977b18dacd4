"""Whether a paper says what the archive says: made again from its sections and the archive, and compared.

The paper and the archive may come from elsewhere. Nothing of the paper is executed: no query, no LaTeX, no path of it.
"""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from archive.paper.build import PaperError, read_sections, read_text
from archive.paper.deviations import deviations
from archive.paper.document import Document
from archive.paper.floats import as_csv
from archive.paper.lint import lint
from archive.paper.numbers import Study
from archive.query.query import Reader

Code = Literal["text", "number", "figure", "html", "latex", "plan", "settings", "run", "leak"]
_DEFINITION = re.compile(r"\\twdef\{([^{}]*)\}\{(.*)\}")


@dataclass(frozen=True)
class Fault:
    """One thing in which paper and archive disagree."""

    code: Code
    words: str
    detail: str = ""
    """Of a fault of the text: the code of what ``archive.paper.lint`` found."""

    def __str__(self) -> str:
        return f"{self.code}{f' ({self.detail})' if self.detail else ''}: {self.words}"


def audit(folder: Path, reader: Reader) -> list[Fault]:
    """Return all faults; none for a paper that is as the archive has it. Raises PaperError for no paper at all."""
    facts = facts_of(folder)
    study = Study.of(reader, facts["study"])
    document = Document(study, read_sections(folder))
    found = [*_of_the_plan(facts, study), *(Fault("text", str(each), each.code) for each in lint(document))]
    if any(fault.code == "text" for fault in found):
        return found
    return [*found, *_latex(folder, document), *_html(folder, document), *_figures(folder, document)]


def facts_of(folder: Path) -> dict[str, str]:
    """Return the name of a paper's study and the digest of its plan. Raises PaperError."""
    try:
        facts = json.loads(read_text(folder / "paper.json", folder))
    except ValueError as error:
        raise PaperError(f"{folder / 'paper.json'} is not JSON: {error}") from error
    if not isinstance(facts, dict) or not all(isinstance(facts.get(name), str) for name in ("study", "digest")):
        raise PaperError(f"{folder / 'paper.json'} does not name a study and the digest of its plan")
    return facts


def _of_the_plan(facts: dict[str, str], study: Study) -> Iterator[Fault]:
    """Settings and runs: deviations of these kinds cannot be repaired by listing them."""
    if facts["digest"] != study.registered.digest:
        yield Fault(
            "plan", f"the paper is on the plan {facts['digest'][:16]}; the archive has {study.registered.digest[:16]}"
        )
    for each in deviations(study.reader, study.name):
        if each.code in ("plan", "order"):
            yield Fault("plan", each.words)
        elif each.code in ("settings", "baseline", "seed"):
            yield Fault("settings", each.words)
        elif each.code == "missing":
            yield Fault("run", each.words)
        elif each.code == "leak":
            yield Fault("leak", each.words)


def _latex(folder: Path, document: Document) -> Iterator[Fault]:
    ours, theirs = document.latex().splitlines(), read_text(folder / "paper.tex", folder).splitlines()
    values = {match[1]: match[2] for line in ours if (match := _DEFINITION.fullmatch(line))}
    wrong = set()
    for number, line in enumerate(theirs, 1):
        match = _DEFINITION.fullmatch(line)
        if match is not None and values.get(match[1]) != match[2]:
            wrong.add(line)
            there = values.get(match[1], "no such number")
            yield Fault("number", f"paper.tex line {number}: {match[1]} is {match[2]}; the archive says {there}")
    rest = [line for line in theirs if line not in wrong]
    if (other := _first_difference([line for line in ours if not _defines(line, wrong)], rest)) is not None:
        yield Fault("latex", f"paper.tex is not what its sections and the archive give: {other}")


def _defines(line: str, wrong: set[str]) -> bool:
    """Return whether a line defines a number that was found wrong already."""
    keys = {match[1] for each in wrong if (match := _DEFINITION.fullmatch(each))}
    match = _DEFINITION.fullmatch(line)
    return match is not None and match[1] in keys


def _first_difference(ours: list[str], theirs: list[str]) -> str | None:
    """Return the first line of ``theirs`` that differs, with what it should be."""
    for line in difflib.unified_diff(ours, theirs, lineterm="", n=0):
        if line[:1] in "+-" and line[:3] not in ("+++", "---"):
            return f"{'expected' if line[0] == '-' else 'found'} {line[1:121]!r}"
    return None


def _html(folder: Path, document: Document) -> Iterator[Fault]:
    theirs = read_text(folder / "paper.html", folder)
    if (other := _first_difference(document.html().splitlines(), theirs.splitlines())) is not None:
        yield Fault("html", f"paper.html is not what its sections and the archive give: {other}")


def _figures(folder: Path, document: Document) -> Iterator[Fault]:
    for name in document.figures:
        path = folder / "figures" / f"{name}.csv"
        missing = [kind for kind in ("pdf", "png", "csv") if not (folder / "figures" / f"{name}.{kind}").is_file()]
        if missing:
            yield Fault("figure", f"the figure {name} has no .{missing[0]}")
        elif read_text(path, folder) != as_csv(name, document.study):
            yield Fault("figure", f"the rows of the figure {name} are not those of the archive")
