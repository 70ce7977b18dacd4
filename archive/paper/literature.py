"""A local store of literature: BibTeX files and JSONL files of abstracts, as documents with titles."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from archive.errors import ArchiveError
from archive.paper.bibliography import BibliographyError, entries

_LONGEST = 20_000


class LiteratureError(ArchiveError):
    """A store of literature that cannot be read."""


@dataclass(frozen=True)
class Publication:
    """A text that an idea is compared with."""

    place: str
    """Where it stands, as a reader is told: a key with the name of its file, a study, an idea."""
    text: str


def read_literature(paths: Sequence[Path]) -> tuple[Publication, ...]:
    """Return the documents of ``.bib`` and ``.jsonl`` files. Raises LiteratureError."""
    return tuple(document for path in paths for document in _documents(path))


def _documents(path: Path) -> Iterator[Publication]:
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise LiteratureError(f"the literature {path} cannot be read: {error}") from error
    if path.suffix == ".bib":
        yield from _of_bibtex(path, text)
    elif path.suffix == ".jsonl":
        yield from _of_jsonl(path, text)
    else:
        raise LiteratureError(f"the literature {path} is neither .bib nor .jsonl; name a file of one of these kinds")


def _of_bibtex(path: Path, text: str) -> Iterator[Publication]:
    try:
        references = entries(text)
    except BibliographyError as error:
        raise LiteratureError(f"{path}: {error}") from error
    for key, each in references.items():
        words = f"{each.fields['title']}. {each.fields.get('abstract', '')} {each.fields.get('keywords', '')}"
        yield Publication(f"{key} in {path.name}: {each.fields['title']}", words[:_LONGEST])


def _of_jsonl(path: Path, text: str) -> Iterator[Publication]:
    for number, line in enumerate(text.split("\n"), 1):
        if line.strip():
            row = _row(line)
            if row is None:
                expected = 'expected an object with "title" and, if there is one, "abstract", both texts'
                raise LiteratureError(f"{path}, line {number}: {expected}")
            title, abstract = row
            yield Publication(f"line {number} of {path.name}: {title}", f"{title}. {abstract}"[:_LONGEST])


def _row(line: str) -> tuple[str, str] | None:
    """Return title and abstract, or None for a line that has not both as texts."""
    try:
        found: Any = json.loads(line)
    except (ValueError, RecursionError):
        return None
    if not isinstance(found, dict):
        return None
    title, abstract = found.get("title"), found.get("abstract", "")
    return (title, abstract) if isinstance(title, str) and title.strip() and isinstance(abstract, str) else None
