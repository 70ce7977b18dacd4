"""Read metrics strictly from what a program printed or wrote: ``METRIC name=value`` lines, JSON, ``name: value`` lines.

The primary metric has to be one finite number: ``True``, ``null``, ``nan``, a text or two different values are errors,
never scores. Other metrics are recorded when they are finite numbers; of several values the last one counts. Names are
compared in Unicode's form NFKC, in which the two signs for micro are one.
"""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Iterable, Mapping
from typing import Any

from prepare.scorer import finite_number

_NAME = r"[^\s=:]+"
_METRIC = re.compile(rf"METRIC\s+({_NAME})\s*=\s*(.*?)\s*")
_REPORTED = re.compile(rf"({_NAME})\s*[:=]\s*(\S+)\s*")
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?", re.ASCII)
_SHOWN = 60

Pairs = Iterable[tuple[str, Any]]


class MetricError(ValueError):
    """The primary metric is missing, given twice, or no finite number."""


def metric_name(name: str) -> str:
    """Return the form of a name in which names are compared."""
    return unicodedata.normalize("NFKC", name)


def metrics_in(output: str, primary: str) -> dict[str, float]:
    """Return the metrics of an output: of its METRIC lines, else its JSON object, else its ``name: value`` lines.

    Raises MetricError.
    """
    lines = [line.strip() for line in output.splitlines()]
    if found := _spelled(_METRIC, lines):
        return metrics_of(found, primary)
    for text in (output.strip(), next((line for line in reversed(lines) if line), "")):
        if text.startswith("{") and (members := _members(text)) is not None:
            return metrics_of(members, primary)
    return metrics_of(_spelled(_REPORTED, lines), primary)


def metrics_in_json(text: str, primary: str) -> dict[str, float]:
    """Return the metrics of a JSON object in a file, such as ``reward.json``. Raises MetricError."""
    if (members := _members(text)) is None:
        raise MetricError(f"expected a JSON object with {primary!r}, found {_quoted(text.strip())!r}")
    return metrics_of(members, primary)


def object_in(text: str) -> dict[str, Any]:
    """Return a JSON object with its values as they are. Raises MetricError."""
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise MetricError(f"expected a JSON object, found {_quoted(text.strip())!r}")
    return found


def metrics_of(values: Mapping[str, Any] | Pairs, primary: str) -> dict[str, float]:
    """Return the finite numbers among named values, the primary first. Raises MetricError for the primary."""
    pairs = values.items() if isinstance(values, Mapping) else values
    named = [(metric_name(name), value) for name, value in pairs]
    wanted = metric_name(primary)
    given = [_primary(primary, value) for name, value in named if name == wanted]
    if not given:
        names = ", ".join(dict.fromkeys(name[:_SHOWN] for name, _ in named)) or "no metric"
        raise MetricError(f"the metric {primary!r} is missing: expected `METRIC {primary}=NUMBER`, found {names}")
    if len(set(given)) > 1:
        raise MetricError(f"{primary} is given with different values, {given[0]!r} and {given[-1]!r}; expected one")
    numbers = {name: number for name, value in named if (number := finite_number(value)) is not None}
    return {primary: given[0], **{name: value for name, value in numbers.items() if name != wanted}}


def number_in(text: str) -> float | str:
    """Return the number that a text spells, else the text. ``1_000``, ``0x10``, ``nan`` and ``12 ms`` spell none."""
    return float(text) if _NUMBER.fullmatch(text.strip()) else text


def _primary(name: str, value: Any) -> float:
    if (number := finite_number(value)) is None:
        raise MetricError(f"{name} is {_quoted(value)}; expected a finite number")
    return number


def _quoted(value: Any) -> str:
    text = value if isinstance(value, str) else repr(value)
    return text if len(text) <= _SHOWN else text[:_SHOWN] + "..."


def _spelled(form: re.Pattern[str], lines: Iterable[str]) -> list[tuple[str, Any]]:
    return [(match[1], number_in(match[2])) for line in lines if (match := form.fullmatch(line))]


def _members(text: str) -> list[tuple[str, Any]] | None:
    """Return name and value of each member of a JSON object, those given twice included; None if it is none."""
    try:
        found = json.loads(text, object_pairs_hook=_Members)
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, _Members) else None


class _Members(list[tuple[str, Any]]):
    """The members of a JSON object, in order."""
