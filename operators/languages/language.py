"""Languages of programs: what operators know of a file by its name.

``language_for("src/main.c")`` returns the adapter; plain text is the last resort. To add a language with line comments,
add its suffixes to ``_FAMILIES``; one with a parser of its own is a class with the members of ``Language``.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Protocol

from operators.languages.lexer import (
    CHARACTER,
    DASHES,
    DOUBLE,
    HASH,
    SINGLE,
    SLASHES,
    Lexicon,
    plain_tokens,
)
from operators.languages.marked import byte_span, literal_like, marked_parameters, number_of
from operators.languages.parameters import Number, Parameter, replaced
from operators.languages.python import Python
from operators.languages.values_by_path import READERS
from prepare.syntax import yaml_events

NOTHING: Mapping[str, str] = {}


class Language(Protocol):
    """What operators know of the files of one language."""

    def __hash__(self) -> int: ...

    @property
    def comments(self) -> tuple[str, ...]:
        """Marks of comments that end with their line; empty if there are none."""
        ...

    def parameters(self, text: str) -> tuple[Parameter, ...]:
        """Return the numbers that the numeric search may know of, in order. Raises ``Unparsable``."""
        ...

    def set_parameters(self, text: str, values: Mapping[str, Number]) -> str:
        """Return the text with new literals; all other bytes stay. Raises KeyError, ValueError or ``Unparsable``."""
        ...

    def tokens(self, text: str) -> tuple[str, ...]:
        """Return what counts of a text; two texts with the same tokens are one program. Raises ``Unparsable``."""
        ...

    def size(self, text: str) -> int:
        """Return a size that does not depend on comments, layout, names and digits."""
        ...

    def undefined_names(self, text: str) -> tuple[str, ...]:
        """Return names that are used and not defined, as far as that is certain."""
        ...


class _Other:
    """A language without a parser here: no parameters, and every character counts."""

    @property
    def comments(self) -> tuple[str, ...]:
        return ()

    def parameters(self, text: str) -> tuple[Parameter, ...]:
        return ()

    def set_parameters(self, text: str, values: Mapping[str, Number]) -> str:
        return replaced(text, self.parameters(text), values, lambda old, value, like: literal_like(old, value))

    def tokens(self, text: str) -> tuple[str, ...]:
        return plain_tokens(text)

    def size(self, text: str) -> int:
        return len(text.split())

    def undefined_names(self, text: str) -> tuple[str, ...]:
        return ()


class PlainText(_Other):
    """Prose, prompts, and languages that are not known."""


@dataclass(frozen=True, eq=False)
class Commented(_Other):
    """A language with comments: its parameters are the numbers that a ``tune:`` comment marks."""

    marks: tuple[str, ...]
    lexicon: Lexicon

    @property
    def comments(self) -> tuple[str, ...]:
        return self.marks

    def parameters(self, text: str) -> tuple[Parameter, ...]:
        return _marked(text, self.lexicon)

    def tokens(self, text: str) -> tuple[str, ...]:
        return self.lexicon.tokens(text)

    def size(self, text: str) -> int:
        return sum(1 for token in self.tokens(text) if token.strip())


class Yaml(Commented):
    """YAML: comments, layout and the style of lists and mappings do not count."""

    def tokens(self, text: str) -> tuple[str, ...]:
        try:
            return tuple(map(_event, yaml_events(text)))
        except ValueError:
            return plain_tokens(text)


class Json(_Other):
    """JSON: layout does not count."""

    def tokens(self, text: str) -> tuple[str, ...]:
        try:
            json.loads(text)
        except (ValueError, RecursionError):
            return plain_tokens(text)
        return _JSON.tokens(text)

    def size(self, text: str) -> int:
        return len(self.tokens(text))


@dataclass(frozen=True)
class WithDeclared(_Other):
    """A language whose files have numbers that the task declares by their path (``model.rate`` -> ``0.1..1 log``)."""

    base: Language
    suffix: str
    declared: tuple[tuple[str, str], ...]

    @property
    def comments(self) -> tuple[str, ...]:
        return self.base.comments

    def parameters(self, text: str) -> tuple[Parameter, ...]:
        by_path = _declared(text, self.suffix, self.declared)
        taken = {(parameter.start, parameter.name) for parameter in by_path}
        marked = [
            one
            for one in self.base.parameters(text)
            if not any(one.start == start or one.name == name for start, name in taken)
        ]
        return tuple(sorted((*by_path, *marked), key=lambda one: one.start))

    def tokens(self, text: str) -> tuple[str, ...]:
        return self.base.tokens(text)

    def size(self, text: str) -> int:
        return self.base.size(text)


@lru_cache(maxsize=4096)
def _marked(text: str, lexicon: Lexicon) -> tuple[Parameter, ...]:
    return marked_parameters(text, lexicon)


@lru_cache(maxsize=1024)
def _declared(text: str, suffix: str, declared: tuple[tuple[str, str], ...]) -> tuple[Parameter, ...]:
    """Return the declared numbers of a text, in order; a path that stands twice has no one value."""
    found = list(READERS[suffix](text))
    times, ranges = Counter(path for path, _ in found), dict(declared)
    numbers = (
        (path, number_of(text[start:end]), byte_span(text, start, end))
        for path, (start, end) in found
        if path in ranges and times[path] == 1
    )
    return tuple(Parameter(path, value, *span, ranges[path]) for path, value, span in numbers if value is not None)


def _event(event: object) -> str:
    """Return what counts of an event of YAML's parser."""
    names = ("anchor", "tag", "implicit", "value")
    return repr((type(event).__name__, *(getattr(event, name, None) for name in names)))


