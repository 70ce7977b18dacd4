"""JSON by the C functions that the package ``json`` calls, without that package.

Its import compiles regular expressions, which takes 10 ms: longer than an interpreter takes to start, in a sandbox that
is new for each candidate.
"""

from __future__ import annotations

from _json import encode_basestring, encode_basestring_ascii, make_encoder, make_scanner

TYPE_CHECKING = False  # as typing has it, which takes as long to import as an interpreter to start
if TYPE_CHECKING:
    from typing import Any

_BLANKS = " \t\n\r"
_CONSTANTS = {"NaN": float("nan"), "Infinity": float("inf"), "-Infinity": float("-inf")}


class _Reading:
    """What ``make_scanner`` asks of a ``json.JSONDecoder``; these are its defaults."""

    strict = True
    object_hook = object_pairs_hook = None
    parse_float = float
    parse_int = int
    parse_constant = _CONSTANTS.__getitem__


def _refuse(value: Any) -> Any:
    raise TypeError(f"a value of type {type(value).__name__} is not JSON")


def _encoder(quoted: Any) -> Any:
    return make_encoder(None, _refuse, quoted, None, ": ", ", ", False, False, True)


_scan = make_scanner(_Reading)  # type: ignore[arg-type]
_ascii, _unicode = _encoder(encode_basestring_ascii), _encoder(encode_basestring)


def to_json(value: Any, *, ascii_only: bool = True) -> str:
    """Return the text of ``json.dumps``. Raises TypeError for other values, RecursionError for deep ones."""
    return "".join((_ascii if ascii_only else _unicode)(value, 0))


def from_json(text: str) -> Any:
    """Return the value of ``json.loads``. Raises ValueError for other text, RecursionError for deep nesting."""
    text = text.strip(_BLANKS)
    try:
        value, end = _scan(text, 0)
    except StopIteration as nothing:
        raise ValueError(f"no JSON value begins at character {nothing.value}") from None
    if end != len(text):
        raise ValueError(f"characters follow the JSON value that ends at {end}")
    return value
