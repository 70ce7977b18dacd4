"""The folder of a paper: sections, numbers, figures, LaTeX, HTML and, where pdfLaTeX is there, the PDF.

DIR/STUDY-1/           each attempt is a new folder; nothing is written over
  sections/*.tex       the text, which may be edited: --draft DIR/STUDY-1 builds the next attempt from it
  numbers.json         key -> value as printed, and the query behind it
  figures/             PDF, PNG, and the rows as CSV
  paper.tex  paper.html  paper.pdf
  findings.txt         what is wrong, empty if nothing is
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from archive.errors import ArchiveError
from archive.paper import prose
from archive.paper.document import Document
from archive.paper.floats import draw
from archive.paper.lint import LintFinding, lint, page_limit
from archive.paper.numbers import Study
from prepare.output import printable

LATEX = "pdflatex"
_SECONDS = 120.0
_LARGEST_TEXT, _LARGEST_FILE = 800_000, 20_000_000
"""Bytes of a text and of a picture or PDF of a paper from elsewhere."""


class PaperError(ArchiveError):
    """A folder that is no paper, or cannot be written."""


@dataclass(frozen=True)
class Built:
    """An attempt."""

    folder: Path
    findings: tuple[LintFinding, ...]
    pdf: Path | None
    note: str
    """Why there is no PDF; empty if there is one."""

    def facts(self) -> dict[str, Any]:
        """Return plain JSON values."""
        page = self.folder / "paper.html"
        html, pdf = str(page) if page.is_file() else None, None if self.pdf is None else str(self.pdf)
        return {
            "folder": str(self.folder), "html": html, "pdf": pdf, "note": self.note,
            "findings": [asdict(finding) for finding in self.findings],
        }  # fmt: skip


def build(study: Study, sections: Mapping[str, str], out: Path, pages: int) -> Built:
    """Write an attempt. With findings there is neither LaTeX nor PDF. Raises PaperError."""
    document = Document(study, sections)
    found = lint(document)
    folder = _new_folder(out, study.name)
    _write_sections(folder, sections)
    if not found:
        _write(folder, document, pages)
    pdf, note = (None, "") if found else typeset(folder)
    if pdf is not None:
        found += page_limit(_pages(folder), pages)
    (folder / "findings.txt").write_text("".join(f"{each.code}: {each}\n" for each in found), encoding="utf-8")
    folder = _published(folder, out, study.name)
    return Built(folder, tuple(found), None if pdf is None else folder / pdf.name, note)


def next_attempt(out: Path, study: str) -> int:
    """Return the number of the next attempt in a folder, from 1."""
    names = [each.name for each in out.iterdir()] if out.is_dir() else []
    made = (re.fullmatch(rf"{re.escape(study)}-(\d+)", name) for name in names)
    return 1 + max((int(match[1]) for match in made if match), default=0)


def _new_folder(out: Path, study: str) -> Path:
    """Make the folder in which an attempt is built; a killed command leaves it. Raises PaperError."""
    try:
        out.mkdir(parents=True, exist_ok=True)
        folder = Path(tempfile.mkdtemp(prefix=f".{study}-", dir=out))
        folder.chmod(0o755)
        (folder / "sections").mkdir()
        (folder / "figures").mkdir()
    except OSError as error:
        raise PaperError(f"no folder for the paper can be made in {out}: {error}") from error
    return folder


def _published(folder: Path, out: Path, study: str) -> Path:
    """Give a complete attempt its name, so that a killed command leaves no attempt that is half there."""
    while True:
        target = out / f"{study}-{next_attempt(out, study)}"
        try:
            return folder.rename(target)
        except OSError as error:
            if not target.exists():  # otherwise another command was faster
                raise PaperError(f"the paper in {folder} cannot be named {target}: {error}") from error


def _write_sections(folder: Path, sections: Mapping[str, str]) -> None:
    for name, body in sections.items():
        if name in prose.TITLES:
            (folder / "sections" / f"{name}.tex").write_text(body, encoding="utf-8")


def _write(folder: Path, document: Document, pages: int) -> None:
    study = document.study
    facts = {"study": study.name, "digest": study.registered.digest, "pages": pages}
    (folder / "paper.json").write_text(json.dumps(facts, indent=1), encoding="utf-8")
    (folder / "numbers.json").write_text(numbers_of(document), encoding="utf-8")
    for name in document.figures:
        draw(name, study, folder / "figures")
    (folder / "paper.tex").write_text(document.latex(), encoding="utf-8")
    (folder / "paper.html").write_text(document.html(), encoding="utf-8")


def numbers_of(document: Document) -> str:
    """Return key -> value as printed and the query behind it, as JSON."""
    values = document.values().items()
    return json.dumps({key: {"value": value, "sql": document.study.sql(key)} for key, value in values}, indent=1)


def read_sections(folder: Path) -> dict[str, str]:
    """Return the text of the sections of an attempt, in order. Raises PaperError."""
    found: dict[str, str] = {}
    for name in prose.TITLES:
        path = folder / "sections" / f"{name}.tex"
        found[name] = read_text(path, folder).replace("\r\n", "\n") if path.is_file() else ""
    if not any(found.values()):
        raise PaperError(f"{folder} is no paper: expected sections/abstract.tex and others in it")
    return found


def read_text(path: Path, folder: Path) -> str:
    """Return the text of a file of a paper that may come from elsewhere. Raises PaperError for one outside of it."""
    try:
        return read_bytes(path, folder, _LARGEST_TEXT).decode()
    except UnicodeDecodeError as error:
        raise PaperError(f"{path} cannot be read: {error}") from error


def read_bytes(path: Path, folder: Path, most: int = _LARGEST_FILE) -> bytes:
    """Return a file of a paper that may come from elsewhere. Raises PaperError for one outside of it, or too large."""
    try:
        if not path.resolve().is_relative_to(folder.resolve()) or path.stat().st_size > most:
            raise PaperError(f"{path} lies outside of the paper or is larger than {most:,} bytes; it is not read")
        return path.read_bytes()
    except OSError as error:
        raise PaperError(f"{path} cannot be read: {error}") from error


# ---------------------------------------------------------------- PDF


def has_latex() -> bool:
    """Return whether pdfLaTeX is here."""
    return shutil.which(LATEX) is not None


def typeset_again(folder: Path, document: Document) -> bytes | None:
    """Return the PDF of a paper, made of the archive and the figures of ``folder``; None if pdfLaTeX is not here.

    Raises PaperError if pdfLaTeX fails.
    """
    if not has_latex():
        return None
    with tempfile.TemporaryDirectory(prefix="treewright-") as scratch:
        target = Path(scratch)
        (target / "figures").mkdir()
        (target / "paper.tex").write_text(document.latex(), encoding="utf-8")
        for name in document.figures:
            (target / "figures" / f"{name}.pdf").write_bytes(read_bytes(folder / "figures" / f"{name}.pdf", folder))
        pdf, note = typeset(target)
        if pdf is None:
            raise PaperError(f"the PDF cannot be made again: {note}")
        return pdf.read_bytes()


def typeset(folder: Path) -> tuple[Path | None, str]:
    """Run pdfLaTeX twice, for references. Return the PDF, or why there is none. Equal files give equal PDFs."""
    if (program := shutil.which(LATEX)) is None:
        return (
            None,
            f"there is no {LATEX} (Debian: apt-get install texlive-latex-base); paper.tex and paper.html are complete, "
            "and their pages were not counted",
        )
    words = [program, "-interaction=nonstopmode", "-halt-on-error", "-no-shell-escape", "paper.tex"]
    surroundings = {
        **os.environ,
        "openin_any": "p",
        "openout_any": "p",
        "SOURCE_DATE_EPOCH": "0",
        "FORCE_SOURCE_DATE": "1",
    }
    for _ in range(2):
        try:
            done = subprocess.run(
                words,
                cwd=folder,
                env=surroundings,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                timeout=_SECONDS,
                check=False,
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            return None, f"{LATEX} did not end: {error}; paper.tex and paper.html are complete"
        if done.returncode != 0:
            return None, f"{LATEX} failed: {_complaint(folder)}; paper.html is complete"
    return folder / "paper.pdf", ""


def _log(folder: Path) -> str:
    path = folder / "paper.log"
    return path.read_text(encoding="utf-8", errors="replace") if path.is_file() else ""


def _complaint(folder: Path) -> str:
    lines = [line for line in _log(folder).splitlines() if line.startswith(("!", "l."))]
    return printable(" ".join(lines)[:300]) or "see paper.log"


def _pages(folder: Path) -> int:
    found = re.search(r"Output written on paper\.pdf \((\d+) page", _log(folder).replace("\n", ""))
    return int(found[1]) if found else 0
