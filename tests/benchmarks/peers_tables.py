"""The tables of ``peers.py``: the default search, Optuna's default sampler, and the rule of autoresearch.

As in ``policies.py``: 100 evaluations from a setting between the 30th and the 70th percentile (Optuna from random
ones), one child in five crashes; log10 of the true percentile, lower is better.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import policies
from playing import in_processes

from search.playing import tables
from search.playing.game import CRASHES, Played

SYSTEMS = ("treewright", "optuna", "hillclimb")
QUICK = (("nk", "1"),)
Job = tuple[str, tuple[str, str], int]


def climbed(table: tables.Table, seed: int, evaluations: int) -> Played:
    """Return a hill climb: one or, with 30%, two constants change; the child is kept if it scores better."""
    rng = np.random.default_rng([seed, 5])
    kept = table.start(np.random.default_rng([seed, 1]))
    score, reached, best = np.inf, 0.0, []
    for number in range(evaluations):
        child = list(kept)
        for place in rng.choice(len(child), size=1 + (rng.random() < 0.3), replace=False) if number else ():
            other = int(rng.integers(table.sizes[place] - 1))
            child[place] = other + (other >= child[place])
        if not number or rng.random() >= CRASHES:
            found = table.draw(tuple(child), int(rng.integers(2**31)))
            reached = min(reached, float(table.percentiles[table.place(tuple(child))]))
            if found < score:
                kept, score = tuple(child), found
        best.append(reached)
    return Played(np.array(best), float(table.percentiles[table.place(kept)]))


def played(job: Job) -> tuple[Job, Played]:
    name, place, seed = job
    if name == "hillclimb":
        return job, climbed(tables.load(*place), seed, policies.EVALUATIONS)
    return job, policies.run(policies.Job({"treewright": "ucb", "optuna": "tpe"}[name], place, seed))[1]


def measured(systems: Sequence[str], seeds: Sequence[int], quick: bool, done: set[Any]) -> Iterator[dict[str, Any]]:
    """Yield a row for each search that is not done yet, of the systems that play on tables."""
    places = QUICK if quick else tables.names()
    jobs = [(name, place, seed) for place in places for seed in seeds for name in SYSTEMS if name in systems]
    jobs = [job for job in jobs if (job[0], "/".join(job[1]), job[2]) not in done]
    for (name, place, seed), one in in_processes(played, jobs, 1):
        found = {"best": float(one.best[-1]), "picked": one.picked}
        yield {"system": name, "task": "/".join(place), "seed": seed, **found}
