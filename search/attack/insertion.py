"""Insertion of code before and after a program's text, where the task allows changes."""

from __future__ import annotations

import ast

from operators.rewrite.answers.grammar import split_lines
from prepare import syntax
from prepare.blocks import block_spans


def inserted(source: str, before: str, after: str, *, python: bool, blocks: bool) -> str:
    """Return a source with code before and after it: within the first and the last EVOLVE-BLOCK if ``blocks``."""
    spans = block_spans(source) if blocks else ()
    start = spans[0][0] if spans else _after_header(source, python)
    end = spans[-1][1] if spans else len(source)
    closed = "" if not end or source[end - 1] == "\n" else "\n"
    return source[:start] + before + source[start:end] + closed + after + source[end:]


def _after_header(source: str, python: bool) -> int:
    """Return where code may begin: after the interpreter's line, a docstring and imports from ``__future__``."""
    lines = 1 if source.startswith("#!") else 0
    for statement in syntax.parse(source).body if python else ():
        is_text = isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant)
        if not is_text and not (isinstance(statement, ast.ImportFrom) and statement.module == "__future__"):
            break
        lines = statement.end_lineno or lines
    return sum(map(len, split_lines(source)[:lines]))
