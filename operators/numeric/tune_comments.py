"""``tune:`` comments that have no effect, and why, so that a user is told of them before a search."""

from __future__ import annotations

import ast
import io
import re
import tokenize
from collections.abc import Iterator, Mapping

from operators.languages.bindings import binding_counts
from operators.languages.language import NOTHING, PYTHON, Commented, Language, language_for
from operators.languages.marked import marks
from operators.languages.parameters import Parameter, find_parameters
from operators.languages.syntax import Unparsable, parse
from operators.numeric.search_space import format_range, has_invalid_range, range_of
from operators.sanitize import one_line

_TUNE = re.compile(r"\btune:\s*(.*)")
_FORM = "expected `low..high`, `low..high log`, `low..high step 8`, `1|2|4` or `no`"


def unused_comments(files: Mapping[str, str], declared: Mapping[str, str] = NOTHING) -> list[str]:
    """Return a sentence for each ``tune:`` comment, and each declared number, that does not do what it says.

    Args:
        declared: Ranges of numbers by file and path (``prepare.task.Task.parameters``).
    """
    unused = [
        f"{path} line {line}: `tune: {one_line(said, 60)}` {reason}"
        for path, text in sorted(files.items())
        for line, said, reason in _unused_of(language_for(path), text)
    ]
    return [*unused, *_unused_declarations(files, declared)]


def _unused_of(language: Language, text: str) -> Iterator[tuple[int, str, str]]:
    """Yield (line, text after ``tune:``, reason)."""
    if language is PYTHON:
        yield from _unused(text)
    elif isinstance(language, Commented):
        known = {parameter.start for parameter in language.parameters(text)}
        for mark in marks(text, language.lexicon):
            if mark.parameter is None:
                reason = "has no effect: it does not stand behind a decimal number with a name"
            elif mark.parameter.start not in known:
                reason = (
                    f"has no effect: {mark.parameter.name} is marked more than once, so it has no one value to change"
                )
            else:
                reason = _fault(mark.parameter)
            if reason:
                yield mark.line, mark.tune, reason


def _unused_declarations(files: Mapping[str, str], declared: Mapping[str, str]) -> Iterator[str]:
    """Yield a sentence for each entry of ``task.parameters`` without a number, or with a range that is none."""
    for key, said in declared.items():
        path, _, name = key.partition(":")
        found = language_for(path, declared).parameters(files[path]) if path in files else ()
        parameter = next((one for one in found if one.name == name and one.tune == said), None)
        if parameter is None:
            yield f"task.parameters has {key!r}, which names no number of a JSON or YAML file of the program"
        elif reason := _fault(parameter):
            yield f"task.parameters has {key!r}: `{said[:60]}` {reason}"


def _unused(text: str) -> Iterator[tuple[int, str, str]]:
    """Yield (line, text after ``tune:``, reason)."""
    try:
        tree, known = parse(text), {parameter.name: parameter for parameter in find_parameters(text)}
    except Unparsable:
        return
    bound = binding_counts(tree)
    for line, said in _comments(text):
        name = _name_at(tree, line)
        if name is None:
            reason = "has no effect: it does not stand behind a constant `NAME = number` at the top level of the module"
        elif name in known:
            reason = _fault(known[name])
        elif bound[name] > 1:
            reason = f"has no effect: {name} is bound more than once, so it has no one value to change"
        else:
            reason = f"has no effect: the value of {name} is no number"
        if reason:
            yield line, said, reason


def _fault(parameter: Parameter) -> str:
    """Return what is wrong with the comment of a parameter; empty if nothing is."""
    if has_invalid_range(parameter):
        span = range_of(parameter)
        instead = "it is not searched" if span is None else f"`{format_range(span)}` is searched instead"
        return f"is not understood: {_FORM}; {instead}"
    if not parameter.searchable and not (parameter.tune or "").startswith("no"):
        return f"has no effect: {parameter.name} is never searched, as seeds, vocabularies and devices are not"
    return ""


def _comments(text: str) -> Iterator[tuple[int, str]]:
    """Yield the line of each ``tune:`` comment, and what follows the word."""
    try:
        for token in tokenize.generate_tokens(io.StringIO(text).readline):
            if token.type == tokenize.COMMENT and (found := _TUNE.search(token.string)):
                yield token.start[0], found[1].strip()
    except (tokenize.TokenError, SyntaxError):
        return


def _name_at(tree: ast.Module, line: int) -> str | None:
    """Return the name that the last statement ending on a line assigns; None if it assigns no single name."""
    for statement in reversed(tree.body):
        value = getattr(statement, "value", None)
        ends = {statement.end_lineno, value.end_lineno if isinstance(value, ast.expr) else None}
        if line in ends:
            targets = statement.targets if isinstance(statement, ast.Assign) else [getattr(statement, "target", None)]
            only = targets[0] if len(targets) == 1 else None
            return only.id if isinstance(only, ast.Name) and value is not None else None
    return None
