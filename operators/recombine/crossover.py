"""crossover: a three-way merge of two nodes over their lowest common ancestor, with or without a language model.

Parameters are merged by name first, since on neighbouring lines they would conflict in a merge of lines: a parameter
that one parent changed is taken from that parent; one that both changed differently is drawn at random. All three
versions then get the merged values, so that the merge of lines (``merge3``) sees only the code. A hunk that both
parents changed differently is resolved by the model, which is shown both ideas (``operators.recombine.conflicts``).
Without a model or a valid answer, the hunk is drawn from either parent as a whole.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from merge3 import Merge3

from archive.records import Candidate, Propose
from archive.tree import Tree
from operators.base import Context, NoCandidate
from operators.languages.files import Editable, Files, require_parsable
from operators.languages.fingerprint import fingerprint
from operators.languages.language import NOTHING, Language, language_for
from operators.languages.parameters import Number, Parameter
from operators.languages.syntax import Unparsable
from operators.llm.meter import Meter
from operators.numeric.exhaustion import Exhaustion
from operators.numeric.search_space import declared_range
from operators.recombine.conflicts import MergeAnswer, Place, Resolver
from operators.rewrite.answers.search_replace import InvalidAnswer
from prepare.output import many
from prepare.task import Task

Choose = Callable[[], int]
"""Decides a conflict: 0 for the first version, 1 for the second."""
Resolve = Callable[[Place], Sequence[str] | None]
"""Returns the lines of a place that both changed, or None to draw them."""


@dataclass
class Share:
    """The part of one parent in a merge."""

    parameters: list[str] = field(default_factory=list)
    hunks: int = 0

    def __bool__(self) -> bool:
        return bool(self.parameters or self.hunks)

    def __str__(self) -> str:
        parts = [", ".join(self.parameters)] if self.parameters else []
        if self.hunks:
            parts.append(f"{many(self.hunks, 'block')} of code")
        return " and ".join(parts) or "nothing"


@dataclass(frozen=True)
class Merged:
    """The files of a merge and the share of each parent. ``drawn`` counts the conflicts decided at random."""

    files: dict[str, str]
    a: Share
    b: Share
    drawn: int


class Crossover:
    """Merge what two nodes changed since their lowest common ancestor."""

    arity = 2

    def __init__(
        self, name: str = "crossover", tries: int = 4, llm: Meter | None = None, prompts: str | None = None
    ) -> None:
        """Set up the operator.

        Args:
            tries: How often conflicts are drawn when the result is known or does not parse.
            prompts: Folder with templates that replace those of this repository.

        Raises:
            ValueError: Invalid templates.
        """
        self.name = name
        self.tries = tries
        self._resolver = None if llm is None else Resolver(llm, name, prompts)
        self._exhaustion = Exhaustion()

    def set_task(self, task: Task) -> None:
        """Tell which files and numbers may change."""
        self._exhaustion = Exhaustion(Editable.of(task))

    @property
    def needs_llm(self) -> bool:
        """False once the model can no longer answer: conflicts are drawn then."""
        return self._resolver is not None and self._resolver.llm.closed is None

    def applies(self, tree: Tree, node_id: str) -> bool:
        """True for a scored node, unless all programs are settings of one small space and all of these are known."""
        return tree.scored(node_id) and not self._exhaustion.is_everywhere(tree, node_id)

    def propose(self, move: Propose, context: Context) -> Candidate | NoCandidate:
        if len(set(move.parents)) != 2:
            return NoCandidate(f"a crossover needs two different parents, and got {len(set(move.parents))}")
        a, b = move.parents
        with context.tree.lock:
            ancestor = context.tree.common_ancestor(a, b)
            if ancestor in (a, b):
                return NoCandidate(f"{ancestor[:8]} is an ancestor of the other parent: nothing to merge")
            base, left, right = (context.tree[node].candidate.files for node in (ancestor, a, b))
        why = ""
        if self._resolver is not None and self.needs_llm:
            resolved = self._resolved(self._resolver, move, context, ancestor, (base, left, right))
            if isinstance(resolved, Candidate):
                return resolved
            why = "" if resolved is None else f"; conflicts drawn: {resolved.reason[:150]}"
        reason = ""

        def draw() -> int:
            return int(context.rng.integers(2))

        for _ in range(self.tries):
            try:
                merged = merge(base, left, right, draw, declared=context.task.parameters)
            except Unparsable as error:
                return NoCandidate(f"{a[:8]} and {b[:8]} cannot be merged: {error}")
            reason = _fault(merged, left, right, context)
            if not reason:
                idea = f"merge of {a[:8]} and {b[:8]}: {merged.a} of the one, {merged.b} of the other"
                return Candidate(merged.files, move.parents, self.name, idea + why)
            if not merged.drawn:
                break
        return NoCandidate(f"merge of {a[:8]} and {b[:8]}: {reason}")

    def _resolved(
        self, resolver: Resolver, move: Propose, context: Context, ancestor: str, versions: tuple[Files, Files, Files]
    ) -> Candidate | NoCandidate | None:
        """Return the merge resolved by the model, or why there is none; None if nothing conflicts."""
        draws = int(context.rng.integers(2**31))
        places: list[Place] = []

        def open_place(place: Place) -> tuple[str]:
            places.append(place)
            return (f"### PLACE {len(places)} ###\n",)

        try:
            draft = merge(*versions, _drawing(draws), open_place, context.task.parameters)
        except Unparsable as error:
            return NoCandidate(str(error))
        if not places:
            return None

        def finish(answered: MergeAnswer) -> Candidate:
            rest = iter(answered.places)
            merged = merge(*versions, _drawing(draws), lambda place: next(rest), context.task.parameters)
            if fault := _fault(merged, *versions[1:], context) or context.gate(merged.files):
                raise InvalidAnswer(fault)
            idea = f"merge of {move.parents[0][:8]} and {move.parents[1][:8]}: {answered.idea}"
            return Candidate(merged.files, move.parents, self.name, idea)

        return resolver.resolve(move, context, ancestor, draft.files, places, finish)


def _drawing(seed: int) -> Choose:
    """Return a source of draws that are the same for every repetition of a merge."""
    rng = np.random.default_rng(seed)
    return lambda: int(rng.integers(2))


def _fault(merged: Merged, a: Files, b: Files, context: Context) -> str:
    """Return why a merge is no candidate; empty if it is one."""
    if not merged.files:
        return "no file is left: one parent deleted what the other did not change"
    if any(merged.files == dict(files) for files in (a, b)):  # the common case when little differs; spares a parse
        return "the result equals one of its parents"
    try:
        require_parsable(merged.files, (a, b))
    except Unparsable as error:
        return f"the result does not parse: {error}"
    identity = fingerprint(merged.files)
    if identity in (fingerprint(a), fingerprint(b)):
        return "the result equals one of its parents"
    return "the result is known already" if identity in context.known else ""


def _undecided(place: Place) -> None:
    """Leave every place to chance."""


def merge(
    base: Files,
    a: Files,
    b: Files,
    choose: Choose,
    resolve: Resolve = _undecided,
    declared: Mapping[str, str] = NOTHING,
) -> Merged:
    """Return the three-way merge of all files. Raises ``Unparsable``.

    ``resolve`` returns the lines of a place in the code that both changed; ``choose`` decides if it returns None, and
    between two values of a parameter.
    """
    files: dict[str, str] = {}
    shares = Share(), Share()
    drawn = 0
    for path in sorted({*base, *a, *b}):
        text: str | None
        if path in base and path in a and path in b:
            language, versions = language_for(path, declared), (base[path], a[path], b[path])
            text, conflicts = _merge_text(path, language, versions, shares, choose, resolve)
        else:
            text, conflicts = _merge_presence((base.get(path), a.get(path), b.get(path)), shares, choose)
        drawn += conflicts
        if text is not None:
            files[path] = text
    return Merged(files, *shares, drawn)


def _merge_presence(
    versions: tuple[str | None, str | None, str | None], shares: tuple[Share, Share], choose: Choose
) -> tuple[str | None, int]:
    """Take a file that one version lacks as a whole: from the parent that changed it, or drawn."""
    base, a, b = versions
    if a == b:
        return a, 0
    conflict = base not in (a, b)
    winner = choose() if conflict else int(a == base)
    shares[winner].hunks += 1
    return versions[1 + winner], int(conflict)


def _merge_text(
    path: str,
    language: Language,
    versions: tuple[str, str, str],
    shares: tuple[Share, Share],
    choose: Choose,
    resolve: Resolve,
) -> tuple[str, int]:
    """Merge one file; return its text and the number of draws. ``versions``: base, a, b."""
    named = [{parameter.name: parameter for parameter in language.parameters(text)} for text in versions]
    values, drawn = _merge_parameters(named[0], named[1], named[2], shares, choose)
    base, a, b = (language.set_parameters(text, values) for text in versions)
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
            case (_, start, end, a_start, a_end, b_start, b_end):
                sides = a_lines[a_start:a_end], b_lines[b_start:b_end]
                written = resolve(Place(path, tuple(base_lines[start or 0 : end or 0]), *map(tuple, sides)))
                if written is not None:
                    lines += written
                    continue
                winner = choose()
                lines += sides[winner]
                shares[winner].hunks += 1
                drawn += 1
    return "".join(lines), drawn


def _matcher() -> Any:
    # difflib's is quadratic in repeated lines (mostly blank ones): 47 ms for 20 KB, against 1 ms.
    from patiencediff import PatienceSequenceMatcher

    return PatienceSequenceMatcher


def _merge_parameters(
    base: Mapping[str, Parameter],
    a: Mapping[str, Parameter],
    b: Mapping[str, Parameter],
    shares: tuple[Share, Share],
    choose: Choose,
) -> tuple[dict[str, Number], int]:
    """Merge the parameters that all three versions have, by name; others are left to the merge of lines.

    A value that the other parent's comment does not allow is not taken; if neither is allowed, lines decide.
    """
    values: dict[str, Number] = {}
    drawn = 0
    for name in base:
        if name not in a or name not in b:
            continue
        both, old = (a[name], b[name]), base[name].value
        if _equal(both[0].value, both[1].value):
            values[name] = both[0].value
            continue
        if not (allowed := [i for i in (0, 1) if _allows(both[1 - i], both[i].value)]):
            continue
        conflict = len(allowed) == 2 and not any(_equal(one.value, old) for one in both)
        wanted = choose() if conflict else int(_equal(both[0].value, old))
        winner = wanted if wanted in allowed else allowed[0]
        values[name] = both[winner].value
        shares[winner].parameters.append(f"{name} {values[name]!r}")
        drawn += conflict
    return values, drawn


def _allows(parameter: Parameter, value: Number) -> bool:
    """Return whether the range that a parameter's comment declares holds a value; True without such a comment."""
    declared = declared_range(parameter)
    return declared is None or value in declared


def _equal(x: Number, y: Number) -> bool:
    """Return whether values and types are equal: ``1`` and ``1.0`` may mean different things."""
    return x == y and type(x) is type(y)
