"""Parameters of a Python program: module-level ALL_CAPS constants, read from the syntax tree and set in place.

    read_parameters("WIDTH = 64  # wide\\n")                  -> {"WIDTH": 64}
    set_parameters("WIDTH = 64  # wide\\n", {"WIDTH": 96})    -> "WIDTH = 96  # wide\\n"

A parameter is ``NAME = 3``, ``NAME = -0.5``, ``NAME: int = 3`` or ``NAME = True`` at the top level, assigned once.
Strings, tuples and computed values are none. Setting a parameter replaces the bytes of its literal and no others, so
comments and layout stay. (libcst would do the same at 45 ms for 20 KB, against 3 ms here: a proposal must not cost
more than 5 ms. The syntax tree has exact byte positions, which is all that is needed.)

A trailing comment may declare the range that ``operators.numeric.tune`` searches, in the grammar of
``operators.numeric.search_space``.
"""

from __future__ import annotations

import ast
import math
import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache

from operators.languages.syntax import parse

Number = int | float | bool

_NAME = re.compile(r"[A-Z][A-Z0-9_]*")
_UNTUNABLE = re.compile(r"(.*_)?(SEED|VOCAB|VOCAB_SIZE|DEVICE|THREADS|VERSION)")
_NO = re.compile(r"no\b")
_TUNE_COMMENT = re.compile(r"\btune:\s*(.*)")


@dataclass(frozen=True)
class Parameter:
    """A parameter, and the bytes [start, end) of its literal in the UTF-8 encoded source."""

    name: str
    value: Number
    start: int
    end: int
    tune: str | None
    """The text after ``tune:`` in the trailing comment; None without one."""

    @property
    def searchable(self) -> bool:
        """False for seeds, vocabularies, devices and the like, and where the comment says ``tune: no``."""
        return _UNTUNABLE.fullmatch(self.name) is None and not (self.tune and _NO.match(self.tune))


@lru_cache(maxsize=4096)
def find_parameters(source: str) -> tuple[Parameter, ...]:
    """Return all parameters in order of appearance. Cached by source. Raises ``Unparsable``."""
    tree = parse(source)
    raw = source.encode("utf-8", "surrogatepass")
    lines = raw.splitlines(keepends=True)
    starts = [0]
    for line in lines:
        starts.append(starts[-1] + len(line))
    found = []
    for statement in tree.body:
        named = _named_value(statement)
        if named is None or (value := _number(named[1])) is None:
            continue
        name, node = named
        start = starts[node.lineno - 1] + node.col_offset
        end = starts[(node.end_lineno or node.lineno) - 1] + (node.end_col_offset or 0)
        tail = raw[end : starts[node.end_lineno or node.lineno]].decode("utf-8", "replace")
        comment = _TUNE_COMMENT.search(tail.partition("#")[2])
        found.append(Parameter(name, value, start, end, comment[1].strip() if comment else None))
    assigned = _assignments(tree)
    return tuple(parameter for parameter in found if assigned[parameter.name] == 1)


def read_parameters(source: str) -> dict[str, Number]:
    """Return the parameters of a program by name. Raises ``Unparsable``."""
    return {parameter.name: parameter.value for parameter in find_parameters(source)}


def set_parameters(source: str, values: Mapping[str, Number]) -> str:
    """Return ``source`` with new literals for these parameters. Equal values and all other bytes stay as written.

    Raises:
        KeyError: ``read_parameters`` does not return a name.
        ValueError: A value is NaN or infinite.
        Unparsable: ``source`` is no Python module.
    """
    known = {parameter.name: parameter for parameter in find_parameters(source)}
    for name, value in values.items():
        if name not in known:
            raise KeyError(f"{name} is no parameter of this program; it has {', '.join(sorted(known)) or 'none'}")
        if not math.isfinite(value):
            raise ValueError(f"{name} = {value}: a parameter must be finite")
    raw = source.encode("utf-8", "surrogatepass")
    for parameter in sorted(known.values(), key=lambda p: -p.start):
        if parameter.name in values and not _same(parameter.value, values[parameter.name]):
            literal = _literal(values[parameter.name], like=parameter.value)
            raw = raw[: parameter.start] + literal.encode() + raw[parameter.end :]
    return raw.decode("utf-8", "surrogatepass")


def _named_value(statement: ast.stmt) -> tuple[str, ast.expr] | None:
    match statement:
        case ast.Assign(targets=[ast.Name(id=name)], value=value):
            pass
        case ast.AnnAssign(target=ast.Name(id=name), value=ast.expr() as value):
            pass
        case _:
            return None
    return (name, value) if _NAME.fullmatch(name) else None


def _assignments(tree: ast.Module) -> Counter[str]:
    """Count how often each name is bound at module level, ``if`` and ``try`` blocks and ``X += 1`` included."""
    counts: Counter[str] = Counter()
    stack: list[ast.AST] = list(tree.body)
    while stack:
        node = stack.pop()
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store | ast.Del):
            counts[node.id] += 1
        elif not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef | ast.Lambda):
            stack.extend(ast.iter_child_nodes(node))
    return counts


def _number(node: ast.expr) -> Number | None:
    match node:
        case ast.Constant(value=bool() | int() | float() as value):
            return value if math.isfinite(value) else None
        case ast.UnaryOp(op=ast.USub(), operand=ast.Constant(value=int() | float() as value)):
            return -value if not isinstance(value, bool) and math.isfinite(value) else None
    return None


def _same(old: Number, new: Number) -> bool:
    return isinstance(old, bool) == isinstance(new, bool) and old == new


def _literal(value: Number, like: Number) -> str:
    """Return Python text for ``value``; a float stays a float, so that ``1.0`` does not turn into ``1``."""
    if isinstance(value, bool):
        return repr(value)
    return repr(float(value)) if isinstance(like, float) else repr(value)
