"""tune: numeric search over a program's ALL_CAPS constants. Needs no language model.

The mutation kernel, for a parent with ``d`` searchable constants (``operators.ranges`` says over which range):

1. *How many* change: ``1 + Binomial(2, p)``, at most ``d``, with ``p = max(0.4, m / (m + n), c / (c + 16))`` for
   ``n`` scored programs with the same constants, ``c`` earlier children of this parent, and ``m = 8``. A young tree
   makes bold moves (three at once); so does a parent that was tried a lot; otherwise two change on average (on a
   quadratic over 11 constants, 20 children of UCB parents: 1 each time ended 0.08 worse than 2, 6 ended 0.04 worse).
   *Which* ones: uniformly at random.
2. *To what*, while ``n < m``: a normal step in coordinates (log-normal for widths and rates) with a deviation of a
   quarter of the range; steps under 0.3 deviations are drawn again, since noise would hide them.
   From then on: Optuna's multivariate TPE (Bergstra et al. 2011, "Algorithms for Hyper-Parameter Optimization") over
   the chosen constants, the others fixed at the parent's values. Fixing them by leaving them out of the study gives
   the same density ratio as Optuna's ``PartialFixedSampler``, at a third of the time.

TPE is fed with at most 48 scored programs, the best and the latest ones, so that a proposal costs the same in a tree
of 100,000 nodes (Optuna's storage copies every trial: 64 cost 3 ms). Pending ones count as the worst score seen (the
constant liar "CL-max" of Ginsbourger et al. 2010), so that parallel slots get different proposals. A child of this
operator that failed is fed as a pruned trial, which TPE ranks below all scores; other failures may be the code's
fault and are left out.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import islice
from typing import Any

import numpy as np

from archive.records import Candidate, Direction, Node, Propose
from archive.tree import Tree
from operators.base import Context, NoCandidate
from operators.constants import Number, find_constants, set_constants
from operators.duplicates import normalised
from operators.ranges import Range, range_of
from operators.syntax import Unparsable

Key = tuple[str, str]
"""(path, name) of a constant."""

_RECENT = 256
"""How far back pending and failed nodes are looked for; older ones are long decided."""


@dataclass(frozen=True)
class Trial:
    """A known program as TPE sees it. ``score`` is None if it failed."""

    values: Mapping[Key, Number]
    score: float | None


class Tune:
    """Changes one to three constants of the parent."""

    arity = 1
    needs_llm = False

    def __init__(self, name: str = "tune", warm: int = 8, fed: int = 48, tries: int = 12) -> None:
        """``warm``: scored programs before TPE takes over. ``fed``: trials given to it. ``tries``: before giving up."""
        self.name = name
        self.warm = warm
        self.fed = fed
        self.tries = tries

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
            start = _values(parent.candidate.files)
            trials = history(context.tree, start.keys(), self.fed)
            charges = int(context.tree.charges[context.tree.index[parent.node_id]])
        for _ in range(self.tries):
            chosen = self._choose(list(space), len(trials), charges, context.rng)
            ranges = {key: space[key] for key in chosen}
            if sum(trial.score is not None for trial in trials) < self.warm:
                values = local_step(start, ranges, context.rng)
            else:
                seed = int(context.rng.integers(2**31))
                values = suggest(trials, ranges, context.tree.direction, seed)
            changed = {key: value for key, value in values.items() if value != start[key]}
            files = _rewrite(parent.candidate.files, changed)
            if changed and normalised(files) not in context.known:
                return Candidate(files, move.parents, self.name, _idea(changed, start))
        return NoCandidate(f"tune found no new setting of {_names(space)} in {self.tries} tries: all are known already")

    def _choose(self, keys: list[Key], scored: int, charges: int, rng: np.random.Generator) -> list[Key]:
        bold = max(0.4, self.warm / (self.warm + scored), charges / (charges + 16))
        count = min(len(keys), 1 + int(rng.binomial(2, bold)))
        picked = rng.choice(len(keys), size=count, replace=False)
        return [keys[i] for i in sorted(int(i) for i in picked)]


def search_space(files: Mapping[str, str], editable: Sequence[str]) -> dict[Key, Range]:
    """The searchable constants of the editable Python files, with their ranges. Empty if none parses."""
    space: dict[Key, Range] = {}
    for path in editable:
        if path.endswith(".py") and path in files:
            try:
                constants = find_constants(files[path])
            except Unparsable:
                continue
            space.update({(path, c.name): r for c in constants if (r := range_of(c)) is not None})
    return space


def history(tree: Tree, keys: object, limit: int) -> list[Trial]:
    """What is known of programs with exactly these constants, in order of arrival: at most ``limit`` scored ones,
    half of them the best and half the latest; then pending ones (as the worst score) and failed children of tune.

    Costs O(number of nodes) only in one numpy partition; sources are parsed once and cached.
    """
    means = tree.means
    scored = np.flatnonzero(tree.eligible())
    if not len(scored):
        return []
    badness = means[scored] if tree.direction == "minimise" else -means[scored]
    # Twice as many as needed, since some will have other constants.
    half = min(limit, len(scored))
    best = scored[np.argpartition(badness, half - 1)[:half]]
    best = best[np.argsort(means[best] if tree.direction == "minimise" else -means[best], kind="stable")]
    alike = (i for i in best if _values(tree.nodes[i].candidate.files).keys() == keys)
    picked = {int(i) for i in islice(alike, limit // 2)}
    latest = (i for i in scored[: -limit - 1 : -1] if _values(tree.nodes[i].candidate.files).keys() == keys)
    picked.update(int(i) for i in islice((i for i in latest if int(i) not in picked), limit - len(picked)))
    if not picked:
        return []
    trials = [Trial(_values(tree.nodes[i].candidate.files), float(means[i])) for i in sorted(picked)]
    scores = [trial.score for trial in trials if trial.score is not None]
    worst = max(scores) if tree.direction == "minimise" else min(scores)
    return trials + _undecided(tree, keys, worst)


def _undecided(tree: Tree, keys: object, worst: float) -> list[Trial]:
    """Recent nodes without a score: pending ones, and children of tune that failed."""
    trials = []
    for i in range(max(0, len(tree.nodes) - _RECENT), len(tree.nodes)):
        node = tree.nodes[i]
        if not math.isnan(tree.means[i]) or _values(node.candidate.files).keys() != keys:
            continue
        if not tree.failures(node.node_id):
            trials.append(Trial(_values(node.candidate.files), worst))
        elif _only_constants_changed(node, tree):
            trials.append(Trial(_values(node.candidate.files), None))
    return trials[-32:]


def _only_constants_changed(node: Node, tree: Tree) -> bool:
    """Whether a failure is the constants' fault: its parent scored, and set to its constants is the same text."""
    if len(node.parents) != 1 or math.isnan(tree.means[tree.index[node.parents[0]]]):
        return False
    parent = tree[node.parents[0]].candidate.files
    return _rewrite(parent, _values(node.candidate.files)) == dict(node.candidate.files)


