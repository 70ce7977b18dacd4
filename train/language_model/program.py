"""Source processing before a run: write a program in its normal form, and bound the data in it.

A candidate can read its own file (``__file__``, ``inspect.getsource``, the columns of its code objects). So a sandbox
gets the normal form: the syntax tree without comments and docstrings, written out by Python. White space, line breaks,
quotes, the spelling of numbers and a line that declares another encoding carry nothing into a run. A map of lines turns
the line numbers of tracebacks back into those of the source.

The rest is measured: no check can decode every hiding place, but memorised text must be somewhere in the tree.
``carried_bytes`` bounds how much of it literals, names and long sequences hold, ``compressed_bytes`` all of it.
"""

from __future__ import annotations

import ast
import re
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from types import EllipsisType

from prepare import syntax

_NUMBER_BITS = 4096  # Python refuses to print numbers of more than 4,300 digits
_SEQUENCE = 16
"""Names and constants next to each other that count as data. Single ones are what any program consists of."""


class AmbiguousSource(Exception):
    """A source that cannot be written in its normal form, or whose data cannot be measured; the message says why."""


@dataclass(frozen=True)
class NormalForm:
    """What a sandbox gets of one source file."""

    text: str
    tree: ast.Module
    """Syntax tree of the text."""
    lines: Mapping[int, int]
    """Line of the text -> line of the source, for lines on which a statement or an expression begins."""

    def in_source(self, path: str, log: str) -> str:
        """Return output in which line numbers of the file ``path`` are those of its source.

        Recognised are ``.../candidate/PATH", line N`` (tracebacks) and ``.../candidate/PATH:N:`` (warnings).
        """

        def line(match: re.Match[str]) -> str:
            return f"{match[1]}{self.lines.get(int(match[2]), match[2])}"

        return re.sub(rf'(/candidate/{re.escape(path)}(?:", line |:))([0-9]{{1,6}})', line, log)


def parse(text: str) -> ast.Module:
    """Return the syntax tree. Raises AmbiguousSource with the parser's message."""
    try:
        return syntax.parse(text)
    except syntax.PARSE_ERRORS as error:
        raise AmbiguousSource(f"does not parse: {error}") from error


def normal_form(source: str) -> NormalForm:
    """Write a source in its normal form. Raises AmbiguousSource."""
    tree = parse(source.removeprefix("\ufeff").replace("\r\n", "\n").replace("\r", "\n"))
    if any(isinstance(value, int) and value.bit_length() > _NUMBER_BITS for value in literals(tree)):
        raise AmbiguousSource(f"holds a whole number of more than {_NUMBER_BITS:,} bits")
    _strip(tree)
    try:
        text = ast.unparse(tree) + "\n"
        written = parse(text)
        same = ast.dump(tree) == ast.dump(_strip(written))
    except (ValueError, RecursionError) as error:
        raise AmbiguousSource(f"cannot be written in its normal form: {error}; write it in a plainer way") from error
    if not same:
        raise AmbiguousSource("means something else in its normal form; write it in a plainer way")
    lines: dict[int, int] = {}
    for one, other in zip(ast.walk(tree), ast.walk(written), strict=True):
        if isinstance(other, ast.stmt | ast.expr):
            lines.setdefault(other.lineno, one.lineno)  # type: ignore[attr-defined]
    return NormalForm(text, written, lines)


def _strip(tree: ast.Module) -> ast.Module:
    """Empty docstrings and other statements that are single strings, and drop the prefix u; return the changed tree.

    An empty string is still needed where a docstring is all of a body, or stands before ``from __future__`` imports.
    """
    for node in ast.walk(tree):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str):
            node.value.value = ""
        if isinstance(node, ast.Constant):
            node.kind = None
    return tree


def literals(tree: ast.Module) -> Iterator[str | bytes | int | float | complex]:
    """Yield literal values in source order, including parts of f-strings; not True, False, None and Ellipsis."""
    constants = [node for node in ast.walk(tree) if isinstance(node, ast.Constant)]
    for node in sorted(constants, key=lambda node: (node.lineno, node.col_offset)):
        if not isinstance(node.value, bool) and isinstance(node.value, str | bytes | int | float | complex):
            yield node.value


def names(tree: ast.Module) -> list[str]:
    """Return every name that the program uses, once, in the order of first use."""
    found: dict[str, None] = {}
    for node in ast.walk(tree):
        for field in ("id", "attr", "arg", "name", "asname", "module"):
            if isinstance(name := getattr(node, field, None), str):
                found[name] = None
    return list(found)


def carried_bytes(tree: ast.Module) -> int:
    """Return how many bytes of data literals (in their order), names and long sequences can carry: compressed by zlib.

    A text needs a quarter to a half of its length in a good encoding. A better encoding than zlib's is bounded too,
    since well-encoded data does not compress further.
    """
    values = [*_literals_and_names(tree), *_sequences(tree)]
    parts = [value if isinstance(value, bytes) else str(value).encode("utf-8", "replace") for value in values]
    return len(zlib.compress(b"\n".join(parts), 9))


def compressed_bytes(text: str) -> int:
    """Return how many bytes of data a normal form can carry in any way, code included: its size compressed by zlib."""
    return len(zlib.compress(text.encode(), 9))


def _literals_and_names(tree: ast.Module) -> Iterator[str | bytes]:
    for value in literals(tree):
        yield value if isinstance(value, str | bytes) else repr(value)
    yield from names(tree)


def _sequences(tree: ast.Module) -> Iterator[str]:
    """Yield the names, True, False, None and empty displays of long lists, argument lists and chains of operators.

    One of 64 names in a row says 6 bits, which the names themselves, each counted once, do not.
    """
    for node in ast.walk(tree):
        for _, value in ast.iter_fields(node):
            if isinstance(value, list):
                words = [word for item in value if (word := _word(item)) is not None]
                if len(words) >= _SEQUENCE:
                    yield " ".join(words)


def _word(item: object) -> str | None:
    """Return a name, an attribute's name, a keyword constant or an empty display as text; None for anything else."""
    if isinstance(item, ast.Name):
        return item.id
    if isinstance(item, ast.Attribute):
        return item.attr
    if isinstance(item, ast.Constant):
        return repr(item.value) if item.value is None or isinstance(item.value, bool | EllipsisType) else None
    empty = not getattr(item, "elts", getattr(item, "keys", True))
    return type(item).__name__ if isinstance(item, ast.cmpop) or empty else None
