"""The operator of a study's ablation: a program with one of its changes taken back to the baseline.

A change is a line that differs from the baseline, or a block of lines where their number differs: that is one constant
of a tuned program, or one edit of a rewritten one.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from difflib import SequenceMatcher

from archive.records import Candidate, Propose
from archive.tree import Tree
from operators.base import Context, NoCandidate

NAME = "revert"
_WIDTH = 80


@dataclass(frozen=True)
class Change:
    """The program without one change, and the change in words."""

    words: str
    files: Mapping[str, str]


def changes(baseline: Mapping[str, str], program: Mapping[str, str]) -> tuple[Change, ...]:
    """Return the program without each of its changes, in the order of its text. Files of one side alone stay."""
    found: list[Change] = []
    for path in sorted(baseline.keys() & program.keys()):
        for words, text in _reverted(baseline[path], program[path]):
            found.append(Change(words, {**program, path: text}))
    return tuple(found)


def _reverted(baseline: str, program: str) -> Iterator[tuple[str, str]]:
    """Yield (words, text) for each change of one file."""
    before, after = baseline.splitlines(keepends=True), program.splitlines(keepends=True)
    for i, j, k, m in _blocks(before, after):
        words = f"without: {_shown(after[k:m])} (baseline: {_shown(before[i:j])})"
        yield words, "".join([*after[:k], *before[i:j], *after[m:]])


def _blocks(before: list[str], after: list[str]) -> Iterator[tuple[int, int, int, int]]:
    """Yield the places (i, j) of ``before`` and (k, m) of ``after`` that differ, line by line where they match."""
    for kind, i, j, k, m in SequenceMatcher(None, before, after, autojunk=False).get_opcodes():
        if kind == "replace" and j - i == m - k:
            yield from ((i + n, i + n + 1, k + n, k + n + 1) for n in range(j - i))
        elif kind != "equal":
            yield i, j, k, m


def _shown(lines: list[str]) -> str:
    """Return the first line without its comment, and how many more there are."""
    if not lines:
        return "nothing"
    more = f" and {len(lines) - 1} more lines" if len(lines) > 1 else ""
    return lines[0].split("#")[0].strip()[:_WIDTH] + more


class Revert:
    """Propose the changes in order: the n-th proposal of a run takes back the n-th change of its parent."""

    arity = 1
    needs_llm = False

    def __init__(self, name: str) -> None:
        self.name = name

    def applies(self, tree: Tree, node_id: str) -> bool:
        return node_id != tree.root and tree.scored(node_id)

    def propose(self, move: Propose, context: Context) -> Candidate | NoCandidate:
        """Return the next program, counted from the moves of the run, so that a resumed run continues."""
        tree = context.tree
        numbers = sorted(
            n for n, r in tree.moves.items() if isinstance(r.move, Propose) and r.move.operator == self.name
        )
        all_changes = changes(tree[tree.root].candidate.files, tree[move.parents[0]].candidate.files)
        place = numbers.index(context.move_number)
        if place >= len(all_changes):
            return NoCandidate(f"all {len(all_changes)} changes have been taken back")
        return Candidate(all_changes[place].files, move.parents, self.name, all_changes[place].words)
