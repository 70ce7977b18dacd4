"""What values a constant may take, and how far apart two of them are.

A trailing comment gives the range of a constant:

    WIDTH = 128       # tune: 16..512 log step 16
    HEADS = 4         # tune: 1|2|4|8
    DROPOUT = 0.0     # tune: 0..0.5
    MIXER = 2         # tune: 0|1|2|3 unordered
    BYTES = 256       # tune: no

Without one (or where what follows ``tune:`` is not of this grammar) it is derived from the value:

    bool                     both values
    int >= 1                 v/4 .. v*4, log; in steps of 8 if v is a multiple of 8 and at least 16, since widths
                             are divided among heads
    0.0                      0 .. 0.5
    float in [0.5, 1)        log in 1 - v, over /10 .. *10, not below v/2 (decay rates: 0.9 is as far from
                             0.99 as 0.99 from 0.999)
    other positive floats    v/10 .. v*10, log; at most 0.9 if v < 0.5 and so perhaps a probability
    0 and negative numbers   not searched: nothing says how far

Search happens in *coordinates*, in which equal distances matter equally: the logarithm, the value, or the place in
a list of choices. Values come back rounded as a person would write them: 3 significant digits (of decay rates: 2 of
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
"""Nothing that ``float`` would not take, and no two repeats beside each other that match the same digits."""
_SPAN = re.compile(rf"({_NUM})\s*\.\.\s*({_NUM})(\s+log\b)?(?:\s+step\s+(\d{{1,18}})(?!\d))?")
_CHOICES = re.compile(rf"({_NUM}(?:\s*\|\s*{_NUM})+|True\s*\|\s*False|False\s*\|\s*True)(\s+unordered\b)?")


@dataclass(frozen=True)
class ParameterRange:
    """The values that a constant may take."""

    low: float
    high: float
    scale: Scale = "linear"
    integer: bool = False
    step: int = 1
    choices: tuple[Number, ...] = ()
    """Sorted; if given, coordinates are places in it and ``low``, ``high`` its ends."""
    unordered: bool = False
    """Whether the choices are names and not amounts: no two of them are nearer than others."""

    @cached_property
    def bounds(self) -> tuple[float, float]:
        """Lowest and highest coordinate. Discrete values get half a step more, so that the ends are drawn fairly."""
        if self.choices:
            return -0.5, len(self.choices) - 0.5
        half = 0.49 * self.step if self.integer else 0.0
        low, high = self.low - half, self.high + half
        if self.scale == "log" and low <= 0:
            low = 0.51 * self.low
        ends = self._place(low), self._place(high)
        return min(ends), max(ends)

    def coordinate(self, value: Number) -> float:
        """Where ``value`` lies; of a value that is not among the choices, the nearest one's place."""
        if self.choices:
            return float(min(range(len(self.choices)), key=lambda i: abs(self.choices[i] - value)))
        if (self.scale == "log" and value <= 0) or (self.scale == "complement" and value >= 1):
            return self._place(_clamp(value, self.low, self.high))
        return self._place(float(value))

    def value(self, coordinate: float) -> Number:
        """The value nearest to a coordinate, inside the range and nicely rounded."""
        if self.choices:
            return self.choices[min(max(round(coordinate), 0), len(self.choices) - 1)]
        if self.scale == "complement":
            rest = float(f"{math.exp(coordinate):.2g}")
            return _clamp(round(1.0 - rest, 9), self.low, self.high)
        raw = math.exp(coordinate) if self.scale == "log" else coordinate
        if self.integer:
            return int(_clamp(round(raw / self.step) * self.step, self.low, self.high))
        return _clamp(_nice(raw), self.low, self.high)

    def _place(self, value: float) -> float:
        if self.scale == "log":
            return math.log(value)
        return math.log(1.0 - value) if self.scale == "complement" else value


def range_of(constant: Parameter) -> ParameterRange | None:
    """The range of a constant: of its comment, or derived from its value. None if it is not to be searched."""
    if not constant.searchable:
        return None
    if constant.tune is not None and (stated := _stated(constant.tune, constant.value)) is not None:
        return stated
    return _derived(constant.value)


def is_misread(constant: Parameter) -> bool:
    """Whether a comment says ``tune:`` and goes on with something that is not of the grammar above."""
    return constant.tune is not None and constant.searchable and _stated(constant.tune, constant.value) is None


def described(span: ParameterRange) -> str:
    """A range in the words of the grammar: ``16..512 log step 16``."""
    if span.choices:
        return "|".join(repr(choice) for choice in span.choices) + (" unordered" if span.unordered else "")
    low, high = (f"{end:g}" for end in (span.low, span.high))
    log = {"linear": "", "log": " log", "complement": " (close to 1)"}[span.scale]
    return f"{low}..{high}{log}" + (f" step {span.step}" if span.step > 1 else "")


def _stated(comment: str, value: Number) -> ParameterRange | None:
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
