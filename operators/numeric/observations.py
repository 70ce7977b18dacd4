"""Programs that have constants in common: what a model of the genes is fed with.

At most ``limit`` scored ones, so that a proposal costs the same in a tree of 100,000 nodes. Pending ones are marked, so
that parallel slots get different proposals. A child that failed although only constants were changed is marked too;
other failures may be the code's fault and are left out.

Each comes with the changes of the code that it carries: see ``operators.languages.code_changes``.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from itertools import islice

import numpy as np

from archive.records import Node
from archive.tree import Tree
from operators.languages.code_changes import Changes
from operators.languages.parameters import Number, find_constants, set_constants
from operators.languages.syntax import Unparsable
from operators.numeric.surrogate import Key, Observation

_RECENT = 256
"""How far back pending and failed nodes are looked for; older ones are long decided."""


def history(
    tree: Tree, keys: Collection[Key], limit: int, code: Changes | None = None, always: bool = False
) -> list[Observation]:
    """What is known of programs with any of these constants, in order of arrival: at most ``limit`` scored ones,
    half of them the best and half the latest; then pending ones and failed children of tune.

    Costs O(number of nodes) only in one numpy partition; sources are parsed once and cached. ``code`` remembers what it
    has found from one call to the next; ``always``: it is read also where all programs have the same constants.
    """
    code = Changes() if code is None else code
    names = frozenset(keys)
    means = tree.means
    scored = np.flatnonzero(tree.eligible())
    if not len(scored):
        return []
    badness = means[scored] if tree.direction == "minimise" else -means[scored]
    # Twice as many as needed, since some will have other constants.
    half = min(limit, len(scored))
    best = scored[np.argpartition(badness, half - 1)[:half]]
    best = best[np.argsort(means[best] if tree.direction == "minimise" else -means[best], kind="stable")]
    alike = (i for i in best if not names.isdisjoint(values_of(tree.nodes[i].candidate.files)))
    picked = {int(i) for i in islice(alike, limit // 2)}
    recent = scored[: -limit - 1 : -1]
    latest = (i for i in recent if not names.isdisjoint(values_of(tree.nodes[i].candidate.files)))
    picked.update(int(i) for i in islice((i for i in latest if int(i) not in picked), limit - len(picked)))
    if not picked:
        return []
    # Where all have the same constants code is left out: reading whole lineages would double what a proposal costs.
    mixed = always or any(values_of(tree.nodes[i].candidate.files).keys() != names for i in picked)
    trials = []
    for i in sorted(picked):
        node, runs = tree.nodes[i], int(tree.runs[i])
        carried = code.of(tree, node.node_id) if mixed else frozenset[str]()
        trials.append(
            Observation(values_of(node.candidate.files), float(means[i]), runs, code=carried, node_id=node.node_id)
        )
    return trials + _undecided(tree, names, code if mixed else None)


def _undecided(tree: Tree, names: frozenset[Key], code: Changes | None) -> list[Observation]:
    """Recent nodes without a score: pending ones, and children of tune that failed."""
    trials: list[Observation] = []
    for i in range(max(0, len(tree.nodes) - _RECENT), len(tree.nodes)):
        node = tree.nodes[i]
        if not math.isnan(tree.means[i]) or names.isdisjoint(values := values_of(node.candidate.files)):
            continue
        carried = frozenset[str]() if code is None else code.of(tree, node.node_id)
        if not tree.failures(node.node_id):
            trials.append(Observation(values, None, state="pending", code=carried))
        elif _only_constants_changed(node, tree):
            trials.append(Observation(values, None, state="failed", code=carried))
    return trials[-32:]


def _only_constants_changed(node: Node, tree: Tree) -> bool:
    """Whether a failure is the constants' fault: its parent scored, and set to its constants is the same text."""
    if len(node.parents) != 1 or not tree.scored(node.parents[0]):
        return False
    return _sets_constants(node, tree)


def _sets_constants(node: Node, tree: Tree) -> bool:
    """Whether the node is its one parent with other values of the same constants, and nothing else."""
    files, parent = node.candidate.files, tree[node.parents[0]].candidate.files
    values = values_of(files)
    return values.keys() == values_of(parent).keys() and rewritten(parent, values) == dict(files)


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
