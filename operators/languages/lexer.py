"""Comments, strings and words of a text, by one regular expression for each family of languages.

This is no parser. Where a text could be read in two ways (a quote without its end, a here-document, a command within a
string) ``tokens`` returns every word and every blank instead, so that two different programs are never taken for one.
Time is linear in the length of the text, whatever a candidate writes.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

_OPERATORS = r"<<=|>>=|\.\.\.|->|<-|\+\+|--|&&|\|\||[-+*/%&|^!=<>:?]=|<<|>>|::|:-|\.\.|=>|##"
_PLAIN = re.compile(r"\s+|\S+")

DOUBLE = r'"(?:\\[\s\S]|[^"\\\n])*+"'
SINGLE = r"'(?:\\[\s\S]|[^'\\\n])*+'"
CHARACTER = r"'(?:\\[^\n]{1,10}?|[^\\'\n])'"
"""One character: other single quotes are lifetimes (Rust) or operators (Julia)."""
SLASHES = r"//[^\n]*+|/\*[\s\S]*?(?:\*/|\Z)"
HASH = r"(?:(?<=[\s;])|(?<![\s\S]))#(?!!)[^\n]*+"
DASHES = r"--[^\n]*+"


@dataclass(frozen=True)
class Token:
    """The characters [start, end) of a text."""

    kind: Literal["comment", "string", "newline", "space", "word", "open", "mark"]
    start: int
    end: int


@dataclass(frozen=True, eq=False)
class Lexicon:
    """How texts of a language are split.

    ``layout``: whether lines and blanks count: ``free`` neither, ``lines`` line ends, ``indented`` both, ``exact``
    every character, since comments cannot be told from code without a parser.
    """

    comment: str
    strings: str
    layout: Literal["free", "lines", "indented", "exact"] = "free"
    directives: bool = False
    """Whether lines that begin with ``#`` are directives, whose end and blanks count."""
    unsure: str = r"(?!)"
    """Pattern of what makes a text ambiguous."""

    @cached_property
    def _pattern(self) -> re.Pattern[str]:
        return re.compile(
            rf"(?P<comment>{self.comment})|(?P<string>{self.strings})|(?P<newline>\n)|(?P<space>(?:[^\S\n]|\\\r?\n)++)"
            rf"|(?P<word>\.?\d(?:[\w.]|(?<=[eE])[+-])*+|\w++)|(?P<open>[\"'`])|(?P<mark>{_OPERATORS}|[\s\S])"
        )

    @cached_property
    def _unsure(self) -> re.Pattern[str]:
        return re.compile(self.unsure)

    def scan(self, text: str) -> Iterator[Token]:
        """Yield all tokens in order; together they are the text."""
        for found in self._pattern.finditer(text):
            yield Token(found.lastgroup, found.start(), found.end())  # type: ignore[arg-type]

    def tokens(self, text: str) -> tuple[str, ...]:
        """Return what counts of a text: without comments and layout where that is certain."""
        if self.layout == "exact" or self._unsure.search(text):
            return plain_tokens(text)
        found: list[str] = []
        line: list[str] = []
        for token in self.scan(text):
            written = text[token.start : token.end]
            if token.kind == "open" and not self._is_operator(written):
                return plain_tokens(text)
            if token.kind == "newline" or (token.kind == "comment" and self.layout == "lines" and "\n" in written):
                found += self._counted(line)
                line.clear()
            else:
                line.append(written if token.kind != "comment" else " ")
        return (*found, *self._counted(line))

    def _is_operator(self, quote: str) -> bool:
        return quote == "'" and self.strings.endswith(CHARACTER)

    def _counted(self, line: Sequence[str]) -> list[str]:
        """Return what counts of the tokens of one line; nothing of a blank one."""
        words = [token for token in line if token.strip()]
        if not words:
            return []
        if self.directives and words[0] == "#":
            return ["\n", *_spaced(line), "\n"]
        if self.layout == "indented":
            return [*([] if line[0].strip() else [line[0]]), *_spaced(line), "\n"]
        return words if self.layout == "free" else [*words, "\n"]


def _spaced(line: Sequence[str]) -> list[str]:
    """Return the tokens with one space for blanks between them, and none at the ends."""
    found: list[str] = []
    for token in line:
        if token.strip() and token != "\\\n":
            found.append(token)
        elif found and found[-1] != " ":
            found.append(" ")
    return found[:-1] if found and found[-1] == " " else found


def plain_tokens(text: str) -> tuple[str, ...]:
    """Return the words, and all blanks but single spaces between words: the text can be rebuilt from them."""
    found = _PLAIN.findall(text)
    last = len(found) - 1
    return tuple(token for at, token in enumerate(found) if token != " " or at in (0, last))
