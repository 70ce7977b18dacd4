"""Parameters of a Python program: module-level ALL_CAPS constants, read from the syntax tree and set in place.

    read_parameters("WIDTH = 64  # wide\\n")                  -> {"WIDTH": 64}
    set_parameters("WIDTH = 64  # wide\\n", {"WIDTH": 96})    -> "WIDTH = 96  # wide\\n"

A parameter is ``NAME = 3``, ``NAME = -0.5``, ``NAME: int = 3`` or ``NAME = True`` at the top level, bound once in the
module (``operators.languages.bindings``). With a ``tune:`` comment it may have any name, and its value may be computed
from numbers (``2**4``). Strings, tuples and other computed values are none. Setting a parameter replaces the bytes of
its literal and no others, so comments and layout stay. (libcst would do the same at 45 ms for 20 KB, against 3 ms here:
a proposal must not cost more than 5 ms. The syntax tree has exact byte positions, which is all that is needed.)

A trailing comment may declare the range that ``operators.numeric.tune`` searches, in the grammar of
``operators.numeric.search_space``. It belongs to the last statement of its line.
"""

from __future__ import annotations

import ast
import math
import operator
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

from operators.languages.bindings import binding_counts
from operators.languages.python_tokens import is_seed_name
from operators.languages.syntax import parse

Number = int | float | bool

_NAME = re.compile(r"[A-Z][A-Z0-9_]*")
_UNTUNABLE = re.compile(r"(?i)(.*_)?(VOCAB|VOCAB_SIZE|DEVICES?|THREADS|WORKERS|VERSION)")
_NO = re.compile(r"no\b")
_TUNE_COMMENT = re.compile(r"\btune:\s*(.*)")
_COMMENT = re.compile(rb"[ \t\f);]*#([^\r\n]*)")
"""The comment that belongs to the value before it: nothing but closing marks stands between them."""
LARGEST = 2**53
"""Whole numbers above it are no floats, in which ranges are computed."""
_OPERATIONS: Mapping[type[ast.operator], Callable[[Number, Number], Number]] = {
    ast.Add: operator.add, ast.Sub: operator.sub, ast.Mult: operator.mul,
    ast.Div: operator.truediv, ast.FloorDiv: operator.floordiv, ast.Pow: operator.pow,
}  # fmt: skip


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
        if is_seed_name(self.name) or _UNTUNABLE.fullmatch(self.name):
            return False
        return not (self.tune and _NO.match(self.tune))


@lru_cache(maxsize=4096)
def find_parameters(source: str) -> tuple[Parameter, ...]:
    """Return all parameters in order of appearance. Cached by source. Raises ``Unparsable``."""
    tree = parse(source)
    bound = binding_counts(tree)
    return tuple(parameter for parameter in _candidates(tree, source) if bound[parameter.name] == 1)


def _candidates(tree: ast.Module, source: str) -> Iterator[Parameter]:
    """Yield what would be a parameter if its name is bound once."""
    raw = source.encode("utf-8", "surrogatepass")
    starts = [0]
    for line in raw.splitlines(keepends=True):
        starts.append(starts[-1] + len(line))
    for statement in tree.body:
        name, node = _named_value(statement)
        if node is None:
            continue
        start, end = starts[node.lineno - 1] + node.col_offset, _end(node, starts)
        comment = _comment(raw, end)
        if comment is None:  # behind a closing bracket on a later line
            comment = _comment(raw, _end(statement, starts))
        value = _number(node) if comment is None else _computed(node)
        if value is not None and (comment is not None or _NAME.fullmatch(name)):
            yield Parameter(name, value, start, end, comment)


def _end(node: ast.expr | ast.stmt, starts: Sequence[int]) -> int:
    """Return the position in bytes behind a node. ``starts``: of all lines."""
    return starts[(node.end_lineno or node.lineno) - 1] + (node.end_col_offset or 0)


