"""Python as a language of programs: everything is read from the syntax tree."""

from __future__ import annotations

import ast
from collections.abc import Mapping

from operators.languages.parameters import Number, Parameter, find_parameters, set_parameters
from operators.languages.python_names import undefined
from operators.languages.python_tokens import syntax_tokens
from operators.languages.syntax import Unparsable, parse


class Python:
    """Python: parameters are module-level ALL_CAPS constants, with or without a ``tune:`` comment."""

    comments = ("#",)

    def parameters(self, text: str) -> tuple[Parameter, ...]:
        return find_parameters(text)

    def set_parameters(self, text: str, values: Mapping[str, Number]) -> str:
        return set_parameters(text, values)

    def tokens(self, text: str) -> tuple[str, ...]:
        try:
            return tuple(syntax_tokens(text))
        except RecursionError:
            raise Unparsable("it is nested too deep") from None

    def size(self, text: str) -> int:
        """Count the syntax nodes, docstrings left out; of a text that does not parse, its words."""
        try:
            return sum(_count(node) for node in ast.walk(parse(text)))
        except (Unparsable, RecursionError):
            return len(text.split())

    def undefined_names(self, text: str) -> tuple[str, ...]:
        return undefined(text)


def _count(node: ast.AST) -> int:
    """Return 1 for a node that does something; 0 in sum for a docstring with its value, and for a name's context."""
    if isinstance(node, ast.expr_context):
        return 0
    return -1 if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) else 1
