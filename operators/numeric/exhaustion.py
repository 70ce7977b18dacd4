"""Exhaustion of a small numeric space: whether every setting of a program's parameters is in the tree already.

Counted are programs with the same code; a space counts as small up to ``MOST`` settings. A tree only grows, so
a program that is exhausted stays so.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass, field

from archive.tree import Tree
from operators.languages.files import Editable
from operators.numeric.observations import (
    code_of,
    lineage_files,
    search_space,
    values_of,
)
from operators.numeric.proposer.ranges import Number
from operators.numeric.proposer.trials import Key, Space, Values

MOST = 512
"""Settings of a space that is tried in full."""

Choices = dict[Key, tuple[Number, ...]]


def small_space(space: Space) -> Choices | None:
    """Return the values of each parameter if there are at most ``MOST`` settings together, else None."""
    choices: Choices = {}
    for key, span in space.items():
        if (values := span.values(MOST)) is None:
            return None
        choices[key] = values
    return choices if choices and math.prod(map(len, choices.values())) <= MOST else None


def settings_of(choices: Choices) -> Iterator[Values]:
    """Yield all settings of a small space."""
    for values in itertools.product(*choices.values()):
        yield dict(zip(choices, values, strict=True))


@dataclass
class Exhaustion:
    """The programs of one tree whose small space is exhausted."""

    editable: Editable = field(default_factory=Editable)
    words: str = ""
    """What was exhausted last, for the user; empty before."""
    _families: dict[frozenset[tuple[str, str]], list[Values]] = field(default_factory=dict)
    """The known values of the parameters, by code."""
    _tree: Tree | None = None
    _seen: int = 0
    _small: dict[str, Choices | None] = field(default_factory=dict)
    _checked: dict[str, tuple[int, bool]] = field(default_factory=dict)

    def of(self, tree: Tree, node_id: str) -> bool:
        """Return whether all settings of a node's program are known."""
        if tree is not self._tree:
            self._follow(tree)
        if (choices := self._choices(tree, node_id)) is None:
            return False
        files = tree[node_id].candidate.files
        self._read(tree)
        family = self._families[code_of(files, self.editable.declared)]
        count, known = self._checked.get(node_id, (0, False))
        if count != len(family) and not known:
            known = self._is_covered(values_of(files, self.editable.declared), choices, family)
            self._checked[node_id] = len(family), known
        if known:
            names = ", ".join(name for _, name in choices)
            self.words = f"all {math.prod(map(len, choices.values()))} settings of {names} have been tried"
        return known

    def is_everywhere(self, tree: Tree, node_id: str) -> bool:
        """Return whether ``of`` holds, and no program of the tree has other code."""
        return self.of(tree, node_id) and len(self._families) == 1

    def _follow(self, tree: Tree) -> None:
        self._tree, self._seen = tree, 0
        for cache in (self._families, self._small, self._checked):
            cache.clear()

    def _choices(self, tree: Tree, node_id: str) -> Choices | None:
        if node_id not in self._small:
            files = tree[node_id].candidate.files
            small = small_space(search_space(files, self.editable))  # most spaces are large at first sight
            if small is not None:
                small = small_space(search_space(files, self.editable, lineage_files(tree, node_id)))
            self._small[node_id] = small
        return self._small[node_id]

    def _read(self, tree: Tree) -> None:
        for node in tree.nodes[self._seen :]:
            files = node.candidate.files
            values = values_of(files, self.editable.declared)
            self._families.setdefault(code_of(files, self.editable.declared), []).append(values)
        self._seen = len(tree.nodes)

    def _is_covered(self, own: Values, choices: Choices, family: list[Values]) -> bool:
        fixed = {key: value for key, value in own.items() if key not in choices}
        known = {
            tuple(values[key] for key in choices)
            for values in family
            if all(values.get(key) == value for key, value in fixed.items())
            and all(values[key] in allowed for key, allowed in choices.items())
        }
        return len(known) == math.prod(map(len, choices.values()))
