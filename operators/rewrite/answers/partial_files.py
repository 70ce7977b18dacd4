"""Fenced blocks with parts of a file: definitions that replace those of the same name.

    import math                  added unless it is there
    GATE = 0.5                   new: inserted before the definition that follows it here
    class Block(nn.Module):      replaces the program's Block
        ...

Models often answer so whatever form they are asked for, and the meaning is clear. A block is read so only if it lacks
an entry point of the program and defines something else of it: a block with all entry points is a whole file, and one
with nothing of the program is refused. A block is applied completely or not at all: statements without a place in the
program, and double definitions, are refused.
"""

from __future__ import annotations

import ast
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import pairwise

from operators.languages.syntax import Unparsable, parse

_ENTRIES = frozenset({"train", "predict"})
"""Entry points of a program: a block that lacks one of the program's is no whole file."""
_LEFT_OUT = re.compile(
    r"^[ \t]*(?:(?:#[ \t]*)?\.\.\.|#.*\b(?:existing code|same as before|code (?:\w+ )?unchanged"
    r"|(?:rest|remainder) of the (?:\w+ )?(?:code|function|class|method|program|loop))\b)[^\n]*",
    re.MULTILINE | re.IGNORECASE,
)
_PYTHON_LINE = re.compile(r"[^\r\n]*(?:\r\n|\r|\n)|[^\r\n]+")
_DEFINITIONS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
_Splice = tuple[int, int, list[str]]
"""(first line, last line, replacement), lines counted from 1; last = first - 1 inserts."""


class AmbiguousBlock(ValueError):
    """The meaning of a block is incomplete or ambiguous; the message is for the model."""

    def __init__(self, message: str, shown: str) -> None:
        super().__init__(message)
        self.shown = shown


def is_partial(old: str, block: str) -> bool:
    """Return whether ``block`` defines something of ``old`` and lacks an entry point of ``old``."""
    try:
        before, now = dict(_named(parse(old))), dict(_named(parse(block)))
    except Unparsable:
        return False
    return bool((_ENTRIES & before.keys()) - now.keys()) and bool(before.keys() & now.keys())


def is_whole(old: str, text: str) -> bool:
    """Return whether ``text`` is a program with the entry points of ``old``, of which there is one at least."""
    try:
        before, now = dict(_named(parse(old))), dict(_named(parse(text)))
    except Unparsable:
        return False
    entries = _ENTRIES & before.keys()
    return bool(entries) and entries <= now.keys()


def merged(old: str, blocks: Sequence[str]) -> str:
    """Return ``old`` with the definitions of ``blocks``, each of which ``is_partial``. Raises ``AmbiguousBlock``."""
    _check(old, blocks)
    for block in blocks:
        lines = _lines(old)
        for first, last, new in sorted(_splices(parse(old), parse(block), _lines(block)), reverse=True):
            lines[first - 1 : last] = new
        old = "".join(lines)
    return old


def _lines(text: str) -> list[str]:
    r"""Return the lines as Python counts them: a lone ``\r`` ends one, too. The last one has an end as well."""
    lines = _PYTHON_LINE.findall(text)
    if lines and lines[-1][-1] not in "\r\n":
        lines[-1] += "\n"
    return lines


def repeats(old: str, new: str) -> bool:
    """Return whether ``new`` defines a function or class more than once, and more often than ``old``."""
    try:
        before, now = (
            Counter(name for name, node in _named(parse(text)) if isinstance(node, _DEFINITIONS)) for text in (old, new)
        )
    except Unparsable:
        return False
    return any(count > max(1, before[name]) for name, count in now.items())


def _check(old: str, blocks: Sequence[str]) -> None:
    """Raise ``AmbiguousBlock`` for parts of a block that would be lost silently."""
    known = {line.strip() for line in _lines(old)}
    given: dict[str, str] = {}
    for block in blocks:
        if elided := [line.strip() for line in _LEFT_OUT.findall(block) if line.strip() not in known]:
            raise AmbiguousBlock(
                "a definition leaves out a part of itself; give each one whole, or a search/replace block", elided[0]
            )
        if stray := next(_strays(parse(old), parse(block)), None):
            raise AmbiguousBlock(
                "a fenced block has a part without a place of its own in the program; give the whole file, or what "
                "changes in search/replace blocks",
                _lines(block)[stray.lineno - 1].rstrip("\r\n"),
            )
        for name, node in _named(parse(block)):
            if given.setdefault(name, ast.dump(node)) != ast.dump(node):
                raise AmbiguousBlock("something is defined twice, in different ways; give only the final one", name)