_JSON = Lexicon(r"(?!)", DOUBLE)
_LINES = r'"(?:\\[\s\S]|[^"\\])*+"'
"""A string that may go over several lines."""
_TRIPLE = r'"""[\s\S]*?(?:"""|\Z)'
_C = Lexicon(
    r"//(?:\\\r?\n|[^\n])*+|/\*[\s\S]*?(?:\*/|\Z)",
    rf'R"(?P<raw>[^()\\\s"]{{0,16}})\([\s\S]*?(?:\)(?P=raw)"|\Z)|{DOUBLE}|{SINGLE}',
    directives=True,
)
_RUST = Lexicon(SLASHES, rf'r(?P<raw>\#*+)"[\s\S]*?(?:"(?P=raw)|\Z)|{_LINES}|{CHARACTER}')
_GO = Lexicon(
    r"//(?!go:|export )[^\n]*+|/\*[\s\S]*?(?:\*/|\Z)", rf"`[^`]*+`|{DOUBLE}|{SINGLE}", "lines", unsure=r'import\s+"C"'
)
_SHELL = Lexicon(HASH, rf"\\[^\n]|{_LINES}|'[^']*+'", "indented", unsure=r"<<|\$\(|`|\$'")
_JULIA = Lexicon(HASH, rf"{_TRIPLE}|{_LINES}|{CHARACTER}", "indented", unsure=r"\$\(|`")
_SQL = Lexicon(r"--(?!\+)[^\n]*+|/\*(?![+!])[\s\S]*?(?:\*/|\Z)", r"'[^']*+'|\"[^\"]*+\"|`[^`]*+`", unsure=r"\$\w*\$")
_LUA = Lexicon(
    rf"--\[(?P<c>=*+)\[[\s\S]*?(?:\](?P=c)\]|\Z)|{DASHES}",
    rf"\[(?P<s>=*+)\[[\s\S]*?(?:\](?P=s)\]|\Z)|{DOUBLE}|{SINGLE}",
)
_TOML = Lexicon(HASH, rf"{_TRIPLE}|'''[\s\S]*?(?:'''|\Z)|{DOUBLE}|'[^'\n]*+'", "indented")
_R = Lexicon(HASH, rf"{_LINES}|'(?:\\[\s\S]|[^'\\])*+'|`[^`]*+`", "indented", unsure=r"\b[rR][\"']")
_JAVA = Lexicon(SLASHES, rf"{_TRIPLE}|{DOUBLE}|{SINGLE}")
_EXACT_SLASHES = Lexicon(SLASHES, rf"{DOUBLE}|{SINGLE}|`(?:\\[\s\S]|[^`\\])*+`", "exact")
_EXACT_HASH = Lexicon(HASH, rf"{DOUBLE}|{SINGLE}", "exact")

PYTHON = Python()
PLAIN_TEXT = PlainText()
_FAMILIES: tuple[tuple[str, Language], ...] = (
    ("py", PYTHON),
    ("c h cc cpp cxx hh hpp hxx cu cuh cl", Commented(("//",), _C)),
    ("rs", Commented(("//",), _RUST)),
    ("go", Commented(("//",), _GO)),
    ("java", Commented(("//",), _JAVA)),
    ("js mjs cjs ts cs kt kts scala swift zig metal glsl wgsl jsonc json5", Commented(("//",), _EXACT_SLASHES)),
    ("sh bash zsh", Commented(("#",), _SHELL)),
    ("jl", Commented(("#",), _JULIA)),
    ("r", Commented(("#",), _R)),
    ("toml", Commented(("#",), _TOML)),
    ("yaml yml", Yaml(("#",), _EXACT_HASH)),
    ("rb pl pm mk make cmake dockerfile ini cfg conf env properties", Commented(("#",), _EXACT_HASH)),
    ("sql", Commented(("--",), _SQL)),
    ("lua", Commented(("--",), _LUA)),
    ("json", Json()),
)
_NAMES = {"makefile": "make", "gnumakefile": "make", "cmakelists.txt": "cmake", "dockerfile": "dockerfile"}
"""Suffixes of files that have none."""
_LANGUAGES: Mapping[str, Language] = {
    suffix: language for suffixes, language in _FAMILIES for suffix in suffixes.split()
}


def language_for(path: str, declared: Mapping[str, str] = NOTHING) -> Language:
    """Return the language of a file by its name.

    Args:
        declared: Ranges of numbers by file and path (``config.json:model.rate``): ``prepare.task.Task.parameters``.
    """
    if not declared:
        return _language(path)
    return _language_with(path, tuple(item for item in declared.items() if item[0].startswith(f"{path}:")))


@lru_cache(maxsize=4096)
def _language(path: str) -> Language:
    return _LANGUAGES.get(_suffix(path), PLAIN_TEXT)


@lru_cache(maxsize=4096)
def _language_with(path: str, declared: tuple[tuple[str, str], ...]) -> Language:
    base, suffix = _language(path), _suffix(path)
    if not declared or suffix not in READERS:
        return base
    return WithDeclared(base, suffix, tuple((key.removeprefix(f"{path}:"), said) for key, said in declared))


def _suffix(path: str) -> str:
    name = path.rpartition("/")[2]
    if path.endswith(".py"):
        return "py"
    lower = name.lower()
    return "" if lower.endswith(".py") else _NAMES.get(lower, lower.rpartition(".")[2] if "." in lower else "")


__all__ = ["NOTHING", "PLAIN_TEXT", "PYTHON", "Commented", "Language", "language_for"]
