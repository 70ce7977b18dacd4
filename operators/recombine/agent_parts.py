"""Parts of an agent for its ablation: a program without one call of the language model, or without one role.

A call is each place in the source that calls the model (``agent_names``), also in a loop: without it the answer is an
empty text, and its arguments are still evaluated. A role is its second argument (``system``): it is made empty.

In an agent of ADAS a call is one of an ``LLMAgentBase``: without it all fields of its answer are empty. A role is the
argument ``role`` where such an agent is made: it becomes the default.
"""

from __future__ import annotations

import ast
import copy
from collections.abc import Callable, Iterator, Mapping

from operators.languages.syntax import Unparsable, parse
from operators.recombine.ablate import Removal
from operators.recombine.agent_names import INFO, AgentNames

SYSTEM, ROLE, PLAIN_ROLE = "system", "role", "helpful assistant"
_ROLE_PLACE = 2
"""Of ``role`` among the arguments of ``LLMAgentBase``."""
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


Edit = Callable[[ast.Call, AgentNames], bool]
"""Removes the part from a call in place; returns whether there was one."""


def _places(files: Mapping[str, str], edit: Edit) -> Iterator[tuple[str, int]]:
    """Yield (path, number of the call) of each call that has the part. Files that Python cannot parse have none."""
    for path in sorted(path for path in files if path.endswith(".py")):
        try:
            tree = copy.deepcopy(parse(files[path], path))
            names = AgentNames(tree)
        except (Unparsable, RecursionError):
            continue
        yield from ((path, place) for place, call in enumerate(_calls(tree)) if edit(call, names))


def _removed(source: str, place: int, edit: Edit) -> tuple[str, str]:
    """Return the description of the part and the source without it. Raises ValueError or RecursionError."""
    tree = copy.deepcopy(parse(source))
    call = _calls(tree)[place]
    words = f"line {call.lineno}: {ast.unparse(call)[:_SHOWN]}"
    edit(call, AgentNames(tree))
    return words, ast.unparse(ast.fix_missing_locations(tree)) + "\n"


def _calls(tree: ast.Module) -> list[ast.Call]:
    """Return all calls in the order of their lines."""
    found = [node for node in ast.walk(tree) if isinstance(node, ast.Call)]
    return sorted(found, key=lambda call: (call.lineno, call.col_offset, -(call.end_col_offset or 0)))


def _without_answer(call: ast.Call, names: AgentNames) -> bool:
    """Have a function answer that returns an empty text or empty fields, whatever its arguments."""
    agent = call.func.value if isinstance(call.func, ast.Attribute) and call.func.attr == "query" else call.func
    if "agent" in names.of(agent):
        call.func = _whatever(_empty_fields(agent))
    elif "model" in names.of(call.func):
        call.func = _whatever(ast.Constant(""))
    else:
        return False
    return True


def _whatever(value: ast.expr) -> ast.Lambda:
    return ast.Lambda(ast.arguments([], [], ast.arg("_"), [], [], ast.arg("__"), []), value)


def _empty_fields(agent: ast.expr) -> ast.expr:
    """Return an expression for the answer of an agent of ADAS whose fields are empty."""
    field, plain = ast.Name("field", ast.Load()), ast.Constant("")
    made = ast.Call(ast.Name(INFO, ast.Load()), [field, plain, plain, ast.Constant(-1)], [])
    fields = ast.Attribute(copy.deepcopy(agent), "output_fields", ast.Load())
    return ast.ListComp(made, [ast.comprehension(ast.Name("field", ast.Store()), fields, [], 0)])


def _without_role(call: ast.Call, names: AgentNames) -> bool:
    if names.makes_agent(call):
        return _set_argument(call, ROLE, _ROLE_PLACE, PLAIN_ROLE)
    return "model" in names.of(call.func) and _set_argument(call, SYSTEM, 1, "")


def _set_argument(call: ast.Call, name: str, place: int, plain: str) -> bool:
    """Set an argument to its default; return whether it was something else."""
    for keyword in call.keywords:
        if keyword.arg == name and not _is_plain(keyword.value, plain):
            keyword.value = ast.Constant(plain)
            return True
    before = call.args[: place + 1]
    if len(before) <= place or any(isinstance(each, ast.Starred) for each in before) or _is_plain(before[-1], plain):
        return False
    call.args[place] = ast.Constant(plain)
    return True


def _is_plain(value: ast.expr, plain: str) -> bool:
    return isinstance(value, ast.Constant) and value.value in (plain, None)
