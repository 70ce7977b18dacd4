"""Aims: the kinds of change that ``improve`` is told to make, and which of them is due.

A model that may change anything changes learning rates. So each proposal gets one kind of change to make, an *aim*:
``architecture``, ``optimiser``, ``schedule`` ... They are the headings of ``prompts/aims.md``, and what stands under a
heading is what the model is told about it; a user's own file may have others.

Which aim is due is learned from what the earlier ones gained, by Thompson sampling (Thompson 1933) with discounted
counts (Raj and Kalyani 2017, "Taming non-stationary bandits in a Bayesian approach") and fractional rewards:

    reward of a child  r = g / (g + 2 sigma) if it gained g > 0 on the better of its parents, else 0; failures are 0
    of an aim          S = sum of w r,  F = sum of w (1 - r),  with w = decay^(younger children that had any aim)
    drawn              p ~ Beta(1 + S, 1 + F) for each aim; the largest is due

None is ever given up: what is not tried is forgotten at the pace at which it was learned, and an aim of which nothing
is known any more is drawn as one that was never tried. A pure function of the tree and the move's generator.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from archive.tree import Tree

DECAY = 0.98
_REMEMBERED = 300
"""Children with an aim that are looked at; older ones weigh less than 0.98^300 = 0.2%."""
_LOOKED_AT = 20_000
"""Nodes that are looked at to find them."""
_SECTION = re.compile(r"^#+[ \t]*([^\n]+?)[ \t]*\n(.*?)(?=^#|\Z)", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True)
class ChangeKind:
    """A kind of change, and what the model is told about it."""

    name: str
    words: str


def read_aims(text: str) -> tuple[ChangeKind, ...]:
    """The sections of ``aims.md``. Raises ValueError where there is none, or two of one name."""
    aims = tuple(ChangeKind(name, " ".join(words.split())) for name, words in _SECTION.findall(text))
    if not aims:
        raise ValueError("aims.md has no section; expected headings such as `# architecture`, with words below each")
    names = [aim.name for aim in aims]
    if double := {name for name in names if names.count(name) > 1}:
        raise ValueError(f"aims.md has two sections named {min(double)!r}; give each kind of change one")
    return aims


def due(aims: Sequence[ChangeKind], tree: Tree, sigma: float | None, rng: np.random.Generator) -> ChangeKind:
    """The aim of the next proposal."""
    won = np.zeros(len(aims))
    lost = np.zeros(len(aims))
    place = {aim.name: i for i, aim in enumerate(aims)}
    gains = list(_gains(tree, place))
    typical = sigma or float(np.mean([abs(gain) for _, gain in gains if gain is not None] or [0.0]))
    for age, (name, gain) in enumerate(gains):
        weight, earned = DECAY**age, reward(gain, typical)
        won[place[name]] += weight * earned
        lost[place[name]] += weight * (1 - earned)
    return aims[int(np.argmax(rng.beta(1 + won, 1 + lost)))]


def reward(gain: float | None, sigma: float) -> float:
    """In [0, 1): half for a gain of two deviations, nothing for a failure (None) or a loss."""
    return gain / (gain + 2 * sigma) if gain is not None and gain > 0 else 0.0


def _gains(tree: Tree, names: dict[str, int]) -> Iterator[tuple[str, float | None]]:
    """(aim, gain on the better parent, None for a failure) of decided children with a known aim, the youngest first."""
    found = 0
    for place in range(len(tree) - 1, max(-1, len(tree) - 1 - _LOOKED_AT), -1):
        node = tree.nodes[place]
        aim = node.candidate.aim
        if aim is None or aim not in names:
            continue
        gain = gain_of(tree, node.node_id)
        if gain is None and not tree.failures(node.node_id):
            continue  # pending, or nothing to compare with
        yield aim, gain
        found += 1
        if found == _REMEMBERED:
            return


def gain_of(tree: Tree, node_id: str) -> float | None:
    """By how much a node's mean is better than that of its better parent; None without scores, or for a suspect."""
    mean = tree.mean(node_id)
    before = [tree.mean(parent) for parent in tree[node_id].parents if not tree.suspect(parent)]
    before = [score for score in before if not np.isnan(score)]
    if np.isnan(mean) or not before or tree.suspect(node_id):
        return None
    return min(before) - mean if tree.direction == "minimise" else mean - max(before)
