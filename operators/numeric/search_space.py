"""Ranges of parameters, and their encoding for numeric search.

A trailing comment declares the range of a parameter:

    WIDTH = 128       # tune: 16..512 log step 16
    HEADS = 4         # tune: 1|2|4|8
    DROPOUT = 0.0     # tune: 0..0.5
    MIXER = 2         # tune: 0|1|2|3 unordered
    BYTES = 256       # tune: no

Without such a comment, or with one that is not of this grammar, the range is derived from the value:

    bool                     both values
    int >= 1                 v/4 .. v*4, log; in steps of 8 if v is a multiple of 8 and at least 16, since heads
                             divide widths
    0.0                      0 .. 0.5
    float in [0.5, 1)        log in 1 - v, over /10 .. *10, not below v/2 (decay rates: 0.9 is as far from
                             0.99 as 0.99 from 0.999)
    other positive floats    v/10 .. v*10, log; at most 0.9 if v < 0.5, which may be a probability
    0 and negative numbers   not searched: there is no scale to derive a range from

Search happens in *encoded values*, in which equal distances matter equally: the logarithm, the value, or the index in
a list of choices. Decoded values are rounded as a person would write them: 3 significant digits (of decay rates: 2 of
1 - v).
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Literal

from operators.languages.parameters import Number, Parameter

Scale = Literal["linear", "log", "complement"]

_NUM = r"[-+]?(?:\d+(?:_\d+)*(?:\.\d*)?|\.\d+)(?:[eE][-+]?\d+)?"
"""Accepts only what ``float`` accepts; no two adjacent repeats match the same digits (linear time)."""
_SPAN = re.compile(rf"({_NUM})\s*\.\.\s*({_NUM})(\s+log\b)?(?:\s+step\s+(\d{{1,18}})(?!\d))?")
_CHOICES = re.compile(rf"({_NUM}(?:\s*\|\s*{_NUM})+|True\s*\|\s*False|False\s*\|\s*True)(\s+unordered\b)?")


@dataclass(frozen=True)
class ParameterRange:
    """The values that a parameter may take."""

    low: float
    high: float
    scale: Scale = "linear"
    integer: bool = False
    step: int = 1
    choices: tuple[Number, ...] = ()
    """Sorted; if given, encoded values are indices into it, and ``low`` and ``high`` its ends."""
    unordered: bool = False
    """Whether the choices are names and not amounts, so that all are equally far apart."""

    @cached_property
    def bounds(self) -> tuple[float, float]:
        """Lowest and highest encoded value; discrete ranges are half a step wider, so that ends are drawn fairly."""
        if self.choices:
            return -0.5, len(self.choices) - 0.5
        half = 0.49 * self.step if self.integer else 0.0
        low, high = self.low - half, self.high + half
        if self.scale == "log" and low <= 0:
            low = 0.51 * self.low
        ends = self._scaled(low), self._scaled(high)
        return min(ends), max(ends)

    def encode(self, value: Number) -> float:
        """Return the encoded ``value``: the index of the nearest choice, or the value on the range's scale."""
        if self.choices:
            return float(min(range(len(self.choices)), key=lambda i: abs(self.choices[i] - value)))
        if (self.scale == "log" and value <= 0) or (self.scale == "complement" and value >= 1):
            return self._scaled(_clamp(value, self.low, self.high))
        return self._scaled(float(value))

    def decode(self, encoded: float) -> Number:
        """Return the value nearest to an encoded one, inside the range and rounded."""
        if self.choices:
            return self.choices[min(max(round(encoded), 0), len(self.choices) - 1)]
        if self.scale == "complement":
            rest = float(f"{math.exp(encoded):.2g}")
            return _clamp(round(1.0 - rest, 9), self.low, self.high)
        raw = math.exp(encoded) if self.scale == "log" else encoded
        if self.integer:
            return int(_clamp(round(raw / self.step) * self.step, self.low, self.high))
        return _clamp(_nice(raw), self.low, self.high)

    def _scaled(self, value: float) -> float:
        if self.scale == "log":
            return math.log(value)
        return math.log(1.0 - value) if self.scale == "complement" else value


def range_of(parameter: Parameter) -> ParameterRange | None:
    """Return the declared range, or one derived from the value; None if the parameter is not searched."""
    if not parameter.searchable:
        return None
    if parameter.tune is not None and (declared := _declared(parameter.tune, parameter.value)) is not None:
        return declared
    return _derived(parameter.value)


def has_invalid_range(parameter: Parameter) -> bool:
    """Return whether the text after ``tune:`` is not of the grammar above."""
    return parameter.tune is not None and parameter.searchable and _declared(parameter.tune, parameter.value) is None


def format_range(span: ParameterRange) -> str:
    """Return a range in the grammar of comments: ``16..512 log step 16``."""
    if span.choices:
        return "|".join(repr(choice) for choice in span.choices) + (" unordered" if span.unordered else "")
    low, high = (f"{end:g}" for end in (span.low, span.high))
    log = {"linear": "", "log": " log", "complement": " (close to 1)"}[span.scale]
    return f"{low}..{high}{log}" + (f" step {span.step}" if span.step > 1 else "")


def _declared(comment: str, value: Number) -> ParameterRange | None:
    if choices := _CHOICES.match(comment):
        listed = _listed(choices[1], value)
        return replace(listed, unordered=True) if listed is not None and choices[2] else listed
    span = _SPAN.match(comment)
    if span is None or isinstance(value, bool):
        return None
    low, high = float(span[1]), float(span[2])
    log = span[3] is not None
    if not (math.isfinite(low) and math.isfinite(high) and low < high) or (log and low <= 0):
        return None
    integer = isinstance(value, int)
    step = max(1, int(span[4])) if span[4] else 1
    if integer:
        low, high = math.ceil(low), math.floor(high)
    return ParameterRange(low, high, "log" if log else "linear", integer, step) if low < high else None


def _listed(text: str, value: Number) -> ParameterRange | None:
    parts = [part.strip() for part in text.split("|")]
    if isinstance(value, bool):
        return _derived(value) if set(parts) == {"True", "False"} else None
    if "True" in parts:
        return None
    numbers = [float(part) for part in parts]
    if not all(map(math.isfinite, numbers)):
        return None
    if isinstance(value, int) and not all(number.is_integer() for number in numbers):
        return None
    choices: set[Number] = {int(number) if isinstance(value, int) else number for number in numbers}
    return ParameterRange(min(choices), max(choices), integer=isinstance(value, int), choices=tuple(sorted(choices)))


def _derived(value: Number) -> ParameterRange | None:
    if isinstance(value, bool):
        return ParameterRange(0, 1, choices=(False, True))
    if value < 0 or (isinstance(value, int) and value == 0):
        return None
    if isinstance(value, int):
        step = 8 if value >= 16 and value % 8 == 0 else 1
        low = max(step, value // 4 // step * step)
        return ParameterRange(low, 4 * value, "log", integer=True, step=step)
    if value == 0.0:
        return ParameterRange(0.0, 0.5)
    if 0.5 <= value < 1.0:
        rest = 1.0 - value
        return ParameterRange(max(value / 2, round(1.0 - 10 * rest, 9)), round(1.0 - rest / 10, 9), "complement")
    return ParameterRange(value / 10, min(10 * value, 0.9) if value < 0.5 else 10 * value, "log")


def _nice(value: float) -> float:
    return float(f"{value:.3g}")


def _clamp(value: float, low: float, high: float) -> float:
    return min(max(value, low), high)
