"""tune: numeric search over the parameters of a program. Needs no language model.

Parameters are the ALL_CAPS constants of Python, in other languages the numbers in front of a ``tune:`` comment, and
numbers in JSON and YAML files that the task declares by their path (``operators.languages``).

For a parent with ``d`` searchable parameters (``operators.numeric.search_space`` defines their ranges) and ``n``
scored programs with the same parameters:

*While n < 8* (``warm``): ``1 + Binomial(2, p)`` parameters change, at most ``d``, drawn uniformly, with
``p = max(0.4, 8 / (8 + n), c / (c + 16))`` for ``c`` earlier children of this parent: steps are bold in a young tree
and at a parent that was often tried. Each parameter makes a normal step in its encoding (log-normal for widths and
rates) with a deviation of a quarter of the range; steps under 0.3 deviations are redrawn, since noise would hide them.

*From then on* the surrogate of ``operators.numeric.surrogate`` ranks some two hundred children of the parent by
expected improvement: each parameter changed alone, several changed together, and values taken over from other good
programs. Programs that lack some of the parameters inform it, too. The best child that is not known yet is proposed.

A small space of whole numbers and choices is tried in full, and then the operator does not apply any more
(``operators.numeric.exhaustion``).

``proposer: tpe`` uses Optuna's TPE instead, over one to three drawn parameters; see ``operators.numeric.tpe``.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from typing import Literal

import numpy as np

from archive.records import Candidate, Direction, Propose
from archive.tree import Tree
from operators.base import Context, NoCandidate
from operators.languages.files import Editable
from operators.languages.fingerprint import fingerprint
from operators.languages.parameters import Number
from operators.numeric import tpe
from operators.numeric.exhaustion import Choices, Exhaustion, choices_of, settings_of
from operators.numeric.observations import (
    Key,
    Observation,
    Values,
    is_tunable,
    lineage_files,
    observe,
    search_space,
    values_of,
    with_values,
)
from operators.numeric.search_space import ParameterRange
from operators.numeric.surrogate import GpSurrogate, normal_scores
from prepare.task import Task

WARM = 8
"""Scored programs with the same parameters before the surrogate is used."""
FED = 64
"""Scored programs that it is fitted to."""

NOTHING_TO_TUNE = (
    "nothing to tune: no file that may change has a number that the numeric search knows. Write one as "
    "`RATE = 0.001  # tune: 1e-4..1e-2 log`, with the language's own comment mark, to have it searched."
)

_FEW = 12
"""A list of choices up to this length is tried in full."""
_TOGETHER = 48
"""Children in which several parameters change; and as many that take over values of others."""
_ELITES = 8
_SCALES = (0.25, 0.25, 0.08, 0.08)
"""Deviations of the steps of one parameter alone, in widths of its range."""

Space = Mapping[Key, ParameterRange]


class Tune:
    """Change one or several parameters of the parent."""

    arity = 1
    needs_llm = False

    def __init__(
        self,
        name: str = "tune",
        warm: int = WARM,
        fed: int = FED,
        tries: int = 12,
        proposer: Literal["surrogate", "tpe", "genes"] = "surrogate",
    ) -> None:
        """Set up the operator.

        Args:
            warm: Scored programs before the surrogate is used.
            fed: Scored programs that it is fitted to.
            tries: Known settings after which the proposal is refused.
            proposer: ``genes`` is the former name of ``surrogate``.

        Raises:
            ValueError: Unknown proposer.
        """
        if proposer not in ("surrogate", "tpe", "genes"):
            raise ValueError(f"tune has proposer={proposer!r}; expected surrogate or tpe. Set operators.tune.proposer.")
        self.name = name
        self.warm = warm
        self.fed = fed
        self.tries = tries
        self.proposer = "tpe" if proposer == "tpe" else "surrogate"
        self._editable = Editable()
        self._tunable: dict[str, bool] = {}
        self._exhaustion = Exhaustion()

    def set_task(self, task: Task) -> None:
        """Tell which files and numbers may change; until then all files of a program may."""
        self._editable = Editable.of(task)
        self._tunable.clear()
        self._exhaustion = Exhaustion(self._editable)

    def applies(self, tree: Tree, node_id: str) -> bool:
        """True for a scored node whose program has a searchable parameter, unless all of its settings are known."""
        scored = not math.isnan(tree.means[tree.index[node_id]])
        return scored and self._is_tunable(tree, node_id) and not self._exhaustion.of(tree, node_id)

    def spent(self) -> str:
        """Return what was exhausted last and what to do about it; empty if nothing was."""
        if not self._exhaustion.words:
            return ""
        return (
            f"{self.name}: {self._exhaustion.words}. For more, widen the ranges behind `tune:`, mark more numbers, or "
            "choose operators that change code (operators=auto with llm=...)."
        )

    def _is_tunable(self, tree: Tree, node_id: str) -> bool:
        """Return whether there is something to search. Cached by node, since programs never change."""
        if node_id not in self._tunable:
            self._tunable[node_id] = is_tunable(tree[node_id].candidate.files, self._editable)
        return self._tunable[node_id]

    def propose(self, move: Propose, context: Context) -> Candidate | NoCandidate:
        with context.tree.lock:
            parent = context.tree[move.parents[0]]
            files = parent.candidate.files
            editable = Editable.of(context.task)
            lineage = lineage_files(context.tree, parent.node_id)
            space = search_space(files, editable, lineage)
            if not space:
                return NoCandidate(NOTHING_TO_TUNE)
            observations = observe(context.tree, files, self.fed, editable.declared)
            visits = int(context.tree.visits[context.tree.index[parent.node_id]])
        start = values_of(files, editable.declared)
        settings = self._settings(start, space, observations, visits, context.tree.direction, context.rng)
        rest = self._rest(choices_of(files, editable, lineage), context.rng)
        for values in itertools.chain(islice(settings, self.tries), rest):
            changed = {key: value for key, value in values.items() if value != start[key]}
            child = with_values(files, changed, editable.declared)
            if changed and fingerprint(child) not in context.known:
                return Candidate(child, move.parents, self.name, _idea(changed, start))
        return NoCandidate(f"tune found no new setting of {_names(space)} in {self.tries} tries: all are known already")

    def _rest(self, choices: Choices | None, rng: np.random.Generator) -> Iterator[Values]:
        """Yield all settings of a small space in random order."""
        settings = [] if choices is None else list(settings_of(choices))
        yield from (settings[int(i)] for i in rng.permutation(len(settings)))

    def _settings(
        self,
        start: Values,
        space: Space,
        observations: Sequence[Observation],
        visits: int,
        direction: Direction,
        rng: np.random.Generator,
    ) -> Iterator[Values]:
        """Yield settings to try, the most promising first."""
        own = [one for one in observations if one.values.keys() == start.keys()]
        if self.proposer == "tpe":  # TPE needs the same parameters everywhere
            observations = own
        scored = sum(one.score is not None for one in own)
        if self.proposer == "surrogate" and scored >= max(2, self.warm):
            yield from by_expected_improvement(start, space, observations, direction, rng)
        while True:
            ranges = {key: space[key] for key in self._choose(list(space), len(observations), visits, rng)}
            if scored < max(1, self.warm) or self.proposer == "surrogate":
                yield local_step(start, ranges, rng)
            else:
                yield tpe.suggest(observations, ranges, direction, int(rng.integers(2**31)))

    def _choose(self, keys: list[Key], known: int, visits: int, rng: np.random.Generator) -> list[Key]:
        bold = max(0.4, self.warm / (self.warm + known), visits / (visits + 16))
        count = min(len(keys), 1 + int(rng.binomial(2, bold)))
        picked = rng.choice(len(keys), size=count, replace=False)
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
    return [scored[int(place)].values for place in order[:_ELITES]]


def _children(start: Values, space: Space, best: Sequence[Values], rng: np.random.Generator) -> Iterator[Values]:
    """Yield settings near ``start``: one parameter changed, several changed, values of other good programs taken."""
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
        taken = [key for key in keys if rng.random() < 0.5 and key in donor and donor[key] in space[key]]
        child = {**start, **{key: donor[key] for key in taken}}
        if rng.random() < 0.5:
            key = keys[int(rng.integers(len(keys)))]
            child[key] = alone[key][int(rng.integers(len(alone[key])))] if alone[key] else start[key]
        yield child


def _alone(value: Number, span: ParameterRange, rng: np.random.Generator) -> list[Number]:
    """Return other values of one parameter: a short list of choices in full, or steps of several sizes and a draw."""
    if span.choices and len(span.choices) <= _FEW:
        return [choice for choice in span.choices if choice != value]
    low, high = span.bounds
    here = min(max(span.encode(value), low), high)
    steps = [span.decode(here + scale * float(rng.normal()) * (high - low)) for scale in _SCALES]
    return [other for other in (*steps, _drawn(span, rng)) if other != value]


def _setting(values: Values, keys: Sequence[Key]) -> tuple[Number | None, ...]:
    return tuple(map(values.get, keys))


def _drawn(span: ParameterRange, rng: np.random.Generator) -> Number:
    low, high = span.bounds
    return span.decode(float(rng.uniform(low, high)))


def _idea(changed: Values, start: Values) -> str:
    return ", ".join(f"{key[1]} {start[key]!r} -> {value!r}" for key, value in changed.items())


def _names(space: Space) -> str:
    return ", ".join(name for _, name in space)