def local_step(start: Mapping[Key, Number], ranges: Mapping[Key, Range], rng: np.random.Generator) -> dict[Key, Number]:
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


def suggest(trials: Sequence[Trial], ranges: Mapping[Key, Range], direction: Direction, seed: int) -> dict[Key, Number]:
    """What TPE proposes for the constants of ``ranges``, given the trials. Deterministic in ``seed``."""
    import optuna  # 0.2 s, which a search without tune need not wait for
    from optuna.distributions import BaseDistribution, FloatDistribution

    logging.getLogger("optuna").setLevel(logging.ERROR)  # it announces every study
    names = {key: f"{key[0]}:{key[1]}" for key in ranges}
    places = [{names[key]: span.coordinate(trial.values[key]) for key, span in ranges.items()} for trial in trials]
    # What other programs have tried may lie outside of this parent's range; it informs, and proposals are clamped.
    spaces: dict[str, BaseDistribution] = {
        names[key]: FloatDistribution(
            min(span.bounds[0], *(place[names[key]] for place in places)),
            max(span.bounds[1], *(place[names[key]] for place in places)),
        )
        for key, span in ranges.items()
    }
    study = optuna.create_study(
        direction="minimize" if direction == "minimise" else "maximize",
        sampler=optuna.samplers.TPESampler(seed=seed, n_startup_trials=0),
    )
    given = []
    for place, trial in zip(places, trials, strict=True):
        state = optuna.trial.TrialState.PRUNED if trial.score is None else optuna.trial.TrialState.COMPLETE
        frozen = optuna.trial.create_trial(state=state, params=place, distributions=spaces, value=trial.score)
        # The study copies every trial that it is given, at 0.15 ms each; these are made for it alone.
        vars(frozen)["__deepcopy__"] = partial(_itself, frozen)
        given.append(frozen)
    study.add_trials(given)
    proposed = study.ask(spaces).params
    return {key: span.value(float(proposed[names[key]])) for key, span in ranges.items()}


def _itself(thing: Any, memo: Any) -> Any:
    return thing


def _values(files: Mapping[str, str]) -> dict[Key, Number]:
    """All constants of all Python files; a file that does not parse has none."""
    values: dict[Key, Number] = {}
    for path, text in files.items():
        if path.endswith(".py"):
            try:
                values.update({(path, c.name): c.value for c in find_constants(text)})
            except Unparsable:
                continue
    return values


def _rewrite(files: Mapping[str, str], values: Mapping[Key, Number]) -> dict[str, str]:
    by_path: dict[str, dict[str, Number]] = {}
    for (path, name), value in values.items():
        by_path.setdefault(path, {})[name] = value
    return {path: set_constants(text, by_path[path]) if path in by_path else text for path, text in files.items()}


def _idea(changed: Mapping[Key, Number], start: Mapping[Key, Number]) -> str:
    return ", ".join(f"{key[1]} {start[key]!r} -> {value!r}" for key, value in changed.items())


def _names(space: Mapping[Key, Range]) -> str:
    return ", ".join(name for _, name in space)
