"""Prices of models: dollars per million tokens, from ``prices.yaml``. Unknown is None, never 0."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, fields
from functools import cache
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

MILLION = 1e6
_DATED = re.compile(r"(.+?)-(?:\d{8}|\d{4}-\d\d-\d\d)$")


@dataclass(frozen=True)
class Rates:
    """Dollars per million tokens."""

    input: float
    output: float
    write: float
    """Input that is written to the prompt cache for minutes."""
    read: float
    """Input that is read from the prompt cache."""
    write_1h: float = 0.0
    """Input that is written to the prompt cache for an hour, where that is offered."""

    def dollars(self, fresh: int, written: int, written_long: int, read: int, out: int) -> float:
        cached = self.write * written + self.write_1h * written_long + self.read * read
        return (self.input * fresh + cached + self.output * out) / MILLION


@dataclass(frozen=True)
class Price:
    """Rates of one model; a request with more than ``over`` input tokens is billed at ``long`` as a whole."""

    short: Rates
    long: Rates | None = None
    over: int = 0

    @property
    def is_free(self) -> bool:
        """True if no token costs anything, as on a machine of one's own."""
        rates = [self.short, *([self.long] if self.long else [])]
        return not any(getattr(rate, field.name) for rate in rates for field in fields(Rates))

    def dollars(self, *, fresh: int, out: int, written: int = 0, written_long: int = 0, read: int = 0) -> float:
        """Return the price of a call from its tokens: fresh, written to and read from the cache, and output."""
        tokens_in = fresh + written + written_long + read
        rates = self.long if self.long is not None and tokens_in > self.over else self.short
        return rates.dollars(fresh, written, written_long, read, out)

    def at_most(self, tokens_in: int, tokens_out: int) -> float:
        """Return the dearest way to bill a call of that size: all fresh, or all written to the cache."""
        ways = ({"fresh": tokens_in}, {"written": tokens_in, "fresh": 0}, {"written_long": tokens_in, "fresh": 0})
        return max(self.dollars(out=tokens_out, **way) for way in ways)


def price_of(model: str) -> Price | None:
    """Return the price of a model, None if unknown. A dated name has the price of the undated one."""
    table = _table()
    dated = _DATED.match(model)
    return table.get(model) or (table.get(dated[1]) if dated else None)


def price_from(row: Mapping[str, Any]) -> Price:
    """Read a price in the form of ``prices.yaml`` and of the key ``price`` of a model.

    ``input`` and ``output`` are required; cache rates default to ``input``. Raises ValueError.
    """
    short = {name: value for name, value in row.items() if name != "long"}
    long = dict(row.get("long") or {})
    over = int(long.pop("over", 0))
    return Price(_rates(short), _rates(long) if long else None, over)


def _rates(row: Mapping[str, Any]) -> Rates:
    names = [field.name for field in fields(Rates)]
    if unknown := set(row) - set(names):
        raise ValueError(f"a price has {min(unknown)!r}; expected {', '.join(names)}, in dollars per million tokens")
    for name in ("input", "output"):
        if name not in row:
            raise ValueError(f"a price lacks {name!r}: dollars per million tokens, 0 for a machine of your own")
    numbers = {"write": row["input"], "read": row["input"], **row}
    for name, value in numbers.items():
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value) or value < 0:
            raise ValueError(f"the price of {name} is {value!r}; expected dollars per million tokens")
    return Rates(**{name: float(value) for name, value in numbers.items()})


@cache
def _table() -> Mapping[str, Price]:
    raw: Any = OmegaConf.to_container(OmegaConf.load(Path(__file__).with_name("prices.yaml")))
    return {model: price_from(row) for model, row in raw.items()}
