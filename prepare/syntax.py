"""Python's parser, for one thread at a time.

While CPython turns what it parsed into ``ast`` objects, it keeps its depth of recursion in one place for all threads.
When the garbage collector lets another thread parse in between, both fail with "SystemError: AST constructor recursion
depth mismatch" (CPython issue 106905; seen with 3.11.7). Proposals are made in threads, so every module that parses
what a candidate or a model wrote does it here.
"""

from __future__ import annotations

import ast
import threading

GIVES_UP = (SyntaxError, ValueError, RecursionError, MemoryError)
"""How Python's parser says no: also to NUL bytes and to nesting that is too deep."""

_PARSER = threading.RLock()


def parse(source: str) -> ast.Module:
    """The syntax tree, as from ``ast.parse``. Raises what that raises, one of ``GIVES_UP``."""
    with _PARSER:
        return ast.parse(source)
