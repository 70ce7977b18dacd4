"""Names that a program uses but does not define, left by an edit that removed a line or forgot an import.

An evaluation would end with a ``NameError``, in the smoke test at best; a language model can fix it in its repair turn.
Only certain cases count: names that no scope of the file binds, whatever the order. Names that begin with two
underscores belong to Python. A file that may bind names dynamically (``import *``, ``globals()``, ``exec``,
``sys.modules``) has none.
"""

from __future__ import annotations

import ast
import builtins
from collections.abc import Iterator
from functools import lru_cache

from operators.languages.syntax import Unparsable, parse

_BUILTINS = frozenset(dir(builtins))
_DYNAMIC = frozenset({"globals", "exec", "eval", "vars", "locals", "builtins", "__builtins__", "NameError"})


@lru_cache(maxsize=256)
def undefined(text: str) -> tuple[str, ...]:
    """Return the names that a Python file uses and does not define; none if it does not parse."""
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
    if "*" in bound or _DYNAMIC & used.keys():
        return ()
    bound |= _BUILTINS
    return tuple(name for name in used if name not in bound and not name.startswith("__"))


def _bound(node: ast.AST) -> Iterator[str]:
    """Yield the names that this node binds; ``*`` for an import of all."""
    match node:
        case ast.alias(name=name, asname=other):
            yield other or name.partition(".")[0]
        case ast.Name(id=name, ctx=ast.Store()) | ast.arg(arg=name) | ast.MatchMapping(rest=str(name)):
            yield name
        case _ if isinstance(own := getattr(node, "name", None), str):
            yield own  # functions, classes, handlers, patterns; from Python 3.12 on type parameters


def _never_evaluated(tree: ast.Module) -> Iterator[int]:
    """Yield ids of nodes in annotations that are not evaluated: of local names, and all with postponed evaluation."""
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
