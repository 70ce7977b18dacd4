"""Parts of an agent for its ablation: a program without one call of the language model, or without one role.

A call is each place in the source that calls the name ``llm``, also in a loop: without it the answer is an empty text,
and its arguments are still evaluated. A role is the second argument of such a call (``system``): it is made empty.
"""

from __future__ import annotations

import ast
import copy
from collections.abc import Callable, Iterator, Mapping
from functools import partial

from operators.languages.syntax import Unparsable, parse
from operators.recombine.ablate import Removal

MODEL, SYSTEM = "llm", "system"
_SHOWN = 60
Entangled = tuple[str, str, str]
"""Id, description and reason of a part that cannot be removed."""


def without_parts(files: Mapping[str, str]) -> tuple[tuple[Removal, ...], tuple[Entangled, ...]]:
    """Return the program without each call (``call-01``) and role (``role-01``), and what cannot be removed."""
    removals: list[Removal] = []
    entangled: list[Entangled] = []
    for kind, edit in (("call", _without_answer), ("role", _without_role)):
        for number, (path, place) in enumerate(_places(files, edit), 1):
            name = f"{kind}-{number:02}"
            try:
                words, text = _removed(files[path], place, edit)
                removals.append(Removal(name, f"{path} {words}", {**files, path: text}))
            except (ValueError, RecursionError) as error:  # an f-string that cannot be written again, deep nesting
                entangled.append((name, path, f"the program cannot be written without it: {error}"))
    return tuple(removals), tuple(entangled)


Edit = Callable[[ast.Call], bool]
"""Removes the part from a call in place; returns whether there was one."""


def _places(files: Mapping[str, str], edit: Edit) -> Iterator[tuple[str, int]]:
    """Yield (path, number of the call) of each call that has the part. Files that Python cannot parse have none."""
    for path in sorted(path for path in files if path.endswith(".py")):
        try:
            calls = _calls(copy.deepcopy(parse(files[path], path)))
        except (Unparsable, RecursionError):
            continue
        yield from ((path, place) for place, call in enumerate(calls) if edit(call))


def _removed(source: str, place: int, edit: Edit) -> tuple[str, str]:
    """Return the description of the part and the source without it. Raises ValueError or RecursionError."""
    tree = copy.deepcopy(parse(source))
    call = _calls(tree)[place]
    words = f"line {call.lineno}: {ast.unparse(call)[:_SHOWN]}"
    edit(call)
    return words, ast.unparse(ast.fix_missing_locations(tree)) + "\n"


def _calls(tree: ast.Module) -> list[ast.Call]:
    """Return the calls of the model in the order of their lines."""
    found = [
        node
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == MODEL
    ]
    return sorted(found, key=lambda call: (call.lineno, call.col_offset))


def _without_answer(call: ast.Call) -> bool:
    """Have a function answer that returns an empty text, whatever its arguments."""
    anything = ast.arguments([], [], ast.arg("_"), [], [], ast.arg("__"), [])
    call.func = ast.Lambda(anything, ast.Constant(""))
    return True


def _without_role(call: ast.Call) -> bool:
    set_role = _role(call)
    if set_role is None:
        return False
    set_role(ast.Constant(""))
    return True


def _role(call: ast.Call) -> Callable[[ast.expr], None] | None:
    """Return what sets the role of a call, or None for a call without one."""
    for keyword in call.keywords:
        if keyword.arg == SYSTEM and not _is_empty(keyword.value):
            return partial(setattr, keyword, "value")
    if len(call.args) < 2 or any(isinstance(each, ast.Starred) for each in call.args[:2]) or _is_empty(call.args[1]):
        return None
    return partial(call.args.__setitem__, 1)


def _is_empty(value: ast.expr) -> bool:
    return isinstance(value, ast.Constant) and not value.value
