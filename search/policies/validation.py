"""Checks of policy parameters. Errors name the YAML key (``policy.KEY``) and the expected value."""

from __future__ import annotations

import math
from collections.abc import Sequence


def number(key: str, value: object, least: float, most: float = math.inf, why: str = "") -> None:
    """Raise ValueError unless ``value`` is a finite number in [least, most]."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not least <= value <= most or math.isinf(value):
        span = f"of at least {least:g}" if math.isinf(most) else f"from {least:g} to {most:g}"
        raise ValueError(f"policy.{key} is {value!r}; expected a number {span}{f' ({why})' if why else ''}")


def positive(key: str, value: object) -> None:
    """Raise ValueError unless ``value`` is a finite number above 0."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < math.inf:
        raise ValueError(f"policy.{key} is {value!r}; expected a number above 0")


def whole(key: str, value: object, least: int) -> None:
    """Raise ValueError unless ``value`` is a whole number of at least ``least``."""
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise ValueError(f"policy.{key} is {value!r}; expected a whole number of at least {least}")


def choice(key: str, value: object, known: Sequence[str]) -> None:
    """Raise ValueError unless ``value`` is one of ``known``."""
    if value not in known:
        raise ValueError(f"policy.{key} is {value!r}; expected one of {', '.join(known)}")


def truth(key: str, value: object) -> None:
    """Raise ValueError unless ``value`` is true or false."""
    if not isinstance(value, bool):
        raise ValueError(f"policy.{key} is {value!r}; expected true or false")


def text(key: str, value: object) -> None:
    """Raise ValueError unless ``value`` is a non-empty string."""
    if not isinstance(value, str) or not value.strip():
        raise ValueError(f"policy.{key} is {value!r}; expected a name")


def part(key: str, value: object, method: str = "__call__") -> None:
    """Raise ValueError unless ``value`` is an object with ``method``, as a class named by ``_target_`` makes it."""
    if not callable(getattr(value, method, None)):
        shown = str(value)[:80]
        raise ValueError(f"policy.{key} is {shown!r}; expected a part: policy.{key}._target_=package.module.Class")
