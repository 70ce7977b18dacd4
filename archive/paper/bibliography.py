"""References: BibTeX entries as data. A paper cites only what its study has registered."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from archive.errors import ArchiveError

SHIPPED = Path(__file__).with_name("references.bib")
_ENTRY = re.compile(r"@(\w+)\s*\{\s*([^,\s{}]+)\s*,")
_FIELD = re.compile(r"\s*(\w+)\s*=\s*")
_NEEDED = ("author", "title", "year")


class BibliographyError(ArchiveError):
    """A bibliography that cannot be read."""


@dataclass(frozen=True)
class Reference:
    """One entry."""

    key: str
    kind: str
    fields: Mapping[str, str]

    @property
    def text(self) -> str:
        """The entry as a reader sees it: authors, title, place, year."""
        authors = self.fields["author"].replace(" and others", " et al.").replace(" and ", ", ")
        place = next(
            (self.fields[name] for name in ("journal", "booktitle", "publisher", "note") if name in self.fields), ""
        )
        return f"{authors.rstrip('.')}. {self.fields['title']}. {place + ', ' if place else ''}{self.fields['year']}."


def entries(text: str) -> dict[str, Reference]:
    """Return the entries of a BibTeX text by their keys. Raises BibliographyError for one that cannot be used."""
    found: dict[str, Reference] = {}
    titles: dict[str, str] = {}
    place = 0
    while (head := _ENTRY.search(text, place)) is not None:
        kind, key = head[1].lower(), head[2]
        if kind in ("comment", "string", "preamble"):
            place = head.end()
            continue
        fields, place = _fields(text, head.end(), key)
        if missing := [name for name in _NEEDED if not fields.get(name)]:
            raise BibliographyError(f"the reference {key} has no {missing[0]}; expected {', '.join(_NEEDED)}")
        if key in found:
            raise BibliographyError(f"the reference {key} is there twice; give one of them another key")
        title = re.sub(r"\W+", "", fields["title"].lower())
        if title in titles:
            raise BibliographyError(f"the references {titles[title]} and {key} have one title; keep one of them")
        titles[title] = key
        found[key] = Reference(key, kind, fields)
    return found


def _fields(text: str, place: int, key: str) -> tuple[dict[str, str], int]:
    """Return the fields of an entry, and where it ends."""
    fields: dict[str, str] = {}
    while (name := _FIELD.match(text, place)) is not None:
        value, place = _value(text, name.end(), key)
        fields[name[1].lower()] = " ".join(value.replace("{", "").replace("}", "").split())
        while place < len(text) and text[place] in ", \t\r\n":
            place += 1
    if text[place : place + 1] != "}":
        raise BibliographyError(f"the reference {key} does not end with a brace after its fields")
    return fields, place + 1


def _value(text: str, place: int, key: str) -> tuple[str, int]:
    """Return a value in braces, in quotes, or a bare word, and where it ends."""
    opening = text[place : place + 1]
    if opening not in ("{", '"'):
        bare = re.compile(r"[\w.-]+").match(text, place)
        if bare is None:
            raise BibliographyError(f"the reference {key} has a field without a value")
        return bare[0], bare.end()
    depth, start = 0, place + 1
    for at in range(place, len(text)):
        depth += {"{": 1, "}": -1}.get(text[at], 0)
        closes = depth == 0 and (text[at] == "}" if opening == "{" else text[at] == '"' and at > place)
        if closes:
            return text[start:at], at + 1
    raise BibliographyError(f"the reference {key} has a value without an end")
