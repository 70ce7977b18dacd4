"""A section as its reader sees it: sentences of plain text, with a sign for each number that is a query.

    ⟦gain⟧     where the value of the key ``gain`` is printed
    ⟦cite:x⟧   where the section cites x

What LaTeX joins is joined: ``\\emph{0}.\\emph{93}`` reads ``0.93``.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass

from archive.paper.markup import MarkupToken, tokens, typographic, unescaped

OPEN, CLOSE = "⟦", "⟧"
KEY = re.compile(r"⟦(?!cite:|ref⟧)([^⟦⟧]*)⟧")
CITED = re.compile(r"⟦cite:([^⟦⟧]*)⟧")
_MATHS = {r"\times": "×", r"\cdot": "×", r"\pm": "±", r"\le": "≤", r"\ge": "≥"}
_SHORT = r"(?<!\bal)(?<!\be\.g)(?<!\bi\.e)(?<!\bcf)(?<!\bvs)(?<!\bFig)(?<!\bEq)(?<!\bapprox)(?<!\bresp)"
_END = re.compile(rf"{_SHORT}[.!?][)”’\"']*(?=\s)|\f|\n[ \t]*\n")


@dataclass(frozen=True)
class Sentence:
    """One sentence. ``line``: of its first word, from 1 in its section."""

    section: str
    line: int
    lines: str
    """The sentence with its line breaks."""

    @property
    def text(self) -> str:
        """The sentence with a blank for each line break, so that places are the same."""
        return self.lines.replace("\n", " ")

    @property
    def keys(self) -> list[str]:
        """The keys of its numbers, in order."""
        return KEY.findall(self.text)

    @property
    def cites(self) -> list[str]:
        return [key.strip() for found in CITED.findall(self.text) for key in found.split(",")]

    @property
    def prose(self) -> str:
        """The text with blanks in place of numbers and references."""
        return re.sub(r"⟦[^⟦⟧]*⟧", lambda match: " " * len(match[0]), self.text)

    @property
    def words(self) -> frozenset[str]:
        """Its words in lower case and without the ``s`` of a plural; what stands for a number is no word."""
        return frozenset(map(stem, re.findall(r"[^\W\d_]+", self.prose)))

    def line_at(self, place: int) -> int:
        """Return the line of a place in the text."""
        return self.line + self.lines[:place].count("\n")


def stem(word: str) -> str:
    """Return a word in lower case, without the ``s`` of a plural."""
    word = word.lower()
    return word[:-1] if len(word) > 3 and word.endswith("s") and not word.endswith("ss") else word


def sentences(name: str, body: str) -> Iterator[Sentence]:
    """Yield the sentences of a section. Raises MarkupError."""
    text, line = unicodedata.normalize("NFKC", "".join(map(_read, tokens(body)))), 1
    text = re.sub(r"[ \t]+", " ", re.sub(r"[ \t]*\n[ \t]*", "\n", text))
    for part in _parts(text):
        blank = len(part) - len(part.lstrip())
        if part.strip():
            yield Sentence(name, line + part[:blank].count("\n"), part.strip())
        line += part.count("\n")


def _parts(text: str) -> Iterator[str]:
    place = 0
    for match in _END.finditer(text):
        yield text[place : match.end()]
        place = match.end()
    yield text[place:]


def _read(token: MarkupToken) -> str:
    if token.kind == "tw":
        return f"{OPEN}{token.text}{CLOSE}"
    if token.kind in ("cite", "ref"):
        return f"{OPEN}cite:{token.text}{CLOSE}" if token.kind == "cite" else f"{OPEN}ref{CLOSE}"
    if token.kind in ("twfigure", "twtable"):
        return "\f"
    if token.kind == "space":
        return " " if token.text == "~" else token.text
    if token.kind == "math":
        return _formula(token.text)
    return unescaped(token.text) if token.kind == "escaped" else typographic(unescaped(token.text))


def _formula(text: str) -> str:
    """Return a formula as it is printed: without blanks between digits."""
    text = re.sub(r"\\[a-z]+", lambda match: _MATHS.get(match[0], match[0][1:]), text)
    text = re.sub(r"([_^])\{([^{}]*)\}", r"\1\2 ", text)
    return re.sub(r"(?<=[\d.,])\s+(?=[\d.,])", "", text)
