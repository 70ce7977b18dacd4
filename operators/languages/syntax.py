"""Parsing text that nobody vouches for: one place that knows all the ways in which Python's parser gives up."""

from __future__ import annotations

import ast
from functools import lru_cache

from prepare import syntax


class Unparsable(ValueError):
    """A source that is not a Python module; the message says where and why."""


def parse(source: str, path: str = "train.py") -> ast.Module:
    """The syntax tree of ``source``; shared, so not to be changed.

    Raises ``Unparsable``, also for nesting too deep and for NUL bytes.
    """
    try:
        return _parse(source)
    except SyntaxError as error:
        line = (error.text or "").strip()[:80]
        raise Unparsable(f"{path} line {error.lineno}: {error.msg}" + (f": {line}" if line else "")) from None
    except syntax.PARSE_ERRORS as error:
        raise Unparsable(f"{path} does not parse: {error or type(error).__name__}") from None


@lru_cache(maxsize=24)
def _parse(source: str) -> ast.Module:
    """A parent is parsed for its constants, its edits and its identity: once is enough, at 5 ms for 20 KB."""
    return syntax.parse(source)
