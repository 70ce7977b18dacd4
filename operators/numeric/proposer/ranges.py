"""Ranges of parameters, and the encoding of values for numeric search.

Search happens in *encoded values*, in which equal distances matter equally: the logarithm, the value, or the index in
a list of choices. Decoded values are rounded as a person would write them: 3 significant digits (of decay rates: 2 of
1 - v).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

Number = int | float | bool
Scale = Literal["linear", "log", "complement"]


@dataclass(frozen=True)
class ParameterRange:
    """The values that a parameter may take."""

    low: float
    high: float
    scale: Scale = "linear"
    integer: bool = False
    step: float = 0
    """Distance of neighbouring values, counted from ``low``; 0: 1 for whole numbers, none for floats."""
    choices: tuple[Number, ...] = ()
    """Sorted; if given, encoded values are indices into it, and ``low`` and ``high`` its ends."""
    unordered: bool = False
    """Whether the choices are names and not amounts, so that all are equally far apart."""

    def __contains__(self, value: Number) -> bool:
        """Return whether a value is one of these, and of their type."""
        if self.choices:
            return any(value == choice and type(value) is type(choice) for choice in self.choices)
        if type(value) is not (int if self.integer else float) or not self.low <= value <= self.high:
            return False
        return not self._unit or math.isclose(value, self._on_grid(value), rel_tol=1e-9, abs_tol=1e-9 * self._unit)

    @property
    def _unit(self) -> float:
        return self.step or float(self.integer)

    @property
    def _last(self) -> int:
        """Steps from ``low`` to the largest value."""
        return math.floor((self.high - self.low) / self._unit * (1 + 1e-9))

    def _on_grid(self, value: float) -> float:
        """Return the value nearest to ``value`` that is a whole number of steps above ``low``, inside the range."""
        place = self.low + min(max(round((value - self.low) / self._unit), 0), self._last) * self._unit
        return round(place) if self.integer else _clamp(float(f"{place:.9g}"), self.low, self.high)

    def values(self, most: int) -> tuple[Number, ...] | None:
        """Return all values if they are at most ``most``, else None. Without a step there are too many."""
        if self.choices:
            return self.choices if len(self.choices) <= most else None
        if not self._unit or (self.high - self.low) / self._unit >= most:
            return None
        return tuple(dict.fromkeys(self._on_grid(self.low + place * self._unit) for place in range(self._last + 1)))

    @cached_property
    def bounds(self) -> tuple[float, float]:
        """Lowest and highest encoded value; discrete ranges are half a step wider, so that ends are drawn fairly."""
        if self.choices:
            return -0.5, len(self.choices) - 0.5
        half = 0.49 * self._unit
        low, high = self.low - half, (self._on_grid(self.high) if self._unit else self.high) + half
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
        if self._unit:
            return self._on_grid(raw)
        return _clamp(_nice(raw), self.low, self.high)

    def _scaled(self, value: float) -> float:
        if self.scale == "log":
            return math.log(value)
        return math.log(1.0 - value) if self.scale == "complement" else value


def _nice(value: float) -> float:
    return float(f"{value:.3g}")


def _clamp(value: float, low: float, high: float) -> float:
    return min(max(value, low), high)
