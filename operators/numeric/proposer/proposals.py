"""Settings of a program's parameters to try next, the most promising first.

For a program with ``d`` searchable parameters and ``n`` scored programs with the same parameters:

*While n < 8* (``WARM``): ``1 + Binomial(2, p)`` parameters change, at most ``d``, drawn uniformly, with
``p = max(0.4, 8 / (8 + n), c / (c + 16))`` for ``c`` earlier children of this program: steps are bold in a young tree
and at a parent that was often tried. Each parameter makes a normal step in its encoding (log-normal for widths and
rates) with a deviation of a quarter of the range; steps under 0.3 deviations are redrawn, since noise would hide them.

*From then on* the surrogate ranks some two hundred children of the program by expected improvement: each parameter
changed alone, several changed together, and values taken over from other good programs. Programs that lack some of the
parameters inform it, too.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from .ranges import Number, ParameterRange
from .surrogate import GpSurrogate, normal_scores
from .trials import Direction, Key, KnownPrograms, Observation, Space, Values

WARM = 8  # tune: 3..20 log
"""Scored programs with the same parameters before the surrogate is used."""
FEW = 12  # tune: no
"""A list of choices up to this length is tried in full."""
TOGETHER = 48  # tune: 16..192 log
"""Children in which several parameters change; and as many that take over values of others."""
ELITES = 8  # tune: 2..32 log
"""Good programs whose values are taken over."""
WIDE = 0.25  # tune: 0.1..0.6 log
NARROW = 0.08  # tune: 0.02..0.1 log
SCALES = (WIDE, WIDE, NARROW, NARROW)
"""Deviations of the steps of one parameter alone, in widths of its range."""
BOLD = 0.4  # tune: 0.1..0.9
"""Least probability of each of two further parameters to change while the surrogate is not used."""


def settings(known: KnownPrograms, rng: np.random.Generator, warm: int | None = None) -> Iterator[Values]:
    """Yield settings to try, the most promising first, without end.

    Args:
        warm: See ``WARM``, which None stands for.
    """
    warm = WARM if warm is None else warm
    if sum(one.score is not None for one in known.own) >= max(2, warm):
        yield from by_expected_improvement(known.start, known.space, known.observations, known.direction, rng)
    while True:
        keys = changed_keys(list(known.space), len(known.observations), known.visits, warm, rng)
        yield local_step(known.start, {key: known.space[key] for key in keys}, rng)


def changed_keys(keys: list[Key], count: int, visits: int, warm: int, rng: np.random.Generator) -> list[Key]:
    """Draw one to three parameters; more with few known programs (``count``), and with many visits of the parent."""
    bold = max(BOLD, warm / (warm + count), visits / (visits + 16))
    some = min(len(keys), 1 + int(rng.binomial(2, bold)))
    picked = rng.choice(len(keys), size=some, replace=False)
    return [keys[i] for i in sorted(int(i) for i in picked)]


# ---------------------------------------------------------------- without the surrogate


def local_step(start: Values, ranges: Space, rng: np.random.Generator) -> dict[Key, Number]:
    """Return a normal step from ``start`` in each encoded range, with a deviation of a quarter of its width."""
    values = {}
    for key, span in ranges.items():
        low, high = span.bounds
        here = min(max(span.encode(start[key]), low), high)
        value = start[key]
        for _ in range(20):
            step = float(rng.normal())
            value = span.decode(here + step * (high - low) / 4)
            if abs(step) >= 0.3 and value != start[key]:
                break
        values[key] = value
    return values


# ---------------------------------------------------------------- with the surrogate


def by_expected_improvement(
    start: Values,
    space: Space,
    observations: Sequence[Observation],
    direction: Direction,
    rng: np.random.Generator,
) -> Iterator[Values]:
    """Yield children of ``start`` that no program of the same code is, the largest expected improvement first."""
    keys = tuple(space)
    known = {_setting(one.values, keys) for one in observations if one.same_code} | {_setting(start, keys)}
    children: dict[tuple[Number | None, ...], Values] = {}
    for child in _children(start, space, elites(observations, direction), rng):
        children.setdefault(_setting(child, keys), child)
    fresh = [child for setting, child in children.items() if setting not in known]
    if fresh:
        improvement = GpSurrogate(observations, space, direction).predict(fresh).improvement
        for place in np.argsort(-improvement, kind="stable"):
            yield fresh[int(place)]


def elites(observations: Sequence[Observation], direction: Direction) -> list[Values]:
    """Return the values of the best scored programs, the best first."""
    scored = [one for one in observations if one.score is not None]
    order = np.argsort(-normal_scores([one.score or 0.0 for one in scored], direction), kind="stable")
    return [scored[int(place)].values for place in order[:ELITES]]


def _children(start: Values, space: Space, best: Sequence[Values], rng: np.random.Generator) -> Iterator[Values]:
    """Yield settings near ``start``: one parameter changed, several changed, values of other good programs taken."""
    keys = list(space)
    alone = {key: _alone(start[key], space[key], rng) for key in keys}
    for key in keys:
        for value in alone[key]:
            yield {**start, key: value}
    for _ in range(TOGETHER):
        count = min(len(keys), int(rng.integers(2, 4)))
        chosen = [keys[int(i)] for i in rng.choice(len(keys), size=count, replace=False)]
        yield {**start, **{key: _drawn(space[key], rng) for key in chosen}}
    for _ in range(TOGETHER):
        donor = best[int(rng.integers(len(best)))]
        taken = [key for key in keys if rng.random() < 0.5 and key in donor and donor[key] in space[key]]
        child = {**start, **{key: donor[key] for key in taken}}
        if rng.random() < 0.5:
            key = keys[int(rng.integers(len(keys)))]
            child[key] = alone[key][int(rng.integers(len(alone[key])))] if alone[key] else start[key]
        yield child


def _alone(value: Number, span: ParameterRange, rng: np.random.Generator) -> list[Number]:
    """Return other values of one parameter: a short list of choices in full, or steps of several sizes and a draw."""
    if span.choices and len(span.choices) <= FEW:
        return [choice for choice in span.choices if choice != value]
    low, high = span.bounds
    here = min(max(span.encode(value), low), high)
    steps = [span.decode(here + scale * float(rng.normal()) * (high - low)) for scale in SCALES]
    return [other for other in (*steps, _drawn(span, rng)) if other != value]


def _setting(values: Values, keys: Sequence[Key]) -> tuple[Number | None, ...]:
    return tuple(map(values.get, keys))


def _drawn(span: ParameterRange, rng: np.random.Generator) -> Number:
    low, high = span.bounds
    return span.decode(float(rng.uniform(low, high)))
