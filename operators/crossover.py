"""crossover: a three-way merge of two nodes over their lowest common ancestor. Needs no language model.

Constants are merged by name first, since those on neighbouring lines would conflict in a merge of lines: a constant
that one parent changed is taken from that parent; one that both changed differently is drawn. All three versions
then get the merged values, so that the merge of lines (``merge3``) sees nothing but the code. A hunk that
both parents changed differently is drawn from either, whole.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from merge3 import Merge3

from archive.records import Candidate, Propose
from archive.tree import Tree
from operators.base import Context, NoCandidate
from operators.constants import Number, read_constants, set_constants
from operators.duplicates import normalised
from operators.syntax import Unparsable, parse

Files = Mapping[str, str]
Choose = Callable[[], int]
"""Settles a conflict: 0 for the first version, 1 for the second."""


@dataclass
class Share:
    """What one parent brought to a merge."""

    constants: list[str] = field(default_factory=list)
    hunks: int = 0

    def __bool__(self) -> bool:
        return bool(self.constants or self.hunks)

    def __str__(self) -> str:
        parts = [", ".join(self.constants)] if self.constants else []
        if self.hunks:
            parts.append(f"{self.hunks} block{'s' if self.hunks > 1 else ''} of code")
        return " and ".join(parts) or "nothing"


@dataclass(frozen=True)
class Merged:
    """The files of a merge and what each parent brought. ``drawn`` counts the conflicts that chance decided."""

    files: dict[str, str]
    a: Share
    b: Share
    drawn: int


class Crossover:
    """Joins what two nodes changed since their lowest common ancestor."""

    arity = 2
    needs_llm = False

    def __init__(self, name: str = "crossover", tries: int = 4) -> None:
        """``tries``: how often conflicts are drawn again when the result is known or does not parse."""
        self.name = name
        self.tries = tries

    def applies(self, tree: Tree, node_id: str) -> bool:
        return not math.isnan(tree.means[tree.index[node_id]])

    def propose(self, move: Propose, context: Context) -> Candidate | NoCandidate:
        if len(set(move.parents)) != 2:
            return NoCandidate(f"a crossover needs two different parents, and got {len(set(move.parents))}")
        a, b = move.parents
        with context.tree.lock:
            ancestor = context.tree.common_ancestor(a, b)
            if ancestor in (a, b):
                return NoCandidate(f"{ancestor[:8]} is an ancestor of the other parent: nothing to merge")
            base, left, right = (context.tree[node].candidate.files for node in (ancestor, a, b))
        reason = ""
        for _ in range(self.tries):
            try:
                merged = merge(base, left, right, lambda: int(context.rng.integers(2)))
            except Unparsable as error:
                return NoCandidate(f"{a[:8]} and {b[:8]} cannot be merged: {error}")
            reason = _fault(merged, left, right, context)
            if not reason:
                idea = f"merge of {a[:8]} and {b[:8]}: {merged.a} of the one, {merged.b} of the other"
                return Candidate(merged.files, move.parents, self.name, idea)
            if not merged.drawn:
                break
        return NoCandidate(f"merge of {a[:8]} and {b[:8]}: {reason}")


def _fault(merged: Merged, a: Files, b: Files, context: Context) -> str:
    """Why a merge is no candidate; empty if it is one."""
    if any(merged.files == dict(files) for files in (a, b)):  # the common case when little differs; spares a parse
        return "the result equals one of its parents"
    try:
        for path, text in merged.files.items():
            if path.endswith(".py"):
                parse(text, path)
    except Unparsable as error:
        return f"the result does not parse: {error}"
    identity = normalised(merged.files)
    if identity in (normalised(a), normalised(b)):
        return "the result equals one of its parents"
    return "the result is known already" if identity in context.known else ""


def merge(base: Files, a: Files, b: Files, choose: Choose) -> Merged:
    """The three-way merge of all files; ``choose`` settles what both changed. Raises ``Unparsable``."""
    files: dict[str, str] = {}
    shares = Share(), Share()
    drawn = 0
    for path in sorted({*base, *a, *b}):
        text: str | None
        if path in base and path in a and path in b:
            text, conflicts = _merge_text(path, (base[path], a[path], b[path]), shares, choose)
        else:
            text, conflicts = _merge_presence((base.get(path), a.get(path), b.get(path)), shares, choose)
        drawn += conflicts
        if text is not None:
            files[path] = text
    return Merged(files, *shares, drawn)


def _merge_presence(
    versions: tuple[str | None, str | None, str | None], shares: tuple[Share, Share], choose: Choose
) -> tuple[str | None, int]:
    """A file that is missing somewhere is taken whole: from the parent that changed it, or drawn."""
    base, a, b = versions
    if a == b:
        return a, 0
    conflict = base not in (a, b)
    winner = choose() if conflict else int(a == base)
    shares[winner].hunks += 1
    return versions[1 + winner], int(conflict)


def _merge_text(
    path: str, versions: tuple[str, str, str], shares: tuple[Share, Share], choose: Choose
) -> tuple[str, int]:
    """``versions``: base, a, b."""
    base, a, b = versions
    drawn = 0
    if path.endswith(".py"):
        values, drawn = _merge_constants(read_constants(base), read_constants(a), read_constants(b), shares, choose)
        base, a, b = (set_constants(text, values) for text in versions)
    base_lines, a_lines, b_lines = (text.splitlines(keepends=True) for text in (base, a, b))
    lines: list[str] = []
    for region in Merge3(base_lines, a_lines, b_lines, sequence_matcher=_matcher()).merge_regions():
        match region:
            case ("unchanged", start, end):
                lines += base_lines[start:end]
            case ("same", start, end):
                lines += a_lines[start:end]
            case ("a", start, end):
                lines += a_lines[start:end]
                shares[0].hunks += 1
            case ("b", start, end):
                lines += b_lines[start:end]
                shares[1].hunks += 1
            case (_, _, _, a_start, a_end, b_start, b_end):
                winner = choose()
                lines += b_lines[b_start:b_end] if winner else a_lines[a_start:a_end]
                shares[winner].hunks += 1
                drawn += 1
    return "".join(lines), drawn


def _matcher() -> Any:
    # difflib's is quadratic in lines that repeat (blank ones, mostly): 47 ms for 20 KB, against 1 ms.
    from patiencediff import PatienceSequenceMatcher

    return PatienceSequenceMatcher


def _merge_constants(
    base: Mapping[str, Number],
    a: Mapping[str, Number],
    b: Mapping[str, Number],
    shares: tuple[Share, Share],
    choose: Choose,
) -> tuple[dict[str, Number], int]:
    """Three-way by name, for the constants that all three have; the others are code and left to the line merge."""
    values: dict[str, Number] = {}
    drawn = 0
    for name in base:
        if name not in a or name not in b:
            continue
        if _equal(a[name], b[name]):
            values[name] = a[name]
            continue
        conflict = not _equal(a[name], base[name]) and not _equal(b[name], base[name])
        winner = choose() if conflict else int(_equal(a[name], base[name]))
        values[name] = (a, b)[winner][name]
        shares[winner].constants.append(f"{name} {values[name]!r}")
        drawn += conflict
    return values, drawn


def _equal(x: Number, y: Number) -> bool:
    """Equal in value and kind: ``1`` and ``1.0`` are different literals, and may mean different things."""
    return x == y and type(x) is type(y)
