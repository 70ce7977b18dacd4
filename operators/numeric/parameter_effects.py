"""Effect of each changed parameter: how much a program gains by it over the seed program's value.

The steps of a lineage were chosen on single runs. All programs with the same code, whatever their parameters, say more,
and no evaluation is needed: the surrogate compares the program with itself with one parameter put back to its first
value. This is an estimate; ``python -m search ablate`` measures.

Changes of the code are not judged: that needs programs with and without each change, which few runs have.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from archive.records import Direction
from archive.tree import Tree
from operators.languages.files import Editable, Files
from operators.numeric.observations import (
    differ_in_values_only,
    lineage_files,
    observe,
    search_space,
    values_of,
)
from operators.numeric.proposer.proposals import WARM
from operators.numeric.proposer.ranges import Number
from operators.numeric.proposer.surrogate import GpSurrogate
from operators.numeric.proposer.trials import Key, Observation, Values
from operators.numeric.tune import FED

SURE = 1.5
"""Deviations that a difference must have to be called one."""

Verdict = Literal["helps", "does harm", "not clear"]


@dataclass(frozen=True)
class ParameterEffect:
    """One parameter whose value differs from the seed program's."""

    name: str
    seed_value: Number
    value: Number
    gain: float
    """How much better the program is with ``value``, in normal scores; see ``operators.numeric.proposer.surrogate``."""
    deviation: float

    @property
    def verdict(self) -> Verdict:
        if abs(self.gain) < SURE * self.deviation:
            return "not clear"
        return "helps" if self.gain > 0 else "does harm"


@dataclass(frozen=True)
class Explanation:
    """All changed parameters, the most helpful first."""

    effects: tuple[ParameterEffect, ...]
    programs: int
    """Scored programs with the same code, which the estimate is based on."""
    code_changed: bool
    """Whether the program differs from the seed program in code, too."""


def explain_parameters(tree: Tree, node_id: str) -> Explanation | None:
    """Return the effects of a node's parameters; None with fewer than ``WARM`` scored programs of the same code."""
    with tree.lock:
        files = tree[node_id].candidate.files
        observations = [one for one in observe(tree, files, FED) if one.same_code and one.state != "pending"]
        direction, lineage = tree.direction, lineage_files(tree, node_id)
    return explanation(lineage, observations, direction)


def explanation(
    lineage: Sequence[Files], observations: Sequence[Observation], direction: Direction
) -> Explanation | None:
    """Return the effects of the last program's parameters; None with fewer than ``WARM`` scored programs.

    Args:
        lineage: The files of the program's ancestors, the seed's first, and its own.
        observations: Programs with the same code.
    """
    seed, files = lineage[0], lineage[-1]
    scored = sum(one.score is not None for one in observations)
    if scored < WARM:
        return None
    try:
        effects = _effects(values_of(files), values_of(seed), lineage, observations, direction)
    except ArithmeticError:  # the surrogate cannot be solved for these programs
        return None
    ordered = tuple(sorted(effects, key=lambda effect: -effect.gain))
    return Explanation(ordered, scored, not differ_in_values_only(seed, files))


def _effects(
    now: Values, seed: Values, lineage: Sequence[Files], observations: Sequence[Observation], direction: Direction
) -> Iterator[ParameterEffect]:
    files = lineage[-1]
    space = search_space(files, Editable(), lineage)
    changed: list[Key] = [key for key in space if key in seed and seed[key] != now[key]]
    if not changed:
        return
    surrogate = GpSurrogate(observations, space, direction)
    gains = surrogate.gains([now, *({**now, key: seed[key]} for key in changed)])
    for key, (gain, deviation) in zip(changed, gains, strict=True):
        yield ParameterEffect(key[1], seed[key], now[key], -gain, deviation)
