"""Whether a paper says what the archive says: made again from its sections and the archive, and compared.

The paper and the archive may come from elsewhere. Nothing of the paper is executed: no query, no LaTeX, no path of it.
"""

from __future__ import annotations

import difflib
import json
import re
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Literal

from archive.paper.build import (
    PaperError,
    has_latex,
    numbers_of,
    read_bytes,
    read_sections,
    read_text,
    typeset_again,
)
from archive.paper.deviations import deviations
from archive.paper.document import Document
from archive.paper.floats import as_csv, draw
from archive.paper.lint import lint
from archive.paper.numbers import Study
from archive.query.query import Reader
from archive.query.verify import verify

Code = Literal[
    "text", "number", "figure", "html", "latex", "pdf", "plan", "settings", "run", "leak", "claim", "archive"
]
_BANNER = re.compile(rb"PTEX\.Fullbanner \(([^)]*)\)?")
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


def audit(folder: Path, reader: Reader, pictures: bool = True) -> list[Fault]:
    """Return all faults; none for a paper that is as the archive has it. Raises PaperError for no paper at all.

    ``pictures``: whether figures and PDF are made again and compared, too, which takes seconds.
    """
    facts = facts_of(folder)
    study = Study.of(reader, facts["study"])
    document = Document(study, read_sections(folder))
    found = [
        *_of_the_archive(reader),
        *_of_the_plan(facts, study),
        *(Fault("text", str(each), each.code) for each in lint(document)),
    ]
    if any(fault.code == "text" for fault in found):
        return found
    found += [*_latex(folder, document), *_html(folder, document), *_numbers(folder, document)]
    found += _rows(folder, document)
    return [*found, *_pictures(folder, document), *_pdf(folder, document)] if pictures else found


def facts_of(folder: Path) -> dict[str, str]:
    """Return the name of a paper's study and the digest of its plan. Raises PaperError."""
    try:
        facts = json.loads(read_text(folder / "paper.json", folder))
    except ValueError as error:
        raise PaperError(f"{folder / 'paper.json'} is not JSON: {error}") from error
    if not isinstance(facts, dict) or not all(isinstance(facts.get(name), str) for name in ("study", "digest")):
        raise PaperError(f"{folder / 'paper.json'} does not name a study and the digest of its plan")
    return facts


def _of_the_archive(reader: Reader) -> Iterator[Fault]:
    """Damage that python -m archive check finds: rows that were taken out, doubled, or do not fit together."""
    for wrong, count, examples in verify(reader).rows:
        yield Fault("archive", f"{count} x {wrong}: {', '.join(map(str, examples))}")


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
        elif each.code in ("leak", "claim"):
            yield Fault("leak" if each.code == "leak" else "claim", each.words)


def _latex(folder: Path, document: Document) -> Iterator[Fault]:
    ours, theirs = document.latex().split("\n"), read_text(folder / "paper.tex", folder).split("\n")
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
    if (other := _first_difference(document.html().split("\n"), theirs.split("\n"))) is not None:
        yield Fault("html", f"paper.html is not what its sections and the archive give: {other}")


def _numbers(folder: Path, document: Document) -> Iterator[Fault]:
    """The list of numbers with their queries, as readers look it up."""
    if read_text(folder / "numbers.json", folder) != numbers_of(document):
        yield Fault("number", "numbers.json is not the list of numbers and queries that the archive gives")


def _rows(folder: Path, document: Document) -> Iterator[Fault]:
    for name in document.figures:
        missing = [kind for kind in ("pdf", "png", "csv") if not (folder / "figures" / f"{name}.{kind}").is_file()]
        if missing:
            yield Fault("figure", f"the figure {name} has no .{missing[0]}")
        elif read_text(folder / "figures" / f"{name}.csv", folder) != as_csv(name, document.study):
            yield Fault("figure", f"the rows of the figure {name} are not those of the archive")


def _pictures(folder: Path, document: Document) -> Iterator[Fault]:
    """Pictures that differ from what is drawn again: the PNG in its dots, the PDF in its bytes."""
    with tempfile.TemporaryDirectory(prefix="treewright-") as scratch:
        for name in document.figures:
            draw(name, document.study, Path(scratch))
            for kind, same in (("pdf", bytes.__eq__), ("png", _same_dots)):
                path = folder / "figures" / f"{name}.{kind}"
                if path.is_file():
                    theirs = read_bytes(path, folder)
                    if not same(theirs, (Path(scratch) / path.name).read_bytes()):
                        words = f"figures/{path.name} is not the picture of its rows{_other_matplotlib(theirs)}"
                        yield Fault("figure", words)


def _same_dots(theirs: bytes, ours: bytes) -> bool:
    """Return whether two PNG files show the same picture."""
    from PIL import Image

    try:
        pictures = [Image.open(BytesIO(each), formats=["PNG"]) for each in (theirs, ours)]
        return pictures[0].size == pictures[1].size and pictures[0].tobytes() == pictures[1].tobytes()
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
        return False


def _other_matplotlib(picture: bytes) -> str:
    """Return a hint where another version of the library has drawn a picture."""
    import matplotlib

    found = re.search(rb"[Mm]atplotlib(?: version| pdf backend v| v)?\s?(\d[\w.]*)", picture)
    if found is None or found[1].decode() == matplotlib.__version__:
        return ""
    theirs, ours = found[1].decode(), matplotlib.__version__
    return f" (drawn by matplotlib {theirs}, and here is {ours}: pictures of two versions cannot be compared)"


def _pdf(folder: Path, document: Document) -> Iterator[Fault]:
    """The PDF, where there is one and pdfLaTeX is here: typeset again and compared."""
    path = folder / "paper.pdf"
    if path.exists() and (again := typeset_again(folder, document)) is not None:
        theirs = read_bytes(path, folder)
        if theirs != again:
            yield Fault("pdf", f"paper.pdf is not what paper.tex gives{_other_tex(theirs, again)}")


def _other_tex(theirs: bytes, ours: bytes) -> str:
    """Return a hint where another pdfLaTeX has typeset the PDF."""
    banners = [found[1].decode("latin-1") if (found := _BANNER.search(each)) else "unknown" for each in (theirs, ours)]
    if banners[0] == banners[1]:
        return ""
    return f" (by {banners[0]}, and here is {banners[1]}: PDFs of two versions cannot be compared; build it again)"


def unread_pdf(folder: Path) -> bool:
    """Return whether the paper has a PDF that the audit cannot compare, for want of pdfLaTeX."""
    return (folder / "paper.pdf").exists() and not has_latex()
