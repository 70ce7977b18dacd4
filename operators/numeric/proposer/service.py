"""The proposer as a service: one call with plain values, for a proposer in a process of its own.

Parameters are named by their place in ``space``; those that programs have besides are of no use here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import islice
from typing import Any

import numpy as np

from .proposals import settings
from .ranges import Number, ParameterRange
from .trials import KnownPrograms, Observation, Values


def packed(known: KnownPrograms) -> dict[str, Any]:
    """Return what is known as JSON values; the inverse of ``unpacked``."""
    keys = tuple(known.space)
    return {
        "space": [{**vars(span), "choices": list(span.choices)} for span in known.space.values()],
        "start": [known.start[key] for key in keys],
        "observations": [
            [[one.values.get(key) for key in keys], one.score, one.runs, one.state, one.same_code]
            for one in known.observations
        ],
        "visits": known.visits,
        "direction": known.direction,
    }


def unpacked(message: Mapping[str, Any]) -> KnownPrograms:
    """Return what ``packed`` was given, under names of its own."""
    spans = [ParameterRange(**{**span, "choices": tuple(span["choices"])}) for span in message["space"]]
    return KnownPrograms(
        start=_values(message["start"]),
        space={_key(place): span for place, span in enumerate(spans)},
        observations=[
            Observation(_values(values), score, runs, state, same_code)
            for values, score, runs, state, same_code in message["observations"]
        ],
        visits=message["visits"],
        direction=message["direction"],
    )


def ask(message: Mapping[str, Any], seed: int, count: int) -> list[list[Number]]:
    """Return at most ``count`` settings to try, the most promising first: values in the order of the ranges."""
    known = unpacked(message)
    proposed = islice(settings(known, np.random.default_rng(seed)), count)
    return [[values.get(key, known.start[key]) for key in known.space] for values in proposed]


def _key(place: int) -> tuple[str, str]:
    return "", str(place)


def _values(values: Sequence[Number | None]) -> Values:
    return {_key(place): value for place, value in enumerate(values) if value is not None}
