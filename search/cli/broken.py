"""Versions of a program that cannot be good, to see that a scorer refuses them or gives them a worse score."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping


def broken_versions(files: Mapping[str, str]) -> Iterator[tuple[str, dict[str, str]]]:
    """Yield (what it is, files): the main file without content, and in Python with functions that return 0."""
    main = next(iter(files))
    if main.endswith(".py"):
        yield "a program whose functions return 0", {**files, main: _returning_zero(files[main])}
    yield "an empty program", {**files, main: "\n"}


def _returning_zero(source: str) -> str:
    """Return a Python program whose top-level functions do nothing but return 0. Markers in comments are lost."""
    tree = ast.parse(source)
    for statement in tree.body:
        if isinstance(statement, ast.FunctionDef):
            statement.body = [ast.Return(ast.Constant(0))]
    return ast.unparse(ast.fix_missing_locations(tree)) + "\n"
