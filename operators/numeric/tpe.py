"""Optuna's multivariate TPE as proposer (Bergstra et al. 2011, "Algorithms for Hyper-Parameter Optimization").

The alternative to the surrogate in ``operators.numeric.tune``, and the baseline that the surrogate is compared with.
Parameters that do not change are left out of the study: the same density ratio as with Optuna's
``PartialFixedSampler``, at a third of the time.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np

from archive.records import Direction
from operators.numeric.proposer.proposals import WARM, changed_keys, local_step
from operators.numeric.proposer.ranges import Number, ParameterRange
from operators.numeric.proposer.trials import Key, KnownPrograms, Observation, Values


def tpe_settings(known: KnownPrograms, warm: int | None, rng: np.random.Generator) -> Iterator[Values]:
    """Yield settings to try without end: local steps below ``warm`` scored programs, then what TPE proposes.

    Only programs with the same parameters count: TPE needs the same ones everywhere.
    """
    warm, own = WARM if warm is None else warm, known.own
    scored = sum(one.score is not None for one in own)
    while True:
        keys = changed_keys(list(known.space), len(own), known.visits, warm, rng)
        ranges = {key: known.space[key] for key in keys}
        if scored < max(1, warm):
            yield local_step(known.start, ranges, rng)
        else:
            yield suggest(own, ranges, known.direction, int(rng.integers(2**31)))


def suggest(
    observations: Sequence[Observation], ranges: Mapping[Key, ParameterRange], direction: Direction, seed: int
) -> dict[Key, Number]:
    """Return what TPE proposes for the parameters of ``ranges``, given the observations. Deterministic in ``seed``.

    Pending programs count as the worst score seen (the constant liar "CL-max" of Ginsbourger et al. 2010). Failed ones
    are pruned trials, which TPE ranks below all scores.
    """
    import optuna  # takes 0.2 s; not needed by a search without TPE
    from optuna.distributions import BaseDistribution, FloatDistribution

    logging.getLogger("optuna").setLevel(logging.ERROR)  # it logs every study
    names = {key: f"{key[0]}:{key[1]}" for key in ranges}
    places = [{names[key]: span.encode(trial.values[key]) for key, span in ranges.items()} for trial in observations]
    # Values of other programs may lie outside of this parent's range: they inform, and proposals are clamped.
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
    scores = [trial.score for trial in observations if trial.score is not None]
    worst = max(scores) if direction == "minimise" else min(scores)
    study.add_trials([_trial(one, place, spaces, worst) for one, place in zip(observations, places, strict=True)])
    proposed = study.ask(spaces).params
    return {key: span.decode(float(proposed[names[key]])) for key, span in ranges.items()}


def _trial(observation: Observation, place: Mapping[str, float], spaces: Mapping[str, Any], worst: float) -> Any:
    """Return an observation as a trial of the study."""
    import optuna

    failed = observation.state == "failed"
    state = optuna.trial.TrialState.PRUNED if failed else optuna.trial.TrialState.COMPLETE
    value = None if failed else worst if observation.score is None else observation.score
    frozen = optuna.trial.create_trial(state=state, params=dict(place), distributions=dict(spaces), value=value)
    # The study would deep-copy every trial, at 0.15 ms each; these are made for it alone.
    vars(frozen)["__deepcopy__"] = partial(_itself, frozen)
    return frozen


def _itself(thing: Any, memo: Any) -> Any:
    return thing
