"""Names that a module binds: how often each of its global names gets a value, by whatever statement.

A constant that is bound twice has no one place where its value stands. Counted are assignments (also in ``if``,
``for``, ``with`` and ``try``, augmented, unpacked and by ``:=``), ``del``, imports, functions, classes, exception
handlers, captures of ``match``, type aliases, ``global`` in a function, and ``globals()["NAME"] = ...``. A star import
may bind anything that stands above it.
"""

from __future__ import annotations

import ast
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping

_NAMED: Mapping[type[ast.AST], str] = {
    ast.FunctionDef: "name", ast.AsyncFunctionDef: "name", ast.ClassDef: "name", ast.ExceptHandler: "name",
    ast.MatchAs: "name", ast.MatchStar: "name", ast.MatchMapping: "rest",
}  # fmt: skip
"""Field of a node that holds a name which it binds."""
_OUTER = (ast.Lambda, ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.comprehension, ast.AnnAssign)


def binding_counts(tree: ast.Module) -> Counter[str]:
    """Return how often each global name of a module is bound."""
    counts = Counter(name for node in _in_module_scope(tree) for name in _bound(node))
    for node in ast.walk(tree):
        if isinstance(node, ast.Global):
            counts.update(node.names)
        elif isinstance(node, ast.Subscript) and (name := _set_by_globals(node)) is not None:
            counts[name] += 1
    for star in (statement for statement in tree.body if _is_star(statement)):
        above = (node for node in tree.body if node.lineno < star.lineno)
        counts.update({name for statement in above for node in ast.walk(statement) for name in _bound(node)})
    return counts


def _in_module_scope(tree: ast.Module) -> Iterator[ast.AST]:
    """Yield the nodes that run in the module's own scope; of a nested scope its head and what is evaluated outside."""
    stack: list[ast.AST] = list(tree.body)
    while stack:
        node = stack.pop()
        yield node
        stack.extend(_outer_children(node))


def _outer_children(node: ast.AST) -> Iterable[ast.AST]:
    if node.__class__ not in _OUTER:
        return ast.iter_child_nodes(node)
    match node:
        case ast.Lambda(args=arguments):
            return _defaults(arguments)
        case ast.FunctionDef() | ast.AsyncFunctionDef():
            return [*node.decorator_list, *_defaults(node.args)]
        case ast.ClassDef():
            return [*node.decorator_list, *node.bases, *node.keywords]
        case ast.comprehension():  # its target is local to the comprehension, a walrus in it is not
            return [node.iter, *node.ifs]
        case ast.AnnAssign(value=None):  # declares a type and binds nothing
            return []
    return ast.iter_child_nodes(node)


def _defaults(arguments: ast.arguments) -> list[ast.AST]:
    return [*arguments.defaults, *(default for default in arguments.kw_defaults if default is not None)]


def _bound(node: ast.AST) -> Iterator[str]:
    """Yield the names that this node itself binds."""
    kind = node.__class__  # a look-up is several times faster than ``match``, on each of thousands of nodes
    if kind is ast.Name:
        if node.ctx.__class__ is not ast.Load:  # type: ignore[attr-defined]
            yield node.id  # type: ignore[attr-defined]
    elif kind is ast.alias:
        yield node.asname or node.name.partition(".")[0]  # type: ignore[attr-defined]
    elif kind in _NAMED and isinstance(name := getattr(node, _NAMED[kind]), str):
        yield name


def _set_by_globals(node: ast.Subscript) -> str | None:
    """Return NAME of ``globals()["NAME"] = value``; None for any other item."""
    match node:
        case ast.Subscript(
            value=ast.Call(func=ast.Name(id="globals" | "vars" | "locals")),
            slice=ast.Constant(value=str(name)),
            ctx=ast.Store() | ast.Del(),
        ):
            return name
    return None


def _is_star(statement: ast.stmt) -> bool:
    return isinstance(statement, ast.ImportFrom) and any(alias.name == "*" for alias in statement.names)
