"""Kinds of change that ``improve`` asks for, and Thompson sampling of the next one.

A model that may change anything changes learning rates. So each proposal asks for one kind of change:
``algorithm``, ``data structure``, ``numerics`` ... The kinds are the headings of the task's own text
(``prepare.task.PromptInfo``) or of ``prompts/aims.md``, and the text below a heading describes the kind for the model;
a user's own ``aims.md`` comes before both. The archive calls a kind an aim.

The kind is chosen by the gains of earlier proposals, with Thompson sampling (Thompson 1933), discounted counts (Raj and
Kalyani 2017, "Taming non-stationary bandits in a Bayesian approach") and fractional rewards:

    reward of a child  r = g / (g + 2 sigma) if it gained g > 0 on the better of its parents, else 0; failures are 0
    of a kind          S = sum of w r,  F = sum of w (1 - r),  with w = decay^(younger children that had any kind)
    sample             p ~ Beta(1 + S, 1 + F) for each kind; the largest is chosen

No kind is given up: results are forgotten at the rate at which new ones arrive, until a kind is drawn like one that was
never tried. The choice is a pure function of the tree and the generator of the move.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from archive.tree import Tree

DECAY = 0.98
_REMEMBERED = 300
"""Latest children with a kind that count; older ones weigh less than 0.98^300 = 0.2%."""
_SEARCHED = 20_000
"""Latest nodes that are searched for them."""
_SECTION = re.compile(r"^#+[ \t]*([^\n]+?)[ \t]*\n(.*?)(?=^#|\Z)", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True)
class ChangeKind:
    """A kind of change, and its description for the model."""

    name: str
    description: str


def read_change_kinds(text: str) -> tuple[ChangeKind, ...]:
    """Read the sections of such a text. Raises ValueError if there is none, or two have one name."""
    kinds = tuple(ChangeKind(name, " ".join(words.split())) for name, words in _SECTION.findall(text))
    if not kinds:
        raise ValueError("the file has no section; expected headings such as `# architecture`, with words below each")
    names = [kind.name for kind in kinds]
    if double := {name for name in names if names.count(name) > 1}:
        raise ValueError(f"the file has two sections named {min(double)!r}; give each kind of change one")
    return kinds


def sampled_kind(kinds: Sequence[ChangeKind], tree: Tree, sigma: float | None, rng: np.random.Generator) -> ChangeKind:
    """Sample the kind of change of the next proposal."""
    won = np.zeros(len(kinds))
    lost = np.zeros(len(kinds))
    place = {kind.name: i for i, kind in enumerate(kinds)}
    gains = list(_gains(tree, place))
    typical = sigma or float(np.mean([abs(gain) for _, gain in gains if gain is not None] or [0.0]))
    for age, (name, gain) in enumerate(gains):
        weight, earned = DECAY**age, reward(gain, typical)
        won[place[name]] += weight * earned
        lost[place[name]] += weight * (1 - earned)
    return kinds[int(np.argmax(rng.beta(1 + won, 1 + lost)))]


def reward(gain: float | None, sigma: float) -> float:
    """Return a reward in [0, 1): 0.5 for a gain of two deviations, 0 for a failure (None) or a loss."""
    return gain / (gain + 2 * sigma) if gain is not None and gain > 0 else 0.0


def _gains(tree: Tree, names: dict[str, int]) -> Iterator[tuple[str, float | None]]:
    """Yield (kind, gain on the better parent, None for a failure) of decided children, the youngest first."""
    found = 0
    for place in range(len(tree) - 1, max(-1, len(tree) - 1 - _SEARCHED), -1):
        node = tree.nodes[place]
        kind = node.candidate.aim
        if kind is None or kind not in names:
            continue
        gain = gain_of(tree, node.node_id)
        if gain is None and not tree.failures(node.node_id):
            continue  # pending, or without a score to compare with
        yield kind, gain
        found += 1
        if found == _REMEMBERED:
            return


def gain_of(tree: Tree, node_id: str) -> float | None:
    """Return the gain of a node's mean over its better parent; None without scores, or for a suspect."""
    mean = tree.mean(node_id)
    before = [tree.mean(parent) for parent in tree[node_id].parents if not tree.suspect(parent)]
    before = [score for score in before if not np.isnan(score)]
    if np.isnan(mean) or not before or tree.suspect(node_id):
        return None
    return min(before) - mean if tree.direction == "minimise" else mean - max(before)
