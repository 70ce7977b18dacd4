"""Typed configuration: dataclasses made of the plain values that YAML and the command line give.

``typed`` checks each value against the annotation of its field, so that no other code looks values up by a string or
checks their types. What a class of the user's own takes is known to that class alone: ``Part`` carries its options as
they are until it is made.
"""

from __future__ import annotations

import difflib
import math
import types
from collections.abc import Iterable, Mapping
from dataclasses import MISSING, Field, dataclass, fields, is_dataclass
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from prepare.known import locate

Plain = Mapping[str, Any]
"""Values as YAML or JSON gives them: null, booleans, numbers, texts, lists, mappings."""

T = TypeVar("T")

_WORDS: dict[Any, str] = {int: "a whole number", float: "a number", str: "a text", bool: "true or false"}


class SettingsError(Exception):
    """The configuration cannot be used; the message names the key, the value, and what was expected."""


@dataclass(frozen=True)
class Part:
    """A class named by ``_target_``, with the options that are its own."""

    target: str
    options: Plain

    @classmethod
    def of(cls, values: object, where: str) -> Part:
        """The part of a section of the configuration. Raises ValueError if it names no class."""
        target = values.get("_target_") if isinstance(values, Mapping) else None
        if not isinstance(values, Mapping) or not isinstance(target, str):
            raise ValueError(f"{where} names no class; expected {where}._target_=package.module.Class")
        return cls(target, {str(key): value for key, value in values.items() if key != "_target_"})

    @property
    def plain(self) -> dict[str, Any]:
        """The section of the configuration, as it was."""
        return {"_target_": self.target, **self.options}

    def located(self) -> Any:
        """The class. Raises TaskError."""
        return locate(self.target)

    def make(self, *arguments: Any) -> Any:
        """An instance. Raises TaskError if there is no such class, and TypeError or ValueError as that class does."""
        return self.located()(*arguments, **self.options)


def typed(kind: type[T], values: object, where: str) -> T:
    """A dataclass of plain values.

    Raises ValueError with the dotted key, the value and what was expected: for a key that ``kind`` has not, a missing
    one, a value of another type, and a number that is not finite where the default is; and what ``kind`` raises.
    """
    if not isinstance(values, Mapping):
        raise ValueError(f"{where} is {values!r}; expected {_listed(kind)}")
    known = {part.name: part for part in fields(kind) if part.init}  # type: ignore[arg-type]
    for key in values:
        if key not in known:
            raise ValueError(f"{where} has no {key!r}{did_you_mean(str(key), known)}; expected {_listed(kind)}")
    hints = get_type_hints(kind)
    made = {key: _value(hints[key], known[key], value, f"{where}.{key}") for key, value in values.items()}
    for name, part in known.items():
        if name not in made and part.default is MISSING and part.default_factory is MISSING:
            raise ValueError(f"{where}.{name} is missing; expected {expected(hints[name])}")
    return kind(**made)


def did_you_mean(key: str, known: Iterable[str]) -> str:
    """`` (did you mean X?)`` where a known key other than this one is near, else empty."""
    near = difflib.get_close_matches(key, [name for name in known if name != key], n=1, cutoff=0.6)
    return f" (did you mean {near[0]}?)" if near else ""


def expected(hint: Any) -> str:
    """The values that an annotation allows, in words."""
    if get_origin(hint) is Literal:
        return " or ".join(map(repr, get_args(hint)))
    if (inner := _inner(hint)) is not None:
        return f"{expected(inner)}, or null"
    origin = get_origin(hint) or hint
    if origin in (list, tuple):
        return "a list"
    return _WORDS.get(hint, "a mapping")


def _value(hint: Any, part: Field[Any], value: Any, where: str) -> Any:
    if value is None and _inner(hint) is not None:
        return None
    hint = _inner(hint) or hint
    if is_dataclass(hint) and isinstance(hint, type):
        return value if isinstance(value, hint) else typed(hint, value, where)
    if hint is int and isinstance(value, float) and value.is_integer():
        return int(value)  # 1e6
    if not _is(hint, value):
        raise ValueError(f"{where} is {value!r}; expected {expected(_declared(part, hint))}")
    if isinstance(value, float) and not math.isfinite(value) and not _may_be_infinite(part, value):
        raise ValueError(f"{where} is {value!r}; expected a finite number")
    return value


def _declared(part: Field[Any], hint: Any) -> Any:
    return hint | None if part.default is None and isinstance(hint, type) else hint


def _is(hint: Any, value: Any) -> bool:
    """Return whether a value is of the annotated type; an annotation that is no type of plain values allows any."""
    if get_origin(hint) is Literal:
        return value in get_args(hint)
    if hint in (int, float):
        return isinstance(value, int if hint is int else (int, float)) and not isinstance(value, bool)
    if hint in (str, bool):
        return isinstance(value, hint)
    origin = get_origin(hint)
    if origin in (list, tuple):
        return isinstance(value, list | tuple)
    return isinstance(value, Mapping) if origin in (dict, Mapping) else True


def _may_be_infinite(part: Field[Any], value: float) -> bool:
    return not math.isnan(value) and isinstance(part.default, float) and math.isinf(part.default)


def _inner(hint: Any) -> Any:
    """The type beside None in ``X | None``; None for any other annotation."""
    if get_origin(hint) not in (Union, types.UnionType):
        return None
    rest = [each for each in get_args(hint) if each is not type(None)]
    return rest[0] if len(rest) == 1 and type(None) in get_args(hint) else None


def _listed(kind: Any) -> str:
    return ", ".join(part.name for part in fields(kind) if part.init)
