"""A fenced block that is not the whole file: definitions that take the place of those of the same name.

    import math                  imported, if it was not
    GATE = 0.5                   new: it comes before the definition that follows it here
    class Block(nn.Module):      takes the place of the program's Block
        ...

Models that are asked for a change often answer so, whatever form they were asked for, and it leaves no doubt about what
they mean. Only a block that lacks an entry point of the program and has something else of it is read so: one with all
entry points is a whole file, and one with nothing of the program is refused for what it lacks.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

from operators.syntax import Unparsable, parse

_ENTRIES = frozenset({"train", "predict"})
"""What is called of a program: a block without one that the program has is no whole file."""
_LEFT_OUT = re.compile(r"^[ \t]*(?:#[ \t]*)?\.\.\.[^\n]*", re.MULTILINE)
_Splice = tuple[int, int, list[str]]
"""(first line, last line, what takes their place), lines counted from 1; last = first - 1 inserts."""


class Misplaced(ValueError):
    """A block that says not all of what it means; the message is for the model."""

    def __init__(self, message: str, shown: str) -> None:
        super().__init__(message)
        self.shown = shown


def is_excerpt(old: str, block: str) -> bool:
    """Whether ``block`` defines something that ``old`` has, and lacks an entry point that ``old`` has."""
    try:
        before, now = dict(_named(parse(old))), dict(_named(parse(block)))
    except Unparsable:
        return False
    return bool((_ENTRIES & before.keys()) - now.keys()) and bool(before.keys() & now.keys())


def merged(old: str, block: str) -> str:
    """``old`` with the definitions of ``block``, which ``is_excerpt``. Raises ``Misplaced``."""
    elided = _LEFT_OUT.search(block)
    if elided is not None and elided[0].strip() not in old:
        raise Misplaced(
            "a definition leaves out a part of itself; give each one whole, or a search/replace block", elided[0]
        )
    lines = old.split("\n")
    for first, last, new in sorted(_splices(parse(old), parse(block), block.split("\n")), reverse=True):
        lines[first - 1 : last] = new
    return "\n".join(lines)


def _splices(old: ast.Module, block: ast.Module, pieces: list[str]) -> Iterator[_Splice]:
    places = dict(_named(old))
    held: list[str] = []
    last = 0
    for name, node in dict(_named(block)).items():
        text = pieces[_first(node) - 1 : node.end_lineno]
        if name not in places:
            held += [*text, *_gap(node)]
            continue
        first, last = _first(places[name]), places[name].end_lineno or 0
        yield first, last, [*held, *text]
        held = []
    if held:  # what is new and has nothing after it comes after what stands before it
        yield last + 1, last, ["", "", *held]
    yield from _imports(old, block, pieces)


def _imports(old: ast.Module, block: ast.Module, pieces: list[str]) -> Iterator[_Splice]:
    """New imports, below the last of the program: without any it could not be one."""
    known = {ast.dump(node) for node in old.body if isinstance(node, (ast.Import, ast.ImportFrom))}
    last = max((node.end_lineno or 0 for node in old.body if isinstance(node, (ast.Import, ast.ImportFrom))), default=0)
    for node in block.body:
        if isinstance(node, ast.ImportFrom) and node.module == "__future__":
            continue  # it would have to come first, and changes nothing here
        if isinstance(node, (ast.Import, ast.ImportFrom)) and ast.dump(node) not in known:
            yield last + 1, last, pieces[node.lineno - 1 : node.end_lineno]


def _named(tree: ast.Module) -> Iterator[tuple[str, ast.stmt]]:
    """Functions, classes and assignments to one name at the top level; of several of a name ``dict`` keeps the last."""
    for node in tree.body:
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            yield node.name, node
        elif isinstance(node, ast.Assign) and len(node.targets) == 1 and isinstance(node.targets[0], ast.Name):
            yield node.targets[0].id, node
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            yield node.target.id, node


def _first(node: ast.stmt) -> int:
    """The line on which it begins, decorators included."""
    decorators: list[ast.expr] = getattr(node, "decorator_list", [])
    return min([node.lineno, *(each.lineno for each in decorators)])


def _gap(node: ast.stmt) -> list[str]:
    return [] if isinstance(node, (ast.Assign, ast.AnnAssign)) else ["", ""]
