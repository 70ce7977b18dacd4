"""Source processing before a run: remove comments and docstrings, and bound the data in literals and names.

Comments and docstrings are blanked before a program runs, with line numbers kept, so they carry no data into a run.
(That includes a line that declares another encoding, in which the file would be another program than the checked one.)
The rest is measured: no check can decode every hiding place, but memorised text must be somewhere in the source, and
``carried_bytes`` bounds how much of it there can be.
"""

from __future__ import annotations

import ast
import io
import tokenize
import zlib
from collections.abc import Iterator

from prepare import syntax

_NUMBER_BITS = 4096  # Python refuses to print numbers of more than 4,300 digits


class AmbiguousSource(Exception):
    """A source from which comments and docstrings cannot be removed reliably; the message says why."""


def parse(text: str) -> ast.Module:
    """Return the syntax tree. Raises AmbiguousSource with the parser's message."""
    try:
        return syntax.parse(text)
    except syntax.PARSE_ERRORS as error:
        raise AmbiguousSource(f"does not parse: {error}") from error


def without_comments(text: str) -> str:
    """Return the program without its comments and docstrings, line numbers kept. Raises AmbiguousSource."""
    text = text.removeprefix("\ufeff").replace("\r\n", "\n").replace("\r", "\n")
    tree = parse(text)
    if any(isinstance(value, int) and value.bit_length() > _NUMBER_BITS for value in literals(tree)):
        raise AmbiguousSource(f"holds a whole number of more than {_NUMBER_BITS:,} bits")
    try:
        blanked = _without_comment_tokens(_without_string_statements(text, tree))
    except (tokenize.TokenError, SyntaxError, ValueError) as error:
        raise AmbiguousSource(f"cannot be read token by token: {error}") from error
    if not _same(tree, parse(blanked)):
        raise AmbiguousSource("means something else without its comments and docstrings; write it in a plainer way")
    return blanked


def _string_statements(tree: ast.Module) -> Iterator[ast.Expr]:
    """Yield statements that are a single string: docstrings, and others without effect."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str):
            yield node


def _without_string_statements(text: str, tree: ast.Module) -> str:
    """Replace each string statement by ``("")`` over as many lines.

    A string is still needed where the docstring stood, before ``from __future__`` imports.
    """
    lines = text.encode().split(b"\n")
    starts = [0]
    for line in lines:
        starts.append(starts[-1] + len(line) + 1)
    raw = b"\n".join(lines)
    for statement in sorted(_string_statements(tree), key=lambda node: -node.lineno * 1_000_000 - node.col_offset):
        value = statement.value
        assert value.end_lineno is not None
        assert value.end_col_offset is not None
        begin = starts[value.lineno - 1] + value.col_offset
        end = starts[value.end_lineno - 1] + value.end_col_offset
        raw = raw[:begin] + b'(""' + b"\n" * (value.end_lineno - value.lineno) + b")" + raw[end:]
    return raw.decode()


def _without_comment_tokens(text: str) -> str:
    lines = text.split("\n")
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type == tokenize.COMMENT:
            row, column = token.start
            lines[row - 1] = lines[row - 1][:column].rstrip(" \t")
    return "\n".join(lines)


def _same(one: ast.Module, other: ast.Module) -> bool:
    """Return whether two trees are equal apart from string statements. Modifies both."""
    for tree in (one, other):
        for statement in _string_statements(tree):
            statement.value = ast.Constant("")
    return ast.dump(one) == ast.dump(other)


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
    """Return how many bytes of data literals (in their order) and names can carry: their size compressed by zlib.

    A text needs a quarter to a half of its length in a good encoding. A better encoding than zlib's is bounded too,
    since well-encoded data does not compress further.
    """
    values = _literals_and_names(tree)
    parts = [value if isinstance(value, bytes) else str(value).encode("utf-8", "replace") for value in values]
    return len(zlib.compress(b"\n".join(parts), 9))


def _literals_and_names(tree: ast.Module) -> Iterator[str | bytes]:
    for value in literals(tree):
        yield value if isinstance(value, str | bytes) else repr(value)
    yield from names(tree)
