"""Names that a program uses and nowhere defines: what an edit left behind that took a line out, or forgot an import.

A training would end at them with a ``NameError``, in the rehearsal at best; the model can mend it while it is asked.
Only what is certain counts: a name that no scope of the file binds, whatever the order. A file that makes names in ways
that cannot be read from it (``import *``, ``globals()``, ``exec``) is taken at its word.
"""

from __future__ import annotations

import ast
import builtins
from collections.abc import Iterator, Mapping
from functools import lru_cache

from operators.syntax import Unparsable, parse

_GIVEN = frozenset(dir(builtins)) | {"__file__", "__class__", "__annotations__", "__path__"}
_MAKERS = frozenset({"globals", "exec", "eval", "vars", "locals", "NameError"})


def undefined(files: Mapping[str, str]) -> dict[str, str]:
    """Name -> path of all names that are used and not defined in a Python file. Files that do not parse have none."""
    return {name: path for path, text in sorted(files.items()) if path.endswith(".py") for name in _undefined(text)}


@lru_cache(maxsize=256)
def _undefined(text: str) -> tuple[str, ...]:
    try:
        tree = parse(text)
    except Unparsable:
        return ()
    skipped = set(_never_evaluated(tree))
    used: dict[str, None] = {}
    bound: set[str] = set()
    for node in ast.walk(tree):
        bound.update(_bound(node))
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load) and id(node) not in skipped:
            used[node.id] = None
    if "*" in bound or _MAKERS & used.keys():
        return ()
    return tuple(name for name in used if name not in bound and name not in _GIVEN)


def _bound(node: ast.AST) -> Iterator[str]:
    """What this node gives a name to; ``*`` for an import of all."""
    match node:
        case ast.Name(id=name, ctx=ast.Store()) | ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name):
            yield name
        case ast.ClassDef(name=name) | ast.arg(arg=name):
            yield name
        case ast.ExceptHandler(name=str(name)) | ast.MatchAs(name=str(name)) | ast.MatchStar(name=str(name)):
            yield name
        case ast.MatchMapping(rest=str(name)):
            yield name
        case ast.alias(name=name, asname=other):
            yield other or name.partition(".")[0]


def _never_evaluated(tree: ast.Module) -> Iterator[int]:
    """The nodes within annotations, where these are not evaluated."""
    if not any(
        isinstance(node, ast.ImportFrom) and node.module == "__future__" and node.names[0].name == "annotations"
        for node in tree.body
    ):
        return
    for node in ast.walk(tree):
        for part in (getattr(node, "annotation", None), getattr(node, "returns", None)):
            if isinstance(part, ast.AST):
                yield from map(id, ast.walk(part))
