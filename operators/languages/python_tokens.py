"""Tokens of a Python program: its syntax tree without comments, docstrings, layout and seeds of random generators.

``SEED = 1`` and ``SEED = 2`` (or ``RANDOM_STATE``, ``RNG``) are one program that was lucky or unlucky, and
``manual_seed(anything)`` is ``manual_seed()``.
"""

from __future__ import annotations

import ast
import re

from operators.languages.syntax import parse

_SEED_NAME = re.compile(
    r"(?i)(.*_)?((random|manual|torch|global)?seeds?|p?rngs?|random_?(state|key))(_?(state|key|offset|base|value|[0-9]+))?"
)
_SEEDING = frozenset(
    {"manual_seed", "manual_seed_all", "seed", "seed_all", "seed_everything", "set_seed", "default_rng"}
)
_IGNORED_FIELDS = frozenset({"ctx", "type_comment", "type_ignores", "kind"})
_FIELDS: dict[type, tuple[str, ...]] = {}


def is_seed_name(name: str) -> bool:
    """Return whether a name is that of a seed: ``SEED``, ``data_seed``, ``SEEDS``, ``RANDOM_STATE``, ``RNG``."""
    return _SEED_NAME.fullmatch(name) is not None


def syntax_tokens(text: str) -> list[str]:
    """Return the tokens of the normalised syntax tree. Raises ``Unparsable`` and RecursionError."""
    out: list[str] = []
    _write(parse(text), out)
    return out


def _write(node: ast.AST, out: list[str]) -> None:
    """Append the node's tokens in depth-first order; one flat list is twice as fast as ``ast.dump``."""
    kind = node.__class__
    fields = _FIELDS.get(kind)
    if fields is None:
        fields = _FIELDS[kind] = tuple(f for f in kind._fields if f not in _IGNORED_FIELDS)
    out.append(kind.__name__)
    if kind is ast.Constant:
        out.append(repr(node.value))  # type: ignore[attr-defined]
        return
    if kind in _SPECIAL and _write_special(node, out):
        return
    for field in fields:
        value = getattr(node, field, None)
        if value.__class__ is list:
            out.append("[")
            for item in value:
                if isinstance(item, ast.AST):
                    if not _is_bare_constant(item):
                        _write(item, out)
                else:
                    out.append(repr(item))
            out.append("]")
        elif isinstance(value, ast.AST):
            _write(value, out)
        else:
            out.append(repr(value))


_SPECIAL = frozenset({ast.Assign, ast.AnnAssign, ast.Call, ast.keyword})


def _write_special(node: ast.AST, out: list[str]) -> bool:
    """Append a node that seeds a generator, without the seed. Return False for any other node."""
    match node:
        case ast.Assign(targets=[ast.Name(id=name)], value=ast.Constant()) if is_seed_name(name):
            out.append(name)
        case ast.AnnAssign(target=ast.Name(id=name), value=ast.Constant()) if is_seed_name(name):
            out.append(name)
        case ast.keyword(arg=str(name), value=ast.Constant()) if is_seed_name(name):
            out.append(name)
        case ast.Call(func=ast.Attribute(attr=name) | ast.Name(id=name) as function) if name in _SEEDING:
            _write(function, out)
        case _:
            return False
    return True


def _is_bare_constant(node: ast.AST) -> bool:
    """Return whether a node is a docstring or another constant as a statement, which does nothing."""
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
