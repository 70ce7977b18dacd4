"""worth: what changes of the code are worth, by the scores of all programs that have them and of all that lack them.

    for one in Worths().of(tree, node_id, task.editable):
        one.words         "helps, by 9 programs with it and 14 without it"

A child that is better than its parent by less than the noise says nothing of the change that made it; all programs with
the change and all without it say more. The gene model of ``operators.numeric.surrogate`` compares the program with
itself: as it is and without one change that it carries, or with one that others carry and it lacks. What else differs
(constants that were tuned meanwhile, other changes) is what the model is there to allow for. Constants that a change
brought come and go with it, at the values that they have in the program, or in the best one that has the change.

A change is said to help or to do harm where the expected difference is ``SURE`` of its deviations or more, and at
least ``_LEAST`` programs with it and as many without it were scored. Of the others nothing is said.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from archive.records import Node
from archive.tree import Tree
from operators.analysis.sensitivity import Space, Study
from operators.languages.code_changes import Changes
from operators.languages.parameters import Number
from operators.numeric.observations import history, values_of
from operators.numeric.surrogate import GpSurrogate, Key, Observation
from operators.numeric.tune import FED, WARM, Values, search_space

SURE = 1.5
"""Deviations of an expected difference from which on it is told as one."""
_LEAST = 2


@dataclass(frozen=True)
class Worth:
    """What is known of one change of the code."""

    node_id: str
    """The node that made it."""
    carried: bool
    """Whether the program that was asked about has it."""
    gain: float
    """By how much a program is better with it than without it, in normal scores; see
    ``operators.numeric.surrogate``."""
    deviation: float
    having: int
    """Scored programs with it."""
    lacking: int

    @property
    def clear(self) -> bool:
        return abs(self.gain) >= SURE * self.deviation and min(self.having, self.lacking) >= _LEAST

    @property
    def words(self) -> str:
        effect = "helps" if self.gain > 0 else "does harm"
        return f"{effect}, by {self.having} programs with it and {self.lacking} without it"


@dataclass(frozen=True)
class Change:
    """A change of the code that some scored programs have and others lack."""

    name: str
    maker: Node
    """Whose step it was, on the way to the program that is asked about, or to the best one that has it."""
    brought: Mapping[Key, Number]
    """The constants that came with it, at the values of the best program that has it."""


@dataclass(frozen=True)
class Variants:
    """A program, and every change of the code that it could lose or gain, by age."""

    study: Study
    changes: Sequence[Change]

    def other(self, change: Change) -> tuple[Values, frozenset[str]]:
        """The constants and the code of the program without a change that it has, or with one that it lacks."""
        if change.name in self.study.code:
            left = {key: value for key, value in self.study.start.items() if key not in change.brought}
            return left, self.study.code - {change.name}
        return {**change.brought, **self.study.start}, self.study.code | {change.name}

    def model(self) -> GpSurrogate:
        """Raises ArithmeticError where it cannot be solved, and ValueError for fewer than two scores."""
        return GpSurrogate(self.study.trials, self.study.space, self.study.direction)


class Worths:
    """Reads the tree under its lock and computes outside of it. Thread-safe."""

    def __init__(self) -> None:
        self.changes = Changes()

    def of(self, tree: Tree, node_id: str, editable: Sequence[str]) -> tuple[Worth, ...]:
        """Of the changes that are clear, the most telling first. A pure function of the tree."""
        found = [worth for worth in self.all(tree, node_id, editable) if worth.clear]
        return tuple(sorted(found, key=lambda worth: -abs(worth.gain) / worth.deviation))

    def all(self, tree: Tree, node_id: str, editable: Sequence[str]) -> list[Worth]:
        """Of every change that some scored programs have and others lack, by age; none before ``WARM`` are scored."""
        with tree.lock:
            variants = self.variants(tree, node_id, editable)
        if variants is None or not variants.changes:
            return []
        try:
            return _worths(variants)
        except ArithmeticError:  # the model cannot be solved for such programs, and so tells nothing
            return []

    def variants(self, tree: Tree, node_id: str, editable: Sequence[str]) -> Variants | None:
        """None where fewer than ``WARM`` are scored. With ``tree.lock`` held."""
        files = tree[node_id].candidate.files
        start, space = values_of(files), search_space(files, editable)
        trials = history(tree, start.keys(), FED, self.changes, always=True) if start else []
        trials = [trial for trial in trials if trial.state != "pending"]
        scored = [trial for trial in trials if trial.score is not None]
        if len(scored) < WARM:
            return None
        code = self.changes.of(tree, node_id)
        changes = self._changes(tree, node_id, scored)
        for change in changes:
            space = {**_space(change, editable), **space}
        return Variants(Study(start, code, space, trials, tree.direction), changes)

    def _changes(self, tree: Tree, node_id: str, scored: Sequence[Observation]) -> list[Change]:
        sign = 1 if tree.direction == "minimise" else -1
        carriers: dict[str, Observation] = {}
        for trial in sorted(scored, key=lambda trial: sign * (trial.score or 0.0)):
            for name in sorted(trial.code):
                carriers.setdefault(name, trial)
        found = []
        for name, best in carriers.items():
            own = name in self.changes.of(tree, node_id)
            maker = self.changes.maker(tree, node_id if own else best.node_id, name)
            if maker is not None and any(name not in trial.code for trial in scored):
                found.append(Change(name, maker, _brought(tree, maker, best.values)))
        return sorted(found, key=lambda change: tree.index[change.maker.node_id])


def _brought(tree: Tree, maker: Node, values: Values) -> dict[Key, Number]:
    """The constants that a change of the code added, as far as a program has them still, at its values."""
    before = values_of(tree[maker.parents[0]].candidate.files)
    return {key: values[key] for key in values_of(maker.candidate.files) if key not in before and key in values}


def _space(change: Change, editable: Sequence[str]) -> Space:
    found = search_space(change.maker.candidate.files, editable)
    return {key: span for key, span in found.items() if key in change.brought}


def _worths(variants: Variants) -> list[Worth]:
    """The program beside itself without each change that it has, and with each that it lacks."""
    study = variants.study
    others = [variants.other(change) for change in variants.changes]
    programs, codes = [study.start, *(values for values, _ in others)], [study.code, *(code for _, code in others)]
    found = variants.model().compare(programs, codes)
    scored = [trial.code for trial in study.trials if trial.score is not None]
    worths = []
    for change, (gain, deviation) in zip(variants.changes, found.differences(), strict=True):
        carried = change.name in study.code
        having = sum(change.name in code for code in scored)
        told = -gain if carried else gain, deviation
        worths.append(Worth(change.maker.node_id, carried, *told, having, len(scored) - having))
    return worths
