"""What a proposal is made from: a program's parameters with their ranges, and what is known of other programs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from .ranges import Number, ParameterRange

Direction = Literal["minimise", "maximise"]
Floats = NDArray[np.float64]
Key = tuple[str, str]
"""(path, name) of a parameter."""
Values = Mapping[Key, Number]
Space = Mapping[Key, ParameterRange]


@dataclass(frozen=True)
class Observation:
    """A known program: the values of its parameters, and its result."""

    values: Values
    score: float | None
    """None unless it was scored."""
    runs: int = 1
    state: Literal["scored", "pending", "failed"] = "scored"
    same_code: bool = True
    """Whether it differs in values of parameters only from the program that is asked about."""


@dataclass(frozen=True)
class KnownPrograms:
    """All that is known when settings of one program are asked for."""

    start: Values
    """The values of all parameters of the program, the parent."""
    space: Space
    """Those that may change, with their ranges."""
    observations: Sequence[Observation]
    """Known programs that share a parameter with it, in order of arrival."""
    visits: int
    """Earlier children of the parent, made or attempted."""
    direction: Direction

    @property
    def own(self) -> list[Observation]:
        """The programs that have the same parameters."""
        return [one for one in self.observations if one.values.keys() == self.start.keys()]
