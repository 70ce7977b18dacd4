"""Names of an agent's program that stand for its language model, or for an agent of ADAS, by their assignments.

``llm`` is the model, and so is what it is assigned to (``ask = llm``) or passed to as an argument of a function of the
same file. An agent is what ``LLMAgentBase(...)`` returned, in a list or a dict, too. Names are resolved by scope, not
by the order of statements: a name that is assigned a model in one place counts as one everywhere in its scope.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from typing import Literal

Kind = Literal["model", "agent", "agents"]
"""``agents``: a list, tuple or dict of agents, or what goes through them."""
MODEL, AGENT, INFO = "llm", "LLMAgentBase", "Info"
_Scope = ast.Module | ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda
_SCOPES = (ast.Module, ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)
_THROUGH = ("enumerate", "zip", "reversed", "list", "tuple", "sorted")


class AgentNames:
    """Kinds of the expressions of one module."""

    def __init__(self, tree: ast.Module) -> None:
        self._scopes: dict[ast.AST, _Scope] = {tree: tree}
        self._kinds: dict[tuple[_Scope, str], set[Kind]] = {}
        self._enter(tree, tree)
        self._functions = {node.name: node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}
        self._has_info = any((tree, INFO) == key for key in self._kinds)
        while self._spread(tree):
            pass

    def of(self, value: ast.expr) -> set[Kind]:
        """Return what an expression may stand for; empty for anything else."""
        if isinstance(value, ast.Name):
            return {"model"} if value.id == MODEL else self._kinds.get(self._place(value), set())
        if isinstance(value, ast.Call):
            return self._of_call(value)
        if isinstance(value, ast.Subscript):
            return self._inside(value.value)
        if isinstance(value, ast.IfExp):
            return self.of(value.body) | self.of(value.orelse)
        if isinstance(value, ast.NamedExpr):
            return self.of(value.value)
        return {"agents"} if any("agent" in self.of(each) for each in _elements(value)) else set()

    def makes_agent(self, call: ast.Call) -> bool:
        """Return whether a call is ``LLMAgentBase(...)``, in a module that also knows ``Info``."""
        return self._has_info and isinstance(call.func, ast.Name) and call.func.id == AGENT

    def _of_call(self, call: ast.Call) -> set[Kind]:
        if self.makes_agent(call):
            return {"agent"}
        through = isinstance(call.func, ast.Name) and call.func.id in _THROUGH
        values = isinstance(call.func, ast.Attribute) and call.func.attr in ("values", "items")
        found = [self.of(each) for each in call.args] if through else []
        found += [self.of(call.func.value)] if values and isinstance(call.func, ast.Attribute) else []
        return {"agents"} if any("agents" in each for each in found) else set()

    def _inside(self, value: ast.expr) -> set[Kind]:
        return {"agent"} if "agents" in self.of(value) else set()

    # ------------------------------------------------------------ scopes

    def _enter(self, node: ast.AST, scope: _Scope) -> None:
        """Note the scope of each node, and the names that each scope binds."""
        for child in ast.iter_child_nodes(node):
            self._scopes[child] = scope
            for name in _bound(child):
                self._kinds.setdefault((scope, name), set())
            inner = child if isinstance(child, _SCOPES) else scope
            if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
                self._kinds.update({(child, name): set() for name in _parameters(child)})
            self._enter(child, inner)

    def _place(self, name: ast.Name) -> tuple[_Scope, str]:
        """Return the scope that binds a name, from the inside outwards."""
        scope = self._scopes[name]
        while (scope, name.id) not in self._kinds and not isinstance(scope, ast.Module):
            scope = self._scopes[scope]
        return scope, name.id

    # ------------------------------------------------------------ assignments

    def _spread(self, tree: ast.Module) -> bool:
        """Pass kinds on by one step; return whether anything changed."""
        before = sum(map(len, self._kinds.values()))
        for node in ast.walk(tree):
            for target, kinds in self._passed(node):
                self._kinds.setdefault(target, set()).update(kinds)
        return sum(map(len, self._kinds.values())) > before

    def _passed(self, node: ast.AST) -> Iterator[tuple[tuple[_Scope, str], set[Kind]]]:
        if isinstance(node, ast.Assign):
            for target in node.targets:
                yield from self._to(target, self.of(node.value))
        elif isinstance(node, ast.AnnAssign | ast.NamedExpr) and node.value is not None:
            yield from self._to(node.target, self.of(node.value))
        elif isinstance(node, ast.For | ast.AsyncFor | ast.comprehension):
            yield from self._each(node.target, self._inside(node.iter))
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in self._functions:
            yield from self._arguments(node, self._functions[node.func.id])

    def _to(self, target: ast.expr, kinds: set[Kind]) -> Iterator[tuple[tuple[_Scope, str], set[Kind]]]:
        if isinstance(target, ast.Name):
            yield self._place(target), kinds

    def _each(self, target: ast.expr, kinds: set[Kind]) -> Iterator[tuple[tuple[_Scope, str], set[Kind]]]:
        for name in ast.walk(target):
            if isinstance(name, ast.Name):
                yield self._place(name), kinds

    def _arguments(self, call: ast.Call, function: ast.FunctionDef) -> Iterator[tuple[tuple[_Scope, str], set[Kind]]]:
        for name, value in zip(_parameters(function), call.args, strict=False):
            yield (function, name), self.of(value)
        for keyword in call.keywords:
            if keyword.arg in _parameters(function):
                yield (function, keyword.arg), self.of(keyword.value)


def _elements(value: ast.expr) -> list[ast.expr]:
    """Return the expressions that a list, tuple or dict is made of."""
    if isinstance(value, ast.List | ast.Tuple | ast.Set):
        return value.elts
    if isinstance(value, ast.ListComp | ast.GeneratorExp | ast.SetComp):
        return [value.elt]
    if isinstance(value, ast.Dict):
        return value.values
    return [value.value] if isinstance(value, ast.DictComp) else []


def _bound(node: ast.AST) -> list[str]:
    """Return the names that a node binds in its scope."""
    if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
        return [node.id]
    if isinstance(node, ast.Import | ast.ImportFrom):
        return [(alias.asname or alias.name).split(".")[0] for alias in node.names]
    return [node.name] if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef) else []


def _parameters(function: ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda) -> list[str]:
    arguments = function.args
    return [each.arg for each in (*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs)]
