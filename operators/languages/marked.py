"""Parameters of a program in any language: numbers in front of a comment with ``tune:``.

    #define N 8                       // tune: 4|8|16
    const int BLOCK = 64;             /* tune: 8..512 log step 8 */
    threshold: 0.5                    # tune: 0..1

Nothing but closing marks may stand between the number and its comment. The name is what stands before the number; one
that is marked twice in a file has no one value to change, and is no parameter. A new value is written in the style of
the old one: a whole number stays one, suffixes (``0.5f``, ``64UL``) stay.
"""

from __future__ import annotations

import math
import re
from collections import Counter, deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from operators.languages.lexer import Lexicon, Token
from operators.languages.parameters import LARGEST, Number, Parameter

_TUNE = re.compile(r"\btune:\s*(.*)")
_LITERAL = re.compile(r"([-+]?)((?:0|[1-9]\d*(?:_\d+)*)?(\.\d*)?([eE][-+]?\d+)?)(_?[A-Za-z][A-Za-z0-9]{0,4})?")
_FLOAT_SUFFIX = re.compile(r"_?(?:[fFdD]|f32|f64)")
_OTHER_BASE = re.compile(r"[xXbBoO]")
_CLOSING = frozenset(";,)}]")
_SEPARATORS = frozenset({"=", ":", "<-", "{", "(", ":=", "?=", ":-"})
_LONGEST = 400
"""Digits of a number."""
_LAST = 64
"""Tokens of a line that are looked at."""
_JOINED = frozenset({".", "-", "->", "$"})


@dataclass(frozen=True)
class Mark:
    """A comment with ``tune:``, and the number that it belongs to; None if there is none."""

    line: int
    tune: str
    parameter: Parameter | None


def marked_parameters(text: str, lexicon: Lexicon) -> tuple[Parameter, ...]:
    """Return the marked numbers of a text whose name is marked once, in order."""
    found = [mark.parameter for mark in marks(text, lexicon) if mark.parameter is not None]
    times = Counter(parameter.name for parameter in found)
    return tuple(parameter for parameter in found if times[parameter.name] == 1)


def marks(text: str, lexicon: Lexicon) -> Iterator[Mark]:
    """Yield all comments with ``tune:``."""
    if "tune:" not in text:
        return
    line: deque[Token] = deque(maxlen=_LAST)
    number = 1
    for token in lexicon.scan(text):
        if token.kind == "comment" and (said := _TUNE.search(text, token.start, token.end)):
            tune = said[1].removesuffix("*/").strip()
            yield Mark(number, tune, _parameter(text, [one for one in line if one.kind != "space"], tune))
        if "\n" in (written := text[token.start : token.end]):
            number += written.count("\n")
            line.clear()
        elif token.kind != "comment":
            line.append(token)


def _parameter(text: str, line: Sequence[Token], tune: str) -> Parameter | None:
    """Return the number at the end of a line of tokens, if it has a name."""
    words = [text[token.start : token.end] for token in line]
    at = len(line) - 1
    while at >= 0 and words[at] in _CLOSING:
        at -= 1
    if at < 1 or line[at].kind != "word" or (value := number_of(words[at])) is None:
        return None
    start, end = line[at].start, line[at].end
    if words[at - 1] in ("-", "+") and line[at - 1].end == start and _is_sign(line, words, at - 1):
        at -= 1
        start, value = line[at].start, -value if words[at] == "-" else value
    name = _name(line, words, at - 1)
    return Parameter(name, value, *byte_span(text, start, end), tune) if name else None


def byte_span(text: str, start: int, end: int) -> tuple[int, int]:
    """Return the positions in UTF-8 of the characters [start, end)."""
    if text.isascii():
        return start, end
    first = len(text[:start].encode("utf-8", "surrogatepass"))
    return first, first + len(text[start:end].encode("utf-8", "surrogatepass"))


def _is_sign(line: Sequence[Token], words: Sequence[str], at: int) -> bool:
    """Return whether a ``-`` belongs to the number behind it, and is no subtraction."""
    return at > 0 and (
        words[at - 1] in _SEPARATORS or (line[at - 1].kind == "word" and line[at - 1].end < line[at].start)
    )


def _name(line: Sequence[Token], words: Sequence[str], at: int) -> str:
    """Return the name that ends at or before a place: ``N`` of ``const N: usize =``; empty without one."""
    if at >= 0 and words[at] in _SEPARATORS:
        at = words.index(":", 1) - 1 if words[at] == "=" and ":" in words[1:at] else at - 1
    if at < 0 or line[at].kind not in ("word", "string") or words[at][0].isdigit():
        return ""
    if line[at].kind == "string":
        return words[at].strip("\"'`")
    first = at
    while (
        first > 0
        and line[first - 1].end == line[first].start
        and (line[first - 1].kind == "word" or words[first - 1] in _JOINED)
    ):
        first -= 1
    return "".join(words[first : at + 1]).lstrip("-.>$")


def number_of(literal: str) -> Number | None:
    """Return the value of a decimal literal; None for others, and for whole numbers that no float can hold."""
    found = _LITERAL.fullmatch(literal)
    if found is None or not any(map(str.isdigit, found[2])):
        return None
    digits, suffix = found[2].replace("_", ""), found[5] or ""
    if (digits == "0" and _OTHER_BASE.match(suffix)) or len(digits) > _LONGEST:
        return None
    if found[3] or found[4] or _FLOAT_SUFFIX.fullmatch(suffix):
        value = float(found[1] + digits)
        return value if math.isfinite(value) else None
    return int(found[1] + digits) if int(digits) <= LARGEST else None


def literal_like(old: str, value: Number) -> str:
    """Return a value in the style of an old literal."""
    found = _LITERAL.fullmatch(old)
    suffix = (found[5] or "") if found is not None else ""
    whole = isinstance(number_of(old), int)
    if whole and float(value).is_integer():
        return f"{int(value)}{suffix}"
    text = repr(float(value))
    if "e" in text and "." not in text:  # ``1e-05`` is a text in YAML 1.1
        text = text.replace("e", ".0e")
    return text if whole else text + suffix
