"""tune: numeric search over a program's ALL_CAPS constants. Needs no language model.

For a parent with ``d`` searchable constants (``operators.numeric.search_space`` says over which range) and ``n``
scored programs with the same constants:

*While n < 8* (``warm``): ``1 + Binomial(2, p)`` constants change, at most ``d``, uniformly drawn, with
``p = max(0.4, 8 / (8 + n), c / (c + 16))`` for ``c`` earlier children of this parent: a young tree is bold, and
so is a parent that was tried a lot. Each makes a normal step in coordinates (log-normal for widths and rates) with a
deviation of a quarter of the range; steps under 0.3 deviations are drawn again, since noise would hide them.

*From then on* the model of ``operators.numeric.surrogate``, which knows of other programs too, chooses among some two
hundred children of the parent: every constant changed alone, several changed together, and values taken over from
other good programs (a value that did well somewhere is a gene that can be joined with others). The child with the
largest expected improvement is proposed; one that is known already gives way to the next.

``proposer: tpe`` takes Optuna's TPE instead, over one to three drawn constants; see ``operators.numeric.tpe``.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from typing import Literal

import numpy as np

from archive.records import Candidate, Direction, Propose
from archive.tree import Tree
from operators.base import Context, NoCandidate
from operators.languages.code_changes import Changes
from operators.languages.fingerprint import normalised
from operators.languages.parameters import Number, find_constants
from operators.languages.syntax import Unparsable
from operators.numeric import tpe
from operators.numeric.observations import history, rewritten, values_of
from operators.numeric.search_space import ParameterRange, range_of
from operators.numeric.surrogate import GpSurrogate, Key, Observation, normal_scores

Values = Mapping[Key, Number]

WARM = 8
"""Scored programs with the same constants before the model takes over."""
FED = 64
"""Scored programs given to it."""

_FEW = 12
"""A list of choices that is no longer is tried whole."""
_TOGETHER = 48
"""Children in which several constants change; and as many that take over values of others."""
_ELITES = 8
_SCALES = (0.25, 0.25, 0.08, 0.08)
"""Deviations of the steps of one constant alone, in widths of its range."""


class Tune:
    """Changes one or several constants of the parent."""

    arity = 1
    needs_llm = False

    def __init__(
        self,
        name: str = "tune",
        warm: int = WARM,
        fed: int = FED,
        tries: int = 12,
        proposer: Literal["genes", "tpe"] = "genes",
    ) -> None:
        """``warm``: scored programs before the model takes over. ``fed``: scored programs given to it.

        ``tries``: known settings before it gives up. Raises ValueError for a proposer that there is not.
        """
        if proposer not in ("genes", "tpe"):
            raise ValueError(f"tune has proposer={proposer!r}; expected genes or tpe. Set operators.tune.proposer.")
        self.name = name
        self.warm = warm
        self.fed = fed
        self.tries = tries
        self.proposer = proposer
        self._changes = Changes()

    def applies(self, tree: Tree, node_id: str) -> bool:
        return not math.isnan(tree.means[tree.index[node_id]])

    def propose(self, move: Propose, context: Context) -> Candidate | NoCandidate:
        with context.tree.lock:
            parent = context.tree[move.parents[0]]
            space = search_space(parent.candidate.files, context.task.editable)
            if not space:
                return NoCandidate(
                    "nothing to tune: no module-level ALL_CAPS constant with a numeric value. Write one as "
                    "`RATE = 0.001  # tune: 1e-4..1e-2 log` to have it searched."
                )
            start = values_of(parent.candidate.files)
            trials = history(context.tree, start.keys(), self.fed, self._changes)
            mixed = any(trial.code for trial in trials)
            code = self._changes.of(context.tree, parent.node_id) if mixed else frozenset[str]()
            visits = int(context.tree.visits[context.tree.index[parent.node_id]])
        settings = self._settings(start, code, space, trials, visits, context.tree.direction, context.rng)
        for values in islice(settings, self.tries):
            changed = {key: value for key, value in values.items() if value != start[key]}
            files = rewritten(parent.candidate.files, changed)
            if changed and normalised(files) not in context.known:
                return Candidate(files, move.parents, self.name, _idea(changed, start))
        return NoCandidate(f"tune found no new setting of {_names(space)} in {self.tries} tries: all are known already")

    def _settings(
        self,
        start: Values,
        code: frozenset[str],
        space: Mapping[Key, ParameterRange],
        trials: Sequence[Observation],
        visits: int,
        direction: Direction,
        rng: np.random.Generator,
    ) -> Iterator[Values]:
        """Settings to try, the most wanted first."""
        own = [trial for trial in trials if trial.values.keys() == start.keys()]
        if self.proposer == "tpe":  # it knows nothing of other constants, nor of code
            trials = own
        scored = sum(trial.score is not None for trial in own)
        if self.proposer == "genes" and scored >= max(2, self.warm):
            yield from by_genes(start, code, space, trials, direction, rng)
        while True:
            ranges = {key: space[key] for key in self._choose(list(space), len(trials), visits, rng)}
            if scored < max(1, self.warm) or self.proposer == "genes":
                yield local_step(start, ranges, rng)
            else:
                yield tpe.suggest(trials, ranges, direction, int(rng.integers(2**31)))

    def _choose(self, keys: list[Key], known: int, visits: int, rng: np.random.Generator) -> list[Key]:
        bold = max(0.4, self.warm / (self.warm + known), visits / (visits + 16))
        count = min(len(keys), 1 + int(rng.binomial(2, bold)))
        picked = rng.choice(len(keys), size=count, replace=False)
        return [keys[i] for i in sorted(int(i) for i in picked)]


def search_space(files: Mapping[str, str], editable: Sequence[str]) -> dict[Key, ParameterRange]:
    """The searchable constants of the editable Python files, with their ranges. Empty if none parses."""
    space: dict[Key, ParameterRange] = {}
    for path in editable:
        if path.endswith(".py") and path in files:
            try:
                constants = find_constants(files[path])
            except Unparsable:
                continue
            space.update({(path, c.name): r for c in constants if (r := range_of(c)) is not None})
    return space


# ---------------------------------------------------------------- without a model


def local_step(
    start: Mapping[Key, Number], ranges: Mapping[Key, ParameterRange], rng: np.random.Generator
) -> dict[Key, Number]:
    """A normal step from ``start`` in the coordinates of each range, a quarter of its width wide."""
    values = {}
    for key, span in ranges.items():
        low, high = span.bounds
        here = min(max(span.coordinate(start[key]), low), high)
        value = start[key]
        for _ in range(20):
            step = float(rng.normal())
            value = span.value(here + step * (high - low) / 4)
            if abs(step) >= 0.3 and value != start[key]:
                break
        values[key] = value
    return values


# ---------------------------------------------------------------- with the model of the genes


def by_genes(
    start: Values,
    code: frozenset[str],
    space: Mapping[Key, ParameterRange],
    trials: Sequence[Observation],
    direction: Direction,
    rng: np.random.Generator,
) -> Iterator[Values]:
    """Children of ``start`` that no trial of the same ``code`` has, the largest expected improvement first."""
    keys = tuple(space)
    known = {_setting(trial.values, keys) for trial in trials if trial.code == code} | {_setting(start, keys)}
    children: dict[tuple[Number | None, ...], Values] = {}
    for child in _children(start, space, elites(trials, direction), rng):
        children.setdefault(_setting(child, keys), child)
    fresh = [child for setting, child in children.items() if setting not in known]
    if fresh:
        improvement = GpSurrogate(trials, space, direction).predict(fresh, code).improvement
        for place in np.argsort(-improvement, kind="stable"):
            yield fresh[int(place)]


def elites(trials: Sequence[Observation], direction: Direction) -> list[Values]:
    """The values of the best scored trials, the best first."""
    scored = [trial for trial in trials if trial.score is not None]
    order = np.argsort(-normal_scores([trial.score or 0.0 for trial in scored], direction), kind="stable")
    return [scored[int(place)].values for place in order[:_ELITES]]


def _children(
    start: Values, space: Mapping[Key, ParameterRange], best: Sequence[Values], rng: np.random.Generator
) -> Iterator[Values]:
    """Settings near ``start``: one constant changed, several changed, values of other good programs taken over."""
    keys = list(space)
    alone = {key: _alone(start[key], space[key], rng) for key in keys}
    for key in keys:
        for value in alone[key]:
            yield {**start, key: value}
    for _ in range(_TOGETHER):
        count = min(len(keys), int(rng.integers(2, 4)))
        chosen = [keys[int(i)] for i in rng.choice(len(keys), size=count, replace=False)]
        yield {**start, **{key: _drawn(space[key], rng) for key in chosen}}
    for _ in range(_TOGETHER):
        donor = best[int(rng.integers(len(best)))]
        taken = [key for key in keys if rng.random() < 0.5 and _fits(donor.get(key), space[key])]
        child = {**start, **{key: donor[key] for key in taken}}
        if rng.random() < 0.5:
            key = keys[int(rng.integers(len(keys)))]
            child[key] = alone[key][int(rng.integers(len(alone[key])))] if alone[key] else start[key]
        yield child


def _alone(value: Number, span: ParameterRange, rng: np.random.Generator) -> list[Number]:
    """Other values of one constant: all of a short list of choices, or steps of several sizes and a fresh draw."""
    if span.choices and len(span.choices) <= _FEW:
        return [choice for choice in span.choices if choice != value]
    low, high = span.bounds
    here = min(max(span.coordinate(value), low), high)
    steps = [span.value(here + scale * float(rng.normal()) * (high - low)) for scale in _SCALES]
    return [other for other in (*steps, _drawn(span, rng)) if other != value]


def _fits(value: Number | None, span: ParameterRange) -> bool:
    """Whether a donor has the constant, and in this range."""
    return value is not None and span.low <= value <= span.high


def _setting(values: Values, keys: Sequence[Key]) -> tuple[Number | None, ...]:
    return tuple(map(values.get, keys))


def _drawn(span: ParameterRange, rng: np.random.Generator) -> Number:
    low, high = span.bounds
    return span.value(float(rng.uniform(low, high)))


# ---------------------------------------------------------------- in words


def _idea(changed: Mapping[Key, Number], start: Mapping[Key, Number]) -> str:
    return ", ".join(f"{key[1]} {start[key]!r} -> {value!r}" for key, value in changed.items())


def _names(space: Mapping[Key, ParameterRange]) -> str:
    return ", ".join(name for _, name in space)
