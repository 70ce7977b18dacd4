"""Typed configuration: dataclasses made of the plain values that YAML and the command line give.

``typed`` checks each value against the annotation of its field, so that no other code looks values up by a string or
checks their types. What a class of the user's own takes is known to that class alone: ``Part`` carries its options as
they are until it is made.
"""

from __future__ import annotations

import difflib
import inspect
import math
import types
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import MISSING, Field, dataclass, field, fields, is_dataclass
from pathlib import Path
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from prepare.known import locate

Plain = Mapping[str, Any]
"""Values as YAML or JSON gives them: null, booleans, numbers, texts, lists, mappings."""

T = TypeVar("T")

_LISTS = (list, tuple, Sequence)
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


def check_options(make: Callable[..., object], options: Plain, where: str) -> None:
    """Check plain options against the annotations of the class or function that takes them. Raises ValueError.

    So no option reaches an expression that its type has no meaning in. What is annotated with a class of its own is
    null or a mapping, of which the options are checked in the same way if it names a class.
    """
    try:
        hints = get_type_hints(make.__init__ if isinstance(make, type) else make)  # type: ignore[misc]
    except NameError:  # a class of the user's own, whose annotations are for a type checker alone
        return
    parameters = inspect.signature(make).parameters
    for key in options.keys() & hints.keys() & parameters.keys():
        hint, value, default = hints[key], options[key], parameters[key].default
        part: Field[Any] = field(default=MISSING if default is inspect.Parameter.empty else default)
        _value(hint, part, value, f"{where}.{key}")
        if _is_made(_inner(hint) or hint) and value is not None and not isinstance(value, Mapping):
            raise ValueError(f"{where}.{key} is {value!r}; expected a mapping with _target_, or null")
        for name, each in value.items() if isinstance(value, Mapping) else ():
            _check_entry(get_args(_inner(hint) or hint), each, f"{where}.{key}.{name}")
        _check_made(value, f"{where}.{key}")


def _check_entry(kinds: tuple[Any, ...], value: Any, where: str) -> None:
    """Check a value of a mapping whose annotation says of what type its values are."""
    kind = kinds[1] if len(kinds) == 2 else None
    if kind in _WORDS and value is not None:
        _value(kind, field(), value, where)
    elif _is_made(kind) and value is not None and not isinstance(value, Mapping):
        raise ValueError(f"{where} is {value!r}; expected a mapping with _target_, or null")
    _check_made(value, where)


def _check_made(value: Any, where: str) -> None:
    if isinstance(value, Mapping) and isinstance(target := value.get("_target_"), str):
        check_options(locate(target), value, where)


def _is_made(hint: Any) -> bool:
    """Return whether an annotation is a class that the configuration names, rather than of plain values."""
    plain = (list, tuple, dict, Mapping, Path)
    return isinstance(hint, type) and hint not in (*_WORDS, object, Any) and not issubclass(hint, plain)


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
    if origin in _LISTS:
        return "a list of texts" if str in get_args(hint) else "a list"
    if origin in (Union, types.UnionType):
        return " or ".join("null" if each is type(None) else expected(each) for each in get_args(hint))
    return _WORDS.get(hint, "a mapping")


def _value(hint: Any, part: Field[Any], value: Any, where: str) -> Any:
    if value is None and _inner(hint) is not None:
        return None
    whole, hint = hint, _inner(hint) or hint
    if is_dataclass(hint) and isinstance(hint, type):
        return value if isinstance(value, hint) else typed(hint, value, where)
    if hint is int and isinstance(value, float) and value.is_integer():
        return int(value)  # 1e6
    if not _is(hint, value):
        raise ValueError(f"{where} is {value!r}; expected {expected(_declared(part, whole))}")
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
    if origin in (Union, types.UnionType):
        return any(_is(each, value) for each in get_args(hint))
    if origin in _LISTS:
        texts = str in get_args(hint)
        return isinstance(value, list | tuple) and (not texts or all(isinstance(each, str) for each in value))
    return isinstance(value, Mapping) if origin in (dict, Mapping) else hint is not type(None) or value is None


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
