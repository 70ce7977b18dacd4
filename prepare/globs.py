"""Patterns of file names relative to a folder: ``*`` within a part of a path, ``**`` over any number of parts."""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import cache


@cache
def _compiled(pattern: str) -> re.Pattern[str]:
    text = re.escape(pattern).replace(r"\*\*/", "(?:[^/]+/)*").replace(r"\*\*", ".*")
    return re.compile(text.replace(r"\*", "[^/]*").replace(r"\?", "[^/]"))


def is_pattern(text: str) -> bool:
    """Return whether a text is a pattern with wildcards, and not the name of one file."""
    return "*" in text or "?" in text


def matches(path: str, patterns: Iterable[str]) -> bool:
    """Return whether a relative path matches one of the patterns."""
    return any(_compiled(pattern).fullmatch(path) for pattern in patterns)
