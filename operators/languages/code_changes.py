"""changes: which changes of the code a program carries, so that programs of one tree can be compared by them.

A change is what one step did to the code: the lines that it took out and those that it put in, values of constants not
counted. It is named by its content. So the same change made in two branches is one and the same, a merge carries what
was new on either side, and a step that takes out what another has put in undoes it and is no change of its own.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from contextlib import suppress
from functools import lru_cache

from archive.records import Node
from archive.tree import Tree
from operators.languages.parameters import find_constants, set_constants
from operators.languages.syntax import Unparsable

Files = Mapping[str, str]
Lines = tuple[tuple[str, str], ...]
"""(path, line), in order."""


class Changes:
    """The changes in each program of a tree, kept by node, since programs never change. Use it under ``tree.lock``."""

    def __init__(self) -> None:
        self._of: dict[str, frozenset[str]] = {}
        self._own: dict[str, str | None] = {}

    def of(self, tree: Tree, node_id: str) -> frozenset[str]:
        """Names of the changes that a program carries over the root."""
        front = [node_id]
        while front:
            node = tree[front[-1]]
            before = node.parents if len(node.parents) < 2 else (*node.parents, tree.common_ancestor(*node.parents))
            if unknown := [other for other in before if other not in self._of]:
                front += unknown
                continue
            self._of[front.pop()] = self._carried(tree, node, *(self._of[other] for other in before))
        return self._of[node_id]

    def maker(self, tree: Tree, node_id: str, name: str) -> Node | None:
        """The first node among a program and its ancestors whose step was this change."""
        seen, front = {node_id}, [node_id]
        found = []
        while front:
            here = front.pop()
            if self._own_of(tree, tree[here]) == name:
                found.append(here)
            new = [parent for parent in tree[here].parents if parent not in seen]
            seen.update(new)
            front += new
        return tree[min(found, key=tree.index.__getitem__)] if found else None

    def _carried(self, tree: Tree, node: Node, *before: frozenset[str]) -> frozenset[str]:
        if not before:
            return frozenset()
        if len(before) > 1:  # as a merge of lines does: what is new on either side comes, what either took out goes
            a, b, base = before
            return (a & b) | (a - base) | (b - base)
        own = self._own_of(tree, node)
        if own is None:
            return before[0]
        undone = _opposite(own)
        return before[0] - {undone} if undone in before[0] else before[0] | {own}

    def _own_of(self, tree: Tree, node: Node) -> str | None:
        """The change that a step made to its one parent; None if it only set constants, and for merges."""
        if node.node_id not in self._own:
            before = [tree[parent].candidate.files for parent in node.parents]
            self._own[node.node_id] = _name(before[0], node.candidate.files) if len(before) == 1 else None
        return self._own[node.node_id]


def _name(before: Files, after: Files) -> str | None:
    """``taken out/put in``, each as a hash; None where only constants, comments or blank lines differ."""
    from patiencediff import PatienceSequenceMatcher  # the same both ways, which an undone change needs, and fast

    old, new = _lines(before), _lines(after)
    if old == new:
        return None
    out: list[tuple[str, str]] = []
    put: list[tuple[str, str]] = []
    for kind, i, j, k, m in PatienceSequenceMatcher(None, old, new).get_opcodes():
        if kind != "equal":
            out += old[i:j]
            put += new[k:m]
    return f"{_hash(out)}/{_hash(put)}"


def _opposite(name: str) -> str:
    return "/".join(reversed(name.split("/")))


def _hash(lines: Iterable[tuple[str, str]]) -> str:
    text = "\n".join(f"{path}\0{line}" for path, line in lines)
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:16]


def _lines(files: Files) -> Lines:
    return tuple((path, line) for path in sorted(files) for line in _code_lines(path, files[path]))


@lru_cache(maxsize=512)
def _code_lines(path: str, text: str) -> tuple[str, ...]:
    """The lines that are neither blank nor comments, all constants of a Python file at 0."""
    if path.endswith(".py"):
        with suppress(Unparsable):
            text = set_constants(text, {constant.name: 0 for constant in find_constants(text)})
    lines = (line.rstrip() for line in text.splitlines())
    return tuple(line for line in lines if line and not line.lstrip().startswith("#"))