def _comment(raw: bytes, end: int) -> str | None:
    """Return the text after ``tune:`` in the comment that follows position ``end``; None without one."""
    comment = _COMMENT.match(raw, end)
    found = _TUNE_COMMENT.search(comment[1].decode("utf-8", "replace")) if comment else None
    return found[1].strip() if found else None


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
    return replaced(source, find_parameters(source), values, lambda old, value, like: _literal(value, like))


def replaced(
    source: str,
    parameters: Sequence[Parameter],
    values: Mapping[str, Number],
    literal: Callable[[str, Number, Number], str],
) -> str:
    """Return ``source`` with new literals, in any language. ``literal``: of (old literal, new value, old value).

    Raises:
        KeyError: No parameter has a name.
        ValueError: A value is NaN or infinite.
    """
    known = {parameter.name: parameter for parameter in parameters}
    for name, value in values.items():
        if name not in known:
            raise KeyError(f"{name} is no parameter of this program; it has {', '.join(sorted(known)) or 'none'}")
        if not math.isfinite(value):
            raise ValueError(f"{name} = {value}: a parameter must be finite")
    raw = source.encode("utf-8", "surrogatepass")
    for parameter in sorted(known.values(), key=lambda p: -p.start):
        if parameter.name in values and not _same(parameter.value, values[parameter.name]):
            old = raw[parameter.start : parameter.end].decode("utf-8", "surrogatepass")
            new = literal(old, values[parameter.name], parameter.value)
            raw = raw[: parameter.start] + new.encode() + raw[parameter.end :]
    return raw.decode("utf-8", "surrogatepass")


def _named_value(statement: ast.stmt) -> tuple[str, ast.expr | None]:
    match statement:
        case ast.Assign(targets=[ast.Name(id=name)], value=value):
            return name, value
        case ast.AnnAssign(target=ast.Name(id=name), value=ast.expr() as value):
            return name, value
    return "", None


def _number(node: ast.expr) -> Number | None:
    """Return the value of a number with or without a sign; None for any other expression."""
    match node:
        case ast.Constant(value=bool() | int() | float() as value):
            return _plain(value)
        case ast.UnaryOp(op=ast.USub() | ast.UAdd() as sign, operand=ast.Constant(value=int() | float() as value)):
            if isinstance(value, bool):
                return None
            return _plain(-value if isinstance(sign, ast.USub) else value)
    return None


def _plain(value: object) -> Number | None:
    """Return a finite number whose size a float can hold exactly; None for anything else."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return value if isinstance(value, int) and abs(value) <= LARGEST else None


def _computed(node: ast.expr, depth: int = 8) -> Number | None:
    """Return the value of a short expression of numbers, such as ``2**4`` or ``-(1 / 3)``; None for any other."""
    if depth == 0:
        return None
    match node:
        case ast.UnaryOp(op=ast.USub() | ast.UAdd() as sign, operand=ast.UnaryOp() | ast.BinOp() as operand):
            value = _computed(operand, depth - 1)
            return -value if value is not None and isinstance(sign, ast.USub) else value
        case ast.BinOp(left=left, op=operation, right=right) if type(operation) in _OPERATIONS:
            return _applied(_OPERATIONS[type(operation)], _computed(left, depth - 1), _computed(right, depth - 1))
    return _number(node)


def _applied(operation: Callable[[Number, Number], Number], a: Number | None, b: Number | None) -> Number | None:
    if a is None or b is None or isinstance(a, bool) or isinstance(b, bool):
        return None
    if operation is operator.pow and abs(b) > 64:  # Python would compute 2**(2**53) for ever
        return None
    try:
        return _plain(operation(a, b))
    except ArithmeticError:  # divided by zero, or overflown
        return None


def _same(old: Number, new: Number) -> bool:
    return isinstance(old, bool) == isinstance(new, bool) and old == new


def _literal(value: Number, like: Number) -> str:
    """Return Python text for ``value``; a float stays a float, so that ``1.0`` does not turn into ``1``."""
    if isinstance(value, bool):
        return repr(value)
    return repr(float(value)) if isinstance(like, float) else repr(value)
