"""Known programs as observations for numeric search: parameter values, scores, pending and failed ones.

At most ``limit`` scored programs are returned, so that a proposal costs the same in a tree of 100,000 nodes. Pending
ones are included, so that parallel slots get different proposals; so are children that failed although only parameters
were changed. Other failures may be caused by the code and are left out.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from itertools import islice
from typing import Literal

import numpy as np

from archive.records import Node
from archive.tree import Tree
from operators.languages.parameters import Number, find_parameters, set_parameters
from operators.languages.syntax import Unparsable
from operators.numeric.search_space import ParameterRange, range_of

Key = tuple[str, str]
"""(path, name) of a parameter."""
Values = Mapping[Key, Number]
Files = Mapping[str, str]

_RECENT = 256
"""Latest nodes among which pending and failed ones are searched; older ones were decided long ago."""
_UNDECIDED = 32
"""Pending and failed programs that are returned."""


@dataclass(frozen=True)
class Observation:
    """A known program: the values of its parameters, and its result."""

    values: Values
    score: float | None
    """None unless it was scored."""
    runs: int = 1
    state: Literal["scored", "pending", "failed"] = "scored"
    same_code: bool = True
    """Whether it differs in values of parameters only from the program that is asked about."""


def observe(tree: Tree, files: Files, limit: int) -> list[Observation]:
    """Return known programs that share a parameter with the program ``files``, in order of arrival.

    First at most ``limit`` scored ones, half of them the best and half the latest; then recent pending ones and failed
    children of ``tune``. Costs O(number of nodes) only in one numpy partition; sources are parsed once and cached.
    """
    start = values_of(files)
    observed = []
    for i in _picked(tree, start, limit):
        other = tree.nodes[i].candidate.files
        same = differ_in_values_only(files, other)
        observed.append(Observation(values_of(other), float(tree.means[i]), int(tree.runs[i]), same_code=same))
    return observed + _undecided(tree, files, start) if observed else []


def _picked(tree: Tree, start: Values, limit: int) -> list[int]:
    """Return the indices of at most ``limit`` scored nodes that share a parameter with ``start``, sorted."""
    names, means = start.keys(), tree.means
    scored = np.flatnonzero(tree.eligible())
    if not len(scored):
        return []
    badness = means[scored] if tree.direction == "minimise" else -means[scored]
    # Twice as many as needed, since some share no parameter.
    half = min(limit, len(scored))
    best = scored[np.argpartition(badness, half - 1)[:half]]
    best = best[np.argsort(means[best] if tree.direction == "minimise" else -means[best], kind="stable")]
    related = (i for i in best if not names.isdisjoint(values_of(tree.nodes[i].candidate.files)))
    picked = {int(i) for i in islice(related, limit // 2)}
    recent = scored[: -limit - 1 : -1]
    latest = (i for i in recent if not names.isdisjoint(values_of(tree.nodes[i].candidate.files)))
    picked.update(int(i) for i in islice((i for i in latest if int(i) not in picked), limit - len(picked)))
    return sorted(picked)


def _undecided(tree: Tree, files: Files, start: Values) -> list[Observation]:
    """Return recent programs without a score: pending ones, and failed ones that only changed parameters."""
    observed: list[Observation] = []
    for i in range(max(0, len(tree.nodes) - _RECENT), len(tree.nodes)):
        node = tree.nodes[i]
        if not math.isnan(tree.means[i]) or start.keys().isdisjoint(values := values_of(node.candidate.files)):
            continue
        failed = bool(tree.failures(node.node_id))
        if not failed or _failed_by_values(node, tree):
            same = differ_in_values_only(files, node.candidate.files)
            observed.append(Observation(values, None, state="failed" if failed else "pending", same_code=same))
    return observed[-_UNDECIDED:]


def _failed_by_values(node: Node, tree: Tree) -> bool:
    """Return whether a failed node differs from a scored only parent in values of parameters only."""
    if len(node.parents) != 1 or not tree.scored(node.parents[0]):
        return False
    return differ_in_values_only(tree[node.parents[0]].candidate.files, node.candidate.files)


def differ_in_values_only(a: Files, b: Files) -> bool:
    """Return whether two programs are the same text but for the values of their parameters."""
    return a.keys() == b.keys() and all(_skeleton(path, a[path]) == _skeleton(path, b[path]) for path in a)


@lru_cache(maxsize=512)
def _skeleton(path: str, text: str) -> str:
    """Return the text of a file with all parameters set to 0; unchanged if it is no Python."""
    if not path.endswith(".py"):
        return text
    with suppress(Unparsable):
        return set_parameters(text, {parameter.name: 0 for parameter in find_parameters(text)})
    return text


def values_of(files: Files) -> dict[Key, Number]:
    """Return the parameters of all Python files; a file that does not parse has none."""
    values: dict[Key, Number] = {}
    for path, text in files.items():
        if path.endswith(".py"):
            try:
                values.update({(path, c.name): c.value for c in find_parameters(text)})
            except Unparsable:
                continue
    return values


def search_space(files: Files, editable: Sequence[str], lineage: Sequence[Files] = ()) -> dict[Key, ParameterRange]:
    """Return the searchable parameters of the editable Python files with their ranges. Empty if none parses.

    Args:
        lineage: See ``lineage_files``. Without it, ranges are derived from the values of ``files``.
    """
    space: dict[Key, ParameterRange] = {}
    for path in editable:
        if path.endswith(".py") and path in files:
            with suppress(Unparsable):
                for parameter in find_parameters(files[path]):
                    key = path, parameter.name
                    if (span := range_of(parameter, earlier_values(lineage, key))) is not None:
                        space[key] = span
    return space


def lineage_files(tree: Tree, node_id: str) -> list[Files]:
    """Return the files of all ancestors of a node and its own, the root's first."""
    return [tree[member].candidate.files for member in tree.lineage(node_id)]


def earlier_values(lineage: Iterable[Files], key: Key) -> Iterator[Number]:
    """Yield the values that a parameter had in the programs of a lineage, in their order."""
    path, name = key
    for files in lineage:
        if path in files:
            with suppress(Unparsable):
                yield from (one.value for one in find_parameters(files[path]) if one.name == name)


def with_values(files: Files, values: Values) -> dict[str, str]:
    """Return the files with these values of parameters; all other text stays."""
    by_path: dict[str, dict[str, Number]] = {}
    for (path, name), value in values.items():
        by_path.setdefault(path, {})[name] = value
    return {path: set_parameters(text, by_path[path]) if path in by_path else text for path, text in files.items()}
