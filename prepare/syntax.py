"""Parse checks of files, and a lock around Python's parser, which is not thread-safe.

While CPython builds ``ast`` objects, it keeps the recursion depth in a variable that all threads share. When the
garbage collector lets another thread parse in between, both fail with "SystemError: AST constructor recursion
depth mismatch" (CPython issue 106905; seen with 3.11.7). Proposals are made in threads, so every module that parses
a program does it here.
"""

from __future__ import annotations

import ast
import json
import threading
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

PARSE_ERRORS = (SyntaxError, ValueError, RecursionError, MemoryError)
"""Exceptions of Python's parser, also for NUL bytes and for nesting that is too deep."""

_PARSER = threading.RLock()


def parse(source: str) -> ast.Module:
    """Return the syntax tree, as ``ast.parse`` does. Raises one of ``PARSE_ERRORS``."""
    with _PARSER:
        return ast.parse(source)


def parse_error(path: str, text: str) -> str | None:
    """Return why a file does not parse, by its suffix: Python, JSON, YAML, TOML. None if it does, and for others."""
    check = _CHECKS.get(path.rpartition(".")[2])
    try:
        if check is not None:
            check(text)
    except SyntaxError as error:
        line = (error.text or "").strip()[:80]
        return f"{path} line {error.lineno}: {error.msg}" + (f": {line}" if line else "")
    except PARSE_ERRORS as error:
        return f"{path} does not parse: {' '.join(str(error).split())[:300] or type(error).__name__}"
    return None


def first_error(files: Mapping[str, str], earlier: Sequence[Mapping[str, str]] = ()) -> str | None:
    """Return why a program's first unusable file does not parse, or None.

    A file of data of which a version in ``earlier`` programs did not parse may be so here: JSON with comments, a
    template of YAML.
    """
    for path, text in files.items():
        if (reason := parse_error(path, text)) is None:
            continue
        versions = (program[path] for program in earlier if path in program)
        if path.endswith(".py") or not any(parse_error(path, version) for version in versions):
            return reason
    return None


def _parse_toml(text: str) -> None:
    import tomllib

    tomllib.loads(text)


DEEPEST_YAML = 100
"""Levels of YAML lists and mappings in one another: within a thousand, PyYAML takes a millisecond a character."""


def yaml_events(text: str) -> Iterator[Any]:
    """Yield the events of a YAML text: unlike loading, this costs no more than the text, whatever its aliases.

    Raises ValueError for what is no YAML and for more levels than ``DEEPEST_YAML``.
    """
    import yaml  # type: ignore[import-untyped]

    level = 0
    try:
        for event in yaml.parse(text, Loader=yaml.SafeLoader):
            level += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
            if level > DEEPEST_YAML:
                raise ValueError(f"lists and mappings in one another: more than {DEEPEST_YAML} levels")
            yield event
    except (yaml.YAMLError, OverflowError) as error:  # an escape beyond Unicode overflows
        raise ValueError(str(error)) from None


def _parse_yaml(text: str) -> None:
    deque(yaml_events(text), maxlen=0)


_CHECKS: Mapping[str, Callable[[str], object]] = {
    "py": parse, "json": json.loads, "toml": _parse_toml, "yaml": _parse_yaml, "yml": _parse_yaml,
}  # fmt: skip
