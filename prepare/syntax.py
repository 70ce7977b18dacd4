"""A lock around Python's parser, which is not thread-safe.

While CPython builds ``ast`` objects, it keeps the recursion depth in a variable that all threads share. When the
garbage collector lets another thread parse in between, both fail with "SystemError: AST constructor recursion
depth mismatch" (CPython issue 106905; seen with 3.11.7). Proposals are made in threads, so every module that parses
a program does it here.
"""

from __future__ import annotations

import ast
import threading

PARSE_ERRORS = (SyntaxError, ValueError, RecursionError, MemoryError)
"""Exceptions of Python's parser, also for NUL bytes and for nesting that is too deep."""

_PARSER = threading.RLock()


def parse(source: str) -> ast.Module:
    """Return the syntax tree, as ``ast.parse`` does. Raises one of ``PARSE_ERRORS``."""
    with _PARSER:
        return ast.parse(source)
