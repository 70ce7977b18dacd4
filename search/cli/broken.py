"""Broken versions of a program, which a scorer must refuse or score worse."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping

from prepare import syntax
from prepare.blocks import outside_blocks


def broken_versions(files: Mapping[str, str], only_blocks: bool) -> Iterator[tuple[str, dict[str, str]]]:
    """Yield (description, files): the main file without content, and in Python with functions that return 0.

    ``only_blocks``: text outside of EVOLVE-BLOCK markers stays, so the blocks are emptied.
    """
    main, source = next(iter(files.items()))
    if only_blocks:
        yield "a program with empty blocks", {**files, main: "".join(outside_blocks(source))}
        return
    if main.endswith(".py") and (without := _returning_zero(source)) is not None:
        yield "a program whose functions return 0", {**files, main: without}
    yield "an empty program", {**files, main: "\n"}


def _returning_zero(source: str) -> str | None:
    """Return a Python program whose top-level functions do nothing but return 0; None if it has none."""
    tree = syntax.parse(source)
    functions = [statement for statement in tree.body if isinstance(statement, ast.FunctionDef)]
    for function in functions:
        function.body = [ast.Return(ast.Constant(0))]
    return ast.unparse(ast.fix_missing_locations(tree)) + "\n" if functions else None