def _strays(old: ast.Module, block: ast.Module) -> Iterator[ast.stmt]:
    """Yield statements of a block without a place in the program, and methods without their class."""
    names = dict(_named(old))
    known = {ast.dump(node) for node in old.body}
    shared = {id(node) for tree in (old, block) for node in _sharing_lines(tree)}
    for node in block.body:
        if (name := _name(node)) is None:
            lost = not _is_negligible(node) and ast.dump(node) not in known
        else:
            lost = name not in names and _is_method(node)
            lost = lost or id(node) in shared or id(names.get(name)) in shared or _is_part(names.get(name), node)
        if lost:
            yield node


def _sharing_lines(tree: ast.Module) -> Iterator[ast.stmt]:
    """Yield statements that do not have their lines to themselves."""
    for before, node in pairwise(tree.body):
        if node.lineno <= (before.end_lineno or 0):
            yield from (before, node)


def _is_part(old: ast.stmt | None, new: ast.stmt) -> bool:
    """Return whether a class has nothing but some of the old one's methods: the others would be lost silently."""
    if not isinstance(old, ast.ClassDef) or not isinstance(new, ast.ClassDef):
        return False
    before, now = (
        {node.name for node in tree.body if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))}
        for tree in (old, new)
    )
    return now < before


def _is_method(node: ast.stmt) -> bool:
    return isinstance(node, ast.FunctionDef) and bool(node.args.args) and node.args.args[0].arg == "self"


def _is_negligible(node: ast.stmt) -> bool:
    """Return whether a statement can be dropped: imports are handled elsewhere, and a candidate is never main."""
    return (
        isinstance(node, (ast.Import, ast.ImportFrom, ast.Pass))
        or (isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant))
        or (isinstance(node, ast.If) and "'__name__'" in ast.dump(node.test))
    )


def _splices(old: ast.Module, block: ast.Module, pieces: list[str]) -> Iterator[_Splice]:
    places = dict(_named(old))
    pending: list[str] = []
    last = 0
    for name, node in dict(_named(block)).items():
        text = pieces[_first(node) - 1 : node.end_lineno]
        if name not in places:
            pending += [*text, *_gap(node)]
            continue
        first, last = _first(places[name]), places[name].end_lineno or 0
        yield first, last, [*pending, *text]
        pending = []
    if pending:  # new definitions at the end of a block follow the last replaced one
        yield last + 1, last, ["\n", "\n", *pending]
    yield from _imports(old, block, pieces)


def _imports(old: ast.Module, block: ast.Module, pieces: list[str]) -> Iterator[_Splice]:
    """Yield new imports, below the last import of the program."""
    known = {ast.dump(node) for node in old.body if isinstance(node, (ast.Import, ast.ImportFrom))}
    last = max((node.end_lineno or 0 for node in old.body if isinstance(node, (ast.Import, ast.ImportFrom))), default=0)
    for node in block.body:
        if isinstance(node, ast.ImportFrom) and node.module == "__future__":
            continue  # would have to come first, and changes nothing here
        if isinstance(node, (ast.Import, ast.ImportFrom)) and ast.dump(node) not in known:
            yield last + 1, last, pieces[node.lineno - 1 : node.end_lineno]


def _named(tree: ast.Module) -> Iterator[tuple[str, ast.stmt]]:
    """Yield named top-level statements; ``dict`` keeps the last of several with one name."""
    return ((name, node) for node in tree.body if (name := _name(node)) is not None)


def _name(node: ast.stmt) -> str | None:
    """Return the name of a function, a class or an assignment to one name; else None."""
    match node:
        case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.ClassDef():
            return node.name
        case ast.Assign(targets=[ast.Name(id=name)]) | ast.AnnAssign(target=ast.Name(id=name)):
            return name
    return None


def _first(node: ast.stmt) -> int:
    """Return the first line, decorators included."""
    decorators: list[ast.expr] = getattr(node, "decorator_list", [])
    return min([node.lineno, *(each.lineno for each in decorators)])


def _gap(node: ast.stmt) -> list[str]:
    return [] if isinstance(node, (ast.Assign, ast.AnnAssign)) else ["\n", "\n"]
