"""Programs that share their constants: what a model of those constants is fed with.

At most ``limit`` scored ones, so that a proposal costs the same in a tree of 100,000 nodes. Pending ones are marked, so
that parallel slots get different proposals. A child that failed although only constants were changed is marked too;
other failures may be the code's fault and are left out.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from itertools import islice

import numpy as np

from archive.records import Node
from archive.tree import Tree
from operators.constants import Number, find_constants, set_constants
from operators.genes import Key, Trial
from operators.syntax import Unparsable

_RECENT = 256
"""How far back pending and failed nodes are looked for; older ones are long decided."""


def history(tree: Tree, keys: object, limit: int) -> list[Trial]:
    """What is known of programs with exactly these constants, in order of arrival: at most ``limit`` scored ones,
    half of them the best and half the latest; then pending ones and failed children of tune.

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
    alike = (i for i in best if values_of(tree.nodes[i].candidate.files).keys() == keys)
    picked = {int(i) for i in islice(alike, limit // 2)}
    latest = (i for i in scored[: -limit - 1 : -1] if values_of(tree.nodes[i].candidate.files).keys() == keys)
    picked.update(int(i) for i in islice((i for i in latest if int(i) not in picked), limit - len(picked)))
    if not picked:
        return []
    trials = [
        Trial(values_of(tree.nodes[i].candidate.files), float(means[i]), int(tree.runs[i])) for i in sorted(picked)
    ]
    return trials + _undecided(tree, keys)


def _undecided(tree: Tree, keys: object) -> list[Trial]:
    """Recent nodes without a score: pending ones, and children of tune that failed."""
    trials: list[Trial] = []
    for i in range(max(0, len(tree.nodes) - _RECENT), len(tree.nodes)):
        node = tree.nodes[i]
        if not math.isnan(tree.means[i]) or values_of(node.candidate.files).keys() != keys:
            continue
        if not tree.failures(node.node_id):
            trials.append(Trial(values_of(node.candidate.files), None, state="pending"))
        elif _only_constants_changed(node, tree):
            trials.append(Trial(values_of(node.candidate.files), None, state="failed"))
    return trials[-32:]


def _only_constants_changed(node: Node, tree: Tree) -> bool:
    """Whether a failure is the constants' fault: its parent scored, and set to its constants is the same text."""
    if len(node.parents) != 1 or not tree.scored(node.parents[0]):
        return False
    parent = tree[node.parents[0]].candidate.files
    return rewritten(parent, values_of(node.candidate.files)) == dict(node.candidate.files)


def values_of(files: Mapping[str, str]) -> dict[Key, Number]:
    """All constants of all Python files; a file that does not parse has none."""
    values: dict[Key, Number] = {}
    for path, text in files.items():
        if path.endswith(".py"):
            try:
                values.update({(path, c.name): c.value for c in find_constants(text)})
            except Unparsable:
                continue
    return values


def rewritten(files: Mapping[str, str], values: Mapping[Key, Number]) -> dict[str, str]:
    by_path: dict[str, dict[str, Number]] = {}
    for (path, name), value in values.items():
        by_path.setdefault(path, {})[name] = value
    return {path: set_constants(text, by_path[path]) if path in by_path else text for path, text in files.items()}
