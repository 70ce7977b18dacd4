"""effects: what the scores so far tell of each constant of a program, for whoever is to change it.

    found = Effects().of(tree, node_id, task.editable)
    found["train.py", "RATE"].words         "matters; 0.0031 is expected to be better than the present 0.001"
    found["train.py", "DROPOUT"].words      "no effect seen from 0.05 to 0.2"

The gene model of ``operators.numeric.surrogate`` is asked, with the programs that ``tune`` gives it. As it is it
cannot say that a constant does not matter: all constants share one length, so it is unsure of each. So constants are
taken out of it for as long as its evidence grows (backward elimination by marginal likelihood). Beside what remains

- a constant *matters* if the evidence is lower without it, by ``CLEAR`` or more (a Bayes factor of 55);
- there is *no effect seen* of one if the evidence is lower with it, by ``DOUBTFUL`` or more, and programs differ in it:
  between the values at one tenth and at nine tenths of those that were tried, and no further. Where programs differ
  in code this is not said: code hides what a constant does, and 17 of 63 such statements were wrong;
- nothing is said of others: what was not tried is not known to be idle.

For a constant that matters the parent is compared with itself at up to ``_GRID`` values of that constant alone. The
best is told where the expected gain is more than its uncertainty, also in the unit of the metric: normal scores are put
back to scores by the ranks of those that were seen, and never beyond them.

How often this is true, on tables of real trainings with two constants added that do nothing, and in brackets on tables
that no number here was chosen on (``tests/benchmarks/effects.py --seeds 6``, and ``--held-out``; then the latter with
four such constants and 10 seeds): of what was said to matter 2% did nothing (0 of 296; 9 of 366). Of what had no effect
7% (12%; 5%) changed the true score by more than a quarter of the deviation of the scores. 30 of 32 (17 of 19; 27 of 33)
better values were better. What they gain is not told, nor what has no effect where code differs, because of the tables
in brackets: gains came out at several times the truth (a median of 1.5 deviations of the scores instead of 0.3). At the
leader of a search better values are rare: tune has found them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import ndtri

from archive.records import Direction
from archive.tree import Floats, Tree
from operators.languages.code_changes import Changes
from operators.languages.parameters import Number
from operators.numeric.observations import history, values_of
from operators.numeric.search_space import ParameterRange
from operators.numeric.surrogate import GpSurrogate, Key, Observation, normal_scores
from operators.numeric.tune import FED, WARM, Values, search_space

CLEAR = 4.0
"""In units of the logarithm of the evidence."""
DOUBTFUL = 2.0
_GRID = 9
_SURE = 1.5
"""Deviations of a normal score that a gain must have."""
_WIDER = 2.0
"""The model is too sure, since it takes for certain what was left out of it: its deviations are taken so many times."""
_LIKELY = 0.5
"""A value at which programs fail more often than this is no better value."""
_MIDDLES = ndtri((np.arange(9) + 0.5) / 9)
"""Nine equally likely places of a normal variable."""

Space = Mapping[Key, ParameterRange]


@dataclass(frozen=True)
class Better:
    """A value of a constant that should be better than the present one, everything else unchanged."""

    value: Number
    present: Number
    gain: float
    """In the unit of the metric; positive is better, whatever its direction."""
    deviation: float
    capped: bool
    """Whether the model goes beyond the scores that were seen: the gain is at least this."""


@dataclass(frozen=True)
class Matters:
    """The constant changes the score."""

    better: Better | None = None
    """None where the present value is as good as any, or where it is not clear which is better."""

    @property
    def words(self) -> str:
        """A short clause that no line of a program looks like."""
        if self.better is None:
            return "matters"
        return f"matters; {self.better.value!r} is expected to be better than the present {self.better.present!r}"


@dataclass(frozen=True)
class NoEffect:
    """Programs differ in the constant, and their scores do not."""

    tried: tuple[Number, Number] | None
    """From where to where; None for values that have no order."""

    @property
    def words(self) -> str:
        """A short clause that no line of a program looks like."""
        return "no effect seen" if self.tried is None else "no effect seen from {:g} to {:g}".format(*self.tried)


Effect = Matters | NoEffect


@dataclass(frozen=True)
class Study:
    """All that the effects at one node follow from."""

    start: Values
    code: frozenset[str]
    space: Space
    trials: Sequence[Observation]
    direction: Direction


class Effects:
    """Reads the tree under its lock and computes outside of it. Thread-safe."""

    def __init__(self) -> None:
        self._changes = Changes()

    def of(self, tree: Tree, node_id: str, editable: Sequence[str]) -> dict[Key, Effect]:
        """By constant, those of which something is known. A pure function of the tree."""
        study = self.study(tree, node_id, editable)
        return {} if study is None else effects(study)

    def study(self, tree: Tree, node_id: str, editable: Sequence[str]) -> Study | None:
        """None where fewer than ``WARM`` programs with the same constants were scored."""
        with tree.lock:
            files = tree[node_id].candidate.files
            start, space = values_of(files), search_space(files, editable)
            trials = history(tree, start.keys(), FED, self._changes, always=True) if space else []
            # Of pending ones the model believes what it expects: right for proposals, and no news here.
            trials = [trial for trial in trials if trial.state != "pending"]
            alike = sum(trial.score is not None and trial.values.keys() == start.keys() for trial in trials)
            if alike < WARM:
                return None
            code = self._changes.of(tree, node_id)
        return Study(start, code, space, trials, tree.direction)


def effects(study: Study) -> dict[Key, Effect]:
    """By constant of the study's space, those of which something is known."""
    scores = [trial.score for trial in study.trials if trial.score is not None]
    if len(set(scores)) < 2:
        return {}
    try:
        kept, worth = _selected(study)
    except ArithmeticError:  # the model cannot be solved for such programs, and so tells nothing
        return {}
    found: dict[Key, Effect] = {}
    alike = len({trial.code for trial in study.trials} | {study.code}) == 1
    for key, span in study.space.items():
        if key in kept and worth[key] >= CLEAR:
            found[key] = Matters(_better(kept, study, key, Scale(scores, study.direction)))
        elif alike and key not in kept and worth[key] <= -DOUBTFUL and (extent := tried(study.trials, key)) is not None:
            found[key] = NoEffect(None if span.unordered or isinstance(extent[0], bool) else extent)
    return found


