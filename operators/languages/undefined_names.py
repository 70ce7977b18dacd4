"""Names that a program uses and nowhere defines: what an edit left behind that took a line out, or forgot an import.

A training would end at them with a ``NameError``, in the rehearsal at best; the model can mend it while it is asked.
Only what is certain counts: a name that no scope of the file binds, whatever the order; names that begin with two
underscores are Python's own. A file that makes names in ways that cannot be read from it (``import *``, ``globals()``,
``exec``, ``sys.modules``) is taken at its word.
"""

from __future__ import annotations

import ast
import builtins
from collections.abc import Iterator, Mapping
from functools import lru_cache

from operators.languages.syntax import Unparsable, parse

_GIVEN = frozenset(dir(builtins))
_MAKERS = frozenset({"globals", "exec", "eval", "vars", "locals", "builtins", "__builtins__", "NameError"})


def undefined(files: Mapping[str, str]) -> tuple[str, ...]:
    """All names that are used and not defined in a Python file. Files that do not parse have none."""
    return tuple(name for path, text in sorted(files.items()) if path.endswith(".py") for name in _undefined(text))


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
        match node:
            case ast.Name(id=name, ctx=ast.Load()) if id(node) not in skipped:
                used[name] = None
            case ast.Attribute(value=ast.Name(id="sys"), attr="modules"):
                return ()
    if "*" in bound or _MAKERS & used.keys():
        return ()
    bound |= _GIVEN
    return tuple(name for name in used if name not in bound and not name.startswith("__"))


def _bound(node: ast.AST) -> Iterator[str]:
    """What this node gives a name to; ``*`` for an import of all."""
    match node:
        case ast.alias(name=name, asname=other):
            yield other or name.partition(".")[0]
        case ast.Name(id=name, ctx=ast.Store()) | ast.arg(arg=name) | ast.MatchMapping(rest=str(name)):
            yield name
        case _ if isinstance(own := getattr(node, "name", None), str):
            yield own  # functions, classes, handlers, patterns; from Python 3.12 on type parameters


def _never_evaluated(tree: ast.Module) -> Iterator[int]:
    """The nodes within annotations that are not evaluated: those of local names, and all where the file says so."""
    postponed = any(
        isinstance(node, ast.ImportFrom)
        and node.module == "__future__"
        and "annotations" in [a.name for a in node.names]
        for node in tree.body
    )
    functions = (node for node in ast.walk(tree) if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)))
    local = (node for function in functions for node in ast.walk(function) if isinstance(node, ast.AnnAssign))
    for node in ast.walk(tree) if postponed else local:
        for part in (getattr(node, "annotation", None), getattr(node, "returns", None)):
            if isinstance(part, ast.AST):
                yield from map(id, ast.walk(part))
