"""hybrid: a language model gives the program a new structure and names its constants; ``tune`` then searches these.

What a model is good at (a new block) and what it is bad at (its best setting) are kept apart: the answer must bring at
least one new module-level constant with a range that ``operators.numeric.search_space`` can read, and use it.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping

from archive.tree import Tree
from operators.base import Context
from operators.languages.parameters import Parameter, find_constants
from operators.languages.syntax import Unparsable, parse
from operators.numeric.search_space import is_misread
from operators.rewrite.answers.search_replace import InvalidAnswer, Proposal
from operators.rewrite.improve import of_a_scored_program
from operators.rewrite.operator import LlmOperator
from operators.rewrite.prompt.truncation import PromptParts
from operators.sanitize import one_line

Files = Mapping[str, str]


class Hybrid(LlmOperator):
    """A new structure with new constants, each with the range in which it is to be searched."""

    template = "hybrid"

    def suits(self, tree: Tree, node_id: str) -> bool:
        return tree.scored(node_id)

    def parts(self, node_id: str, context: Context) -> PromptParts:
        return of_a_scored_program(node_id, context)

    def check(self, proposal: Proposal, files: Files, parent: Files) -> None:
        new = list(_new_constants(files, parent))
        if misread := [constant for constant in new if is_misread(constant)]:
            raise InvalidAnswer(
                "a range is not of the form `low..high`, `low..high log`, `low..high step 8` or `1|2|4`",
                "\n".join(f"{c.name}: `tune: {one_line(c.tune or '', 60)}`" for c in misread[:5]),
            )
        if not any(constant.searchable and constant.tune is not None for constant in new):
            raise InvalidAnswer(
                "there is no new module-level constant with a range, such as `GATE = 0.5  # tune: 0..1`; "
                "name the numbers of the new structure that the numeric search shall find"
            )
        if idle := sorted(constant.name for constant in new if constant.name not in _used(files)):
            raise InvalidAnswer(f"{idle[0]} is named and never used; use it or leave it out")


def _new_constants(files: Files, parent: Files) -> Iterator[Parameter]:
    for path, text in files.items():
        if path.endswith(".py"):
            known = {constant.name for constant in _constants(parent.get(path, ""))}
            yield from (constant for constant in _constants(text) if constant.name not in known)


def _constants(text: str) -> tuple[Parameter, ...]:
    try:
        return find_constants(text)
    except Unparsable:  # the parent's fault, if at all: the answer has been parsed
        return ()


def _used(files: Files) -> set[str]:
    """All names that some Python file reads, attributes (``config.WIDTH``) included."""
    names: set[str] = set()
    for path, text in files.items():
        if path.endswith(".py"):
            for node in ast.walk(parse(text, path)):
                if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load):
                    names.add(node.id)
                elif isinstance(node, ast.Attribute):
                    names.add(node.attr)
    return names
