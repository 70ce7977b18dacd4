"""Known programs as observations for numeric search: parameter values, scores, pending and failed ones.

At most ``limit`` scored programs are returned, so that a proposal costs the same in a tree of 100,000 nodes. Pending
ones are included, so that parallel slots get different proposals; so are children that failed although only parameters
were changed. Other failures may be caused by the code and are left out.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from functools import lru_cache
from itertools import islice

import numpy as np

from archive.records import Node
from archive.tree import Tree
from operators.languages.files import Editable, Files
from operators.languages.language import NOTHING, Language, language_for
from operators.languages.parameters import Number
from operators.languages.syntax import Unparsable
from operators.numeric.proposer.ranges import ParameterRange
from operators.numeric.proposer.trials import Key, Observation, Values
from operators.numeric.search_space import range_of

_RECENT = 256
"""Latest nodes among which pending and failed ones are searched; older ones were decided long ago."""
_UNDECIDED = 32
"""Pending and failed programs that are returned."""


def observe(tree: Tree, files: Files, limit: int, declared: Mapping[str, str] = NOTHING) -> list[Observation]:
    """Return known programs that share a parameter with the program ``files``, in order of arrival.

    First at most ``limit`` scored ones, half of them the best and half the latest; then recent pending ones and failed
    children of ``tune``. Costs O(number of nodes) only in one numpy partition; sources are parsed once and cached.
    """
    start = values_of(files, declared)
    observed = []
    for i in _picked(tree, start, limit, declared):
        other = tree.nodes[i].candidate.files
        same = differ_in_values_only(files, other, declared)
        values = values_of(other, declared)
        observed.append(Observation(values, float(tree.means[i]), int(tree.runs[i]), same_code=same))
    return observed + _undecided(tree, files, start, declared) if observed else []


def _picked(tree: Tree, start: Values, limit: int, declared: Mapping[str, str]) -> list[int]:
    """Return the indices of at most ``limit`` scored nodes that share a parameter with ``start``, sorted."""
    means = tree.means
    scored = np.flatnonzero(tree.eligible())
    if not len(scored):
        return []
    badness = means[scored] if tree.direction == "minimise" else -means[scored]
    # Twice as many as needed, since some share no parameter.
    half = min(limit, len(scored))
    best = scored[np.argpartition(badness, half - 1)[:half]]
    best = best[np.argsort(means[best] if tree.direction == "minimise" else -means[best], kind="stable")]
    recent = scored[: -limit - 1 : -1]
    return half_best(best, recent, lambda i: values_of(tree.nodes[i].candidate.files, declared), start, limit)


def half_best(
    best: Iterable[int], recent: Iterable[int], values: Callable[[int], Values], start: Values, limit: int
) -> list[int]:
    """Return at most ``limit`` programs that share a parameter with ``start``: half the best, half the latest; sorted.

    Args:
        best: The programs by score, the best first.
        recent: The programs, the latest first.
    """
    names = start.keys()
    related = (i for i in best if not names.isdisjoint(values(i)))
    picked = {int(i) for i in islice(related, limit // 2)}
    latest = (i for i in recent if not names.isdisjoint(values(i)))
    picked.update(int(i) for i in islice((i for i in latest if int(i) not in picked), limit - len(picked)))
    return sorted(picked)


def _undecided(tree: Tree, files: Files, start: Values, declared: Mapping[str, str]) -> list[Observation]:
    """Return recent programs without a score: pending ones, and failed ones that only changed parameters."""
    observed: list[Observation] = []
    for i in range(max(0, len(tree.nodes) - _RECENT), len(tree.nodes)):
        node = tree.nodes[i]
        if not math.isnan(tree.means[i]):
            continue
        if start.keys().isdisjoint(values := values_of(node.candidate.files, declared)):
            continue
        failed = bool(tree.failures(node.node_id))
        if not failed or _failed_by_values(node, tree, declared):
            same = differ_in_values_only(files, node.candidate.files, declared)
            observed.append(Observation(values, None, state="failed" if failed else "pending", same_code=same))
    return observed[-_UNDECIDED:]


def _failed_by_values(node: Node, tree: Tree, declared: Mapping[str, str]) -> bool:
    """Return whether a failed node differs from a scored only parent in values of parameters only."""
    if len(node.parents) != 1 or not tree.scored(node.parents[0]):
        return False
    return differ_in_values_only(tree[node.parents[0]].candidate.files, node.candidate.files, declared)


def differ_in_values_only(a: Files, b: Files, declared: Mapping[str, str] = NOTHING) -> bool:
    """Return whether two programs are the same text but for the values of their parameters."""
    if a.keys() != b.keys():
        return False
    changed = (path for path in a if a[path] != b[path])
    languages = ((language_for(path, declared), path) for path in changed)
    return all(_skeleton(language, a[path]) == _skeleton(language, b[path]) for language, path in languages)


def code_of(files: Files, declared: Mapping[str, str] = NOTHING) -> frozenset[tuple[str, str]]:
    """Return the files with all parameters set to 0: equal for programs that differ in values of parameters only."""
    return frozenset((path, _skeleton(language_for(path, declared), text)) for path, text in files.items())


@lru_cache(maxsize=512)
def _skeleton(language: Language, text: str) -> str:
    """Return the text of a file with all parameters set to 0."""
    with suppress(Unparsable):
        return language.set_parameters(text, {parameter.name: 0 for parameter in language.parameters(text)})
    return text


def values_of(files: Files, declared: Mapping[str, str] = NOTHING) -> dict[Key, Number]:
    """Return the parameters of all files; a file that does not parse has none.

    Args:
        declared: See ``prepare.task.Task.parameters``.
    """
    values: dict[Key, Number] = {}
    for path, text in files.items():
        with suppress(Unparsable):
            values.update({(path, one.name): one.value for one in language_for(path, declared).parameters(text)})
    return values


def search_space(files: Files, editable: Editable, lineage: Sequence[Files] = ()) -> dict[Key, ParameterRange]:
    """Return the searchable parameters that may change, with their ranges. Empty if no file parses.

    Args:
        lineage: See ``lineage_files``. Without it, ranges are derived from the values of ``files``.
    """
    space: dict[Key, ParameterRange] = {}
    for path, parameter in editable.parameters(files):
        key = path, parameter.name
        if (span := range_of(parameter, earlier_values(lineage, key, editable.declared))) is not None:
            space[key] = span
    return space


def is_tunable(files: Files, editable: Editable) -> bool:
    """Return whether the numeric search can change something of a program, whatever its ancestors were."""
    return any(range_of(parameter) is not None for _, parameter in editable.parameters(files))


def lineage_files(tree: Tree, node_id: str) -> list[Files]:
    """Return the files of all ancestors of a node and its own, the root's first."""
    return [tree[member].candidate.files for member in tree.lineage(node_id)]


def earlier_values(lineage: Iterable[Files], key: Key, declared: Mapping[str, str] = NOTHING) -> Iterator[Number]:
    """Yield the values that a parameter had in the programs of a lineage, in their order."""
    path, name = key
    language = language_for(path, declared)
    for files in lineage:
        if path in files:
            with suppress(Unparsable):
                yield from (one.value for one in language.parameters(files[path]) if one.name == name)


def with_values(files: Files, values: Values, declared: Mapping[str, str] = NOTHING) -> dict[str, str]:
    """Return the files with these values of parameters; all other text stays."""
    by_path: dict[str, dict[str, Number]] = {}
    for (path, name), value in values.items():
        by_path.setdefault(path, {})[name] = value
    return {
        path: language_for(path, declared).set_parameters(text, by_path[path]) if path in by_path else text
        for path, text in files.items()
    }
