"""Literature of an online index: asked with a deadline, kept in a cache, and silent rather than wrong.

A service that does not answer in time, refuses (429), or answers something else is silent: nothing follows from that.
"""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

from archive.paper.literature import Publication
from operators.sanitize import one_line
from prepare.config import SettingsError
from prepare.data.corpora import PreparationError, cache_directory
from prepare.data.download import RetryPolicy, fetch

_LARGEST = 4_000_000
_LONGEST_QUERY = 300
_LONGEST_TEXT = 20_000


@dataclass(frozen=True)
class OnlineIndex:
    """A service with a search by words. ``path``: behind its address, for the words; ``rows``: of its answer."""

    name: str
    address: str
    path: str
    rows: Callable[[Any], Iterator[tuple[object, object]]]
    """The (title, abstract) pairs of an answer. Raises LookupError, TypeError or AttributeError for another form."""


def _openalex(answer: Any) -> Iterator[tuple[object, object]]:
    for row in answer["results"]:
        places = [(n, word) for word, found in (row.get("abstract_inverted_index") or {}).items() for n in found]
        yield row["title"], " ".join(word for _, word in sorted(places))


def _semanticscholar(answer: Any) -> Iterator[tuple[object, object]]:
    for row in answer.get("data", ()) if answer["total"] == 0 else answer["data"]:
        yield row["title"], row.get("abstract") or ""


INDEXES: Mapping[str, OnlineIndex] = {
    each.name: each
    for each in (
        OnlineIndex("openalex", "https://api.openalex.org", "/works?per-page=25&search={words}", _openalex),
        OnlineIndex(
            "semanticscholar",
            "https://api.semanticscholar.org",
            "/graph/v1/paper/search?limit=25&fields=title,abstract&query={words}",
            _semanticscholar,
        ),
    )
}


def index_of(text: str) -> OnlineIndex:
    """Return the index of ``NAME`` or, at another address, ``NAME=http://...``. Raises SettingsError."""
    name, _, address = text.partition("=")
    if name not in INDEXES or (address and not address.startswith(("http://", "https://"))):
        raise SettingsError(f"--online is {text!r}; expected one of {', '.join(INDEXES)}, or NAME=http://ADDRESS")
    known = INDEXES[name]
    return OnlineIndex(name, address.rstrip("/") or known.address, known.path, known.rows)


def found_online(
    index: OnlineIndex, words: str, seconds: float, cache: Path | None = None
) -> tuple[Publication, ...] | None:
    """Return what the index has on some words; None if it is silent for so many seconds, or answers something else.

    An answer is kept in the cache, also one that comes too late for this call.
    """
    url = index.address + index.path.format(words=quote(" ".join(words.split())[:_LONGEST_QUERY]))
    path = (cache or cache_directory()) / "literature" / f"{hashlib.sha256(url.encode()).hexdigest()}.json"
    answers: list[tuple[Publication, ...]] = []
    thread = threading.Thread(target=_ask, args=(index, url, path, seconds, answers), daemon=True)
    thread.start()
    thread.join(seconds)
    return answers[0] if answers else None


def _ask(index: OnlineIndex, url: str, path: Path, seconds: float, answers: list[tuple[Publication, ...]]) -> None:
    """Put the publications of an answer into ``answers``, or nothing."""

    def fault(part: Path) -> str | None:
        return None if _publications(index, part) is not None else f"no answer of {index.name}"

    try:
        fetch(url, path, fault=fault, advance=_refuse_large, retry=RetryPolicy(attempts=1, timeout=seconds))
    except PreparationError:
        return
    if (found := _publications(index, path)) is not None:
        answers.append(found)


def _refuse_large(size: int) -> None:
    if size > _LARGEST:
        raise PreparationError(f"the answer has more than {_LARGEST:,} bytes")


def _publications(index: OnlineIndex, path: Path) -> tuple[Publication, ...] | None:
    """Return the titles and abstracts of a kept answer; None if it is in another form."""
    try:
        rows = list(index.rows(json.loads(path.read_text(encoding="utf-8"))))
    except (OSError, ValueError, RecursionError, LookupError, TypeError, AttributeError):
        return None
    texts = [(title, abstract) for title, abstract in rows if isinstance(title, str) and isinstance(abstract, str)]
    return tuple(
        Publication(f"{index.name}: {one_line(title)}", f"{title}. {abstract}"[:_LONGEST_TEXT])
        for title, abstract in texts
    )