# ---------------------------------------------------------------- which constants matter


def _selected(study: Study) -> tuple[dict[Key, ParameterRange], dict[Key, float]]:
    """The constants that the evidence is for; and by how much it is higher with each constant than without."""

    def evidence(space: Space) -> float:
        return GpSurrogate(study.trials, space, study.direction).evidence

    kept = dict(study.space)
    best = evidence(kept)
    while True:
        worth = {key: best - evidence(_without(kept, [key])) for key in kept}
        idle = sorted((key for key in worth if worth[key] <= 0), key=worth.__getitem__)
        if not idle:
            break
        # Half of them at once, where that does no harm: of two that say the same each is idle, and not both.
        fewer = _without(kept, idle[: (len(idle) + 1) // 2])
        if (together := evidence(fewer)) < best:
            fewer = _without(kept, idle[:1])
            together = best - worth[idle[0]]
        kept, best = fewer, together
    worth |= {key: evidence({**kept, key: span}) - best for key, span in study.space.items() if key not in kept}
    return kept, worth


def _without(space: Space, keys: Sequence[Key]) -> dict[Key, ParameterRange]:
    return {key: span for key, span in space.items() if key not in keys}


def tried(trials: Sequence[Observation], key: Key) -> tuple[Number, Number] | None:
    """The values at a tenth and at nine tenths of those that were tried; None where they are one."""
    values = sorted(trial.values[key] for trial in trials if trial.score is not None and key in trial.values)
    low, high = values[len(values) // 10], values[-1 - len(values) // 10]
    return (low, high) if low != high else None


# ---------------------------------------------------------------- what a better value is worth


class Scale:
    """From normal scores back to the metric, as the scores that were seen lie."""

    def __init__(self, scores: Sequence[float], direction: Direction) -> None:
        """At least two different scores."""
        self.seen, places = np.unique(np.asarray(scores), return_index=True)
        self._normal = normal_scores(scores, direction)[places]
        self._sign = -1.0 if direction == "minimise" else 1.0
        if direction == "minimise":
            self.seen, self._normal = self.seen[::-1], self._normal[::-1]

    def beyond(self, normal: float) -> bool:
        """Whether nothing as good, or as bad, was seen."""
        return not self._normal[0] <= normal <= self._normal[-1]

    def gain(self, before: Floats, after: Floats) -> Floats:
        """By how much the scores at ``after`` are better, both kept to what was seen."""
        gains: Floats = self._sign * (self._score(after) - self._score(before))
        return gains

    def _score(self, normal: Floats) -> Floats:
        score: Floats = np.interp(normal, self._normal, self.seen)
        return score


def _better(kept: Space, study: Study, key: Key, scale: Scale) -> Better | None:
    """The best other value of one constant, if it is clearly better."""
    present = study.start[key]
    values = [value for value in _grid(study.space[key]) if value != present]
    programs = [study.start, *({**study.start, key: value} for value in values)]
    found = GpSurrogate(study.trials, kept, study.direction).compare(programs, study.code)
    here, spread = found.mean[0], found.deviation[0]
    # A value that mostly fails is not recommended.
    gains = np.where(found.chance > _LIKELY, found.mean - here, -np.inf)
    gains[0] = 0.0
    best = int(np.argmax(gains))
    variance = found.deviation[best] ** 2 + spread**2 - 2 * found.covariance[best]
    if not gains[best] > _SURE * np.sqrt(max(variance, 0.0)):
        return None
    # Both as they may be together (where one is high the other tends to be), since the scale is not even.
    slope = found.covariance[best] / spread**2
    rest = np.sqrt(max(found.deviation[best] ** 2 - slope**2 * spread**2, 0.0))
    shift, step = np.meshgrid(spread * _MIDDLES, rest * _MIDDLES)
    drawn = scale.gain(here + shift, found.mean[best] + slope * shift + step)
    low, middle, high = (float(quantile) for quantile in np.quantile(drawn, (0.16, 0.5, 0.84)))
    deviation = _WIDER * (high - low) / 2
    if middle <= deviation:
        return None
    return Better(values[best - 1], present, middle, deviation, scale.beyond(here) or scale.beyond(found.mean[best]))


def _grid(span: ParameterRange) -> list[Number]:
    """Values over the whole range, evenly in its coordinate: all of a short list of choices."""
    if span.choices and len(span.choices) <= _GRID:
        return list(span.choices)
    low, high = span.bounds
    return list(dict.fromkeys(span.value(float(place)) for place in np.linspace(low, high, _GRID)))
