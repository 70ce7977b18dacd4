"""Overrides as text: from what a user types to what Hydra's grammar reads, and from a value to an override.

Hydra's grammar reads ``run=größe``, ``archive=a=b.duckdb`` or ``llm.key=a#b`` as errors, and ``run=1e3`` as a number.
``readable`` quotes such values, so that they mean what they say; ``written`` is its inverse, for commands that are
printed: ``readable(written(key, text))`` sets ``key`` to ``text``, whatever the text.
"""

from __future__ import annotations

import re
from functools import cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from hydra.core.override_parser.types import Override

TEXTS = frozenset({"archive", "prompts", "run"})
"""Keys whose values are texts, also where the grammar reads a number."""

_OPEN = re.compile(r"llm\.(?:models\.[^.=]+\.)?extra(?:\.[^=]+)?")
"""Keys of mappings that take any key: further fields of a model's request."""
_ASSIGNMENT = re.compile(r"(?P<key>[+~]*[^=\s]+)=(?P<value>.*)", re.DOTALL)
_OPENING = re.compile(r"""['"\[{(]|[A-Za-z_]\w*\(""")
"""Beginning of a value that is meant in Hydra's grammar: a quotation, a list, a mapping or a function."""


def key_of(override: str) -> str:
    """Return the key of an override: ``task.seconds`` for ``+task.seconds=3``."""
    return override.split("=", 1)[0].lstrip("+~")


def opened(override: str) -> str:
    """Return an override that may add keys, if its mapping takes any: ``llm.extra={top_p: 0.9}``."""
    return f"++{override}" if override[:1] not in "+~" and _OPEN.fullmatch(key_of(override)) else override


@cache
def readable(override: str) -> str:
    """Return a typed override in Hydra's grammar; unchanged if that reads it, or if quotes would not help."""
    found = _ASSIGNMENT.fullmatch(override)
    if found is None:
        return override
    key, value = found["key"], found["value"].strip()
    read = parsed_or_none(override)
    if read is not None:
        return f"{key}={quoted(value)}" if key_of(override) in TEXTS and _is_number(read) else override
    if _OPENING.match(value):
        return override
    tried = (f"{key}={','.join(map(_element, _elements(value)))}", f"{key}={quoted(value)}")
    better = next((each for each in tried if parsed_or_none(each) is not None), override)
    return override if better == override else readable(better)


def written(key: str, text: str) -> str:
    """Return the override that sets a key to a text: as it is where that means the text, else quoted and escaped."""
    plain = f"{key}={text}"
    read = parsed_or_none(readable(plain))
    if "${" not in text and read is not None and not read.is_sweep_override() and read.value() == text:
        return plain
    escaped = re.sub(r"(\\*)\$\{", r"\1\1\\${", text)  # else an interpolation
    return f"{key}={quoted(escaped)}"


def value_of(override: str) -> str:
    """Return the value of an override as text, without the quotes of the grammar."""
    read = parsed_or_none(override)
    value = None if read is None or read.is_sweep_override() else read.value()
    return value if isinstance(value, str) else override.partition("=")[2]


def quoted(text: str) -> str:
    """Quote text for Hydra's grammar. Interpolations in it stay interpolations."""
    from hydra.core.override_parser.types import Quote, QuotedString

    return QuotedString(text, Quote.double).with_quotes()


def parsed_or_none(override: str) -> Override | None:
    """Return the parsed override; None if Hydra's grammar does not read it."""
    from hydra.core.override_parser.overrides_parser import OverridesParser
    from hydra.errors import HydraException

    try:
        return OverridesParser.create().parse_override(override)
    except (HydraException, ValueError):  # ValueError: of a number with thousands of digits
        return None


def _is_number(override: Override) -> bool:
    value: Any = None if override.is_sweep_override() or override.is_delete() else override.value()
    return isinstance(value, int | float) and not isinstance(value, bool)


def _elements(value: str) -> list[str]:
    """Split a value at its commas, as for a sweep; a value with quotes in it is one element."""
    return [value] if re.search(r"""['"]""", value) else [each.strip() for each in value.split(",")]


def _element(text: str) -> str:
    return quoted(text) if parsed_or_none(f"key={text}") is None else text
