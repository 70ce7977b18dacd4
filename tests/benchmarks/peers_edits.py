"""The edits of the stand-in model of ``peers.py``: each is a replacement of lines, of known kind and worth.

An edit is made where its old lines occur and its new ones do not. Beside them the model sets one constant of the
program at a time, by a normal step in its declared range, as a language model does that tunes by hand.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from operators.languages.parameters import find_parameters, set_parameters
from operators.numeric.search_space import declared_range

Kind = Literal["good", "neutral", "harmful", "broken"]


@dataclass(frozen=True)
class Edit:
    """Lines that replace others, or that are added behind them."""

    kind: Kind
    old: str
    new: str
    added: str = ""
    """The lines that are new, if others may be added between them and ``old``."""

    def made(self, text: str) -> bool:
        return (self.added or self.new) in text

    def fits(self, text: str) -> bool:
        return self.old in text and not self.made(text)

    def make(self, text: str) -> str:
        return text.replace(self.old, self.new, 1)

    def undo(self, text: str) -> str:
        return text.replace(self.added, "", 1) if self.added else text.replace(self.new, self.old, 1)


@dataclass(frozen=True)
class Catalogue:
    """What the stand-in model knows to do with a task's program."""

    edits: Sequence[Edit]
    settings: float
    """Share of the answers that set a constant."""

    def another(self, text: str, seed: int, number: int) -> str:
        """Return the program after the answer of this number; a broken one is repaired."""
        rng = np.random.default_rng([seed, number])
        if broken := [edit for edit in self.edits if edit.kind == "broken" and edit.made(text)]:
            return broken[0].undo(text)
        fitting = [self.edits[place] for place in rng.permutation(len(self.edits)) if self.edits[place].fits(text)]
        if fitting and rng.random() >= self.settings:
            return fitting[0].make(text)
        return another_setting(text, rng)

    def simpler(self, text: str, seed: int, number: int) -> str:
        """Return the program without one of the edits that were made; the same program without any."""
        made = [edit for edit in self.edits if edit.made(text)]
        return made[np.random.default_rng([seed, number]).integers(len(made))].undo(text) if made else text


def another_setting(text: str, rng: np.random.Generator) -> str:
    """Return the program with another value of one constant: a normal step of a quarter of its range."""
    spans = {parameter.name: (parameter, declared_range(parameter)) for parameter in find_parameters(text)}
    ranged = [(parameter, span) for parameter, span in spans.values() if span is not None]
    parameter, span = ranged[rng.integers(len(ranged))]
    low, high = span.bounds
    for _ in range(20):
        value = span.decode(min(max(span.encode(parameter.value) + rng.normal() * (high - low) / 4, low), high))
        if value != parameter.value:
            return set_parameters(text, {parameter.name: value})
    return text
