"""hybrid: a language model adds a new structure with named parameters, which ``tune`` then searches.

This separates what models are good at (a new block) from what they are bad at (its best setting): the answer must
define and use at least one new parameter with a range in the grammar of ``operators.numeric.search_space``.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator, Sequence

from archive.tree import Tree
from operators.base import Context
from operators.languages.files import Files
from operators.languages.language import PYTHON, language_for
from operators.languages.parameters import Parameter
from operators.languages.syntax import Unparsable, parse
from operators.numeric.search_space import has_invalid_range
from operators.rewrite.answers.search_replace import InvalidAnswer, Proposal
from operators.rewrite.improve import sections_of_scored_program
from operators.rewrite.operator import LlmOperator
from operators.rewrite.prompt.truncation import PromptSections
from operators.sanitize import one_line


class Hybrid(LlmOperator):
    """Ask for a new structure with new parameters and their ranges."""

    template = "hybrid"

    def accepts(self, tree: Tree, node_id: str) -> bool:
        return tree.scored(node_id)

    def prompt_sections(self, node_id: str, context: Context) -> PromptSections:
        return sections_of_scored_program(node_id, context)

    def check(self, proposal: Proposal, files: Files, parent: Files) -> None:
        new = list(_new_parameters(files, parent))
        if invalid := [parameter for parameter in new if has_invalid_range(parameter)]:
            raise InvalidAnswer(
                "a range is not of the form `low..high`, `low..high log`, `low..high step 8` or `1|2|4`",
                "\n".join(f"{p.name}: `tune: {one_line(p.tune or '', 60)}`" for p in invalid[:5]),
            )
        if not any(parameter.searchable and parameter.tune is not None for parameter in new):
            raise InvalidAnswer(
                f"there is no new {_example(files)}; name the numbers of the new structure that the numeric search is "
                "to find"
            )
        if idle := _idle(files, new):
            raise InvalidAnswer(f"{idle[0]} is defined and never used; use it or leave it out")


def _example(files: Files) -> str:
    """Return what a parameter with a range is, in the language of the program."""
    languages = [language_for(path) for path in files]
    if PYTHON in languages:
        return "module-level constant with a range, such as `GATE = 0.5  # tune: 0..1`"
    mark = next((language.comments[0] for language in languages if language.comments), "#")
    return f"named number with a range in a comment behind it, such as `GATE = 0.5 {mark} tune: 0..1`"


def _new_parameters(files: Files, parent: Files) -> Iterator[Parameter]:
    for path, text in files.items():
        known = {parameter.name for parameter in _parameters(path, parent.get(path, ""))}
        yield from (parameter for parameter in _parameters(path, text) if parameter.name not in known)


def _parameters(path: str, text: str) -> tuple[Parameter, ...]:
    try:
        return language_for(path).parameters(text)
    except Unparsable:  # only possible for the parent: the answer was parsed
        return ()


def _idle(files: Files, new: Sequence[Parameter]) -> list[str]:
    """Return the names of new parameters that no file reads; none where that cannot be told, as beside a C file."""
    if any(language_for(path) is not PYTHON for path in files):
        return []
    used = _used(files)
    return sorted(parameter.name for parameter in new if parameter.name not in used)


def _used(files: Files) -> set[str]:
    """Return all names that Python files read, attributes (``config.WIDTH``) included."""
    names: set[str] = set()
    for path, text in files.items():
        for node in ast.walk(parse(text, path)):
            if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load):
                names.add(node.id)
            elif isinstance(node, ast.Attribute):
                names.add(node.attr)
    return names
