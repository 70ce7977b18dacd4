"""What a model costs: dollars per million tokens, from ``prices.yaml``. Unknown is None, never 0."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

MILLION = 1e6


@dataclass(frozen=True)
class Rates:
    """Dollars per million tokens."""

    input: float
    output: float
    write: float
    """Of input that is written to the prompt cache."""
    read: float
    """Of input that is read from it."""

    def dollars(self, fresh: int, written: int, read: int, out: int) -> float:
        return (self.input * fresh + self.write * written + self.read * read + self.output * out) / MILLION


@dataclass(frozen=True)
class Price:
    """The rates of one model; requests with more than ``over`` input tokens are billed at ``long``, all of them."""

    short: Rates
    long: Rates | None = None
    over: int = 0

    def dollars(self, *, fresh: int, out: int, written: int = 0, read: int = 0) -> float:
        """The price of one call, from its tokens: fresh, written to and read from the cache, and put out."""
        rates = self.long if self.long is not None and fresh + written + read > self.over else self.short
        return rates.dollars(fresh, written, read, out)

    def at_most(self, tokens_in: int, tokens_out: int) -> float:
        """The dearest way to bill a call of that size: everything written to the cache."""
        return max(
            self.dollars(fresh=0, written=tokens_in, out=tokens_out), self.dollars(fresh=tokens_in, out=tokens_out)
        )


def price_of(model: str) -> Price | None:
    """The price of a model, None where it is unknown. A dated name has the price of the undated one."""
    table = _table()
    name, _, date = model.rpartition("-")
    return table.get(model) or (table.get(name) if len(date) == 8 and date.isdigit() else None)


@cache
def _table() -> Mapping[str, Price]:
    raw: Any = OmegaConf.to_container(OmegaConf.load(Path(__file__).with_name("prices.yaml")))
    return {model: _price(row) for model, row in raw.items()}


def _price(row: dict[str, Any]) -> Price:
    long = dict(row.pop("long", {}))
    over = int(long.pop("over", 0))
    return Price(Rates(**row), Rates(**long) if long else None, over)
