"""What of a candidate's source reaches a sandbox, and how much knowledge its literals and names could carry there.

Comments and docstrings are for people and models: they are blanked before a program runs, line numbers kept, so they
carry nothing into a run. (Nor does a line that declares another encoding, in which the file would be another program
than the one that was checked.) What is left is counted: no gate can decode every hiding place, but a text that is
known by heart must be carried in, and ``carried`` says how many bytes of it there can be.
"""

from __future__ import annotations

import ast
import io
import tokenize
import zlib
from collections.abc import Iterator

from prepare import syntax

_NUMBER_BITS = 4096  # Python itself refuses to print numbers of 4,300 digits


class Unclear(Exception):
    """A source that cannot be blanked for certain; the message says why."""


def parse(text: str) -> ast.Module:
    """The syntax tree. Raises Unclear with the parser's words."""
    try:
        return syntax.parse(text)
    except syntax.GIVES_UP as error:
        raise Unclear(f"does not parse: {error}") from error


def bare(text: str) -> str:
    """The program without its comments and docstrings, on the same lines. Raises Unclear."""
    text = text.removeprefix("\ufeff").replace("\r\n", "\n").replace("\r", "\n")
    tree = parse(text)
    if any(isinstance(value, int) and value.bit_length() > _NUMBER_BITS for value in literals(tree)):
        raise Unclear(f"holds a whole number of more than {_NUMBER_BITS:,} bits")
    try:
        blanked = _without_comments(_without_remarks(text, tree))
    except (tokenize.TokenError, SyntaxError, ValueError) as error:
        raise Unclear(f"cannot be read token by token: {error}") from error
    if not _same(tree, parse(blanked)):
        raise Unclear("means something else without its comments and docstrings; write it in a plainer way")
    return blanked


def _remarks(tree: ast.Module) -> Iterator[ast.Expr]:
    """Strings that stand alone as statements: docstrings, and all others that do nothing."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str):
            yield node


def _without_remarks(text: str, tree: ast.Module) -> str:
    """An empty string in place of each, as many lines long (an empty one still stands before ``from __future__``)."""
    lines = text.encode().split(b"\n")
    starts = [0]
    for line in lines:
        starts.append(starts[-1] + len(line) + 1)
    raw = b"\n".join(lines)
    for remark in sorted(_remarks(tree), key=lambda node: -node.lineno * 1_000_000 - node.col_offset):
        value = remark.value
        assert value.end_lineno is not None
        assert value.end_col_offset is not None
        begin = starts[value.lineno - 1] + value.col_offset
        end = starts[value.end_lineno - 1] + value.end_col_offset
        raw = raw[:begin] + b'(""' + b"\n" * (value.end_lineno - value.lineno) + b")" + raw[end:]
    return raw.decode()


def _without_comments(text: str) -> str:
    lines = text.split("\n")
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type == tokenize.COMMENT:
            row, column = token.start
            lines[row - 1] = lines[row - 1][:column].rstrip(" \t")
    return "\n".join(lines)


def _same(one: ast.Module, other: ast.Module) -> bool:
    """Equal but for remarks."""
    for tree in (one, other):
        for remark in _remarks(tree):
            remark.value = ast.Constant("")
    return ast.dump(one) == ast.dump(other)


def literals(tree: ast.Module) -> Iterator[str | bytes | int | float | complex]:
    """Every literal value in the order of the source, the pieces of f-strings too; not True, False, None and ..."""
    constants = [node for node in ast.walk(tree) if isinstance(node, ast.Constant)]
    for node in sorted(constants, key=lambda node: (node.lineno, node.col_offset)):
        if not isinstance(node.value, bool) and isinstance(node.value, str | bytes | int | float | complex):
            yield node.value


def names(tree: ast.Module) -> list[str]:
    """Every name that the program uses, once, in the order of its first use."""
    found: dict[str, None] = {}
    for node in ast.walk(tree):
        for field in ("id", "attr", "arg", "name", "asname", "module"):
            if isinstance(name := getattr(node, field, None), str):
                found[name] = None
    return list(found)


def carried(tree: ast.Module) -> int:
    """Bytes that literals (with their order) and names can carry: their size when compressed by zlib.

    A text needs a quarter to a half of its length in a good encoding, and whoever encodes better than zlib does is
    still held to these bytes, since what is encoded well does not compress further.
    """
    parts = [value if isinstance(value, bytes) else str(value).encode("utf-8", "replace") for value in _spelled(tree)]
    return len(zlib.compress(b"\n".join(parts), 9))


def _spelled(tree: ast.Module) -> Iterator[str | bytes]:
    for value in literals(tree):
        yield value if isinstance(value, str | bytes) else repr(value)
    yield from names(tree)
