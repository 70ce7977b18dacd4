"""graft: takes a change of the code over that others have and the program lacks. Needs no language model.

Where a crossover merges all of two programs, this takes one step out of its branch, the one of which the gene model of
``operators.numeric.surrogate`` expects most on top of this program: what it saw of the change in other programs
counts, and how much of it is still unknown. It is a three-way merge with the step's parent as the base. A constant
that the step and the program have both changed keeps the program's value; new ones come at the values of the best
program that has them. A step that does not fit (the lines that it changed are others here) gives way to the next.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

import numpy as np

from archive.records import Candidate, Node, Propose
from archive.tree import Tree
from operators.analysis.edit_effects import Change, Variants, Worths
from operators.base import Context, NoCandidate
from operators.languages.fingerprint import normalised
from operators.languages.syntax import Unparsable, parse
from operators.languages.undefined_names import undefined
from operators.numeric.observations import rewritten, values_of
from operators.recombine.conflicts import Place
from operators.recombine.crossover import merge

_HOPELESS = 1.0
"""Deviations by which a change is expected to do harm, from which on it is not tried."""

Files = Mapping[str, str]


@dataclass
class _Read:
    """How far a tree has been read."""

    codes: set[frozenset[str]] = field(default_factory=set)
    """The changes that programs have together."""
    upto: int = 0


@dataclass(frozen=True)
class _Offer:
    """A change that may be taken over, and the program that its step changed."""

    change: Change
    before: Files


@dataclass(frozen=True)
class _Grafted:
    """The program with a change, and whose step that was."""

    maker: Node
    files: Files


class Graft:
    """A child with one change more, which another branch has found."""

    arity = 1
    needs_llm = False

    def __init__(self, name: str = "graft", tries: int = 6) -> None:
        """``tries``: how many of the most promising changes are looked at; those that do not fit are left out."""
        self.name = name
        self.tries = tries
        self._worths = Worths()
        self._read: dict[str, _Read] = {}
        """By run."""
        self._latest: tuple[tuple[str, str, int, int], list[_Grafted]] | None = None

    def applies(self, tree: Tree, node_id: str) -> bool:
        """A scored node that lacks a change which fits, and of which something may be hoped."""
        return tree.scored(node_id) and bool(self._grafts(tree, node_id))

    def _grafts(self, tree: Tree, node_id: str) -> list[_Grafted]:
        """The program with each change that it lacks, the largest expected improvement first.

        A pure function of the tree. The latest answer is kept, since a policy asks before it chooses.
        """
        with tree.lock:
            asked = (tree.run, node_id, len(tree), tree.evaluated)
        latest = self._latest  # another thread may put its own there
        if latest is None or latest[0] != asked:
            with tree.lock:
                program = tree[node_id].candidate.files
                codes = self._codes(tree)
                variants = None if len(codes) < 2 else self._worths.variants(tree, node_id, tuple(program))
                offers = [] if variants is None else self._untried(tree, variants, codes)
            offers = [] if variants is None else _by_promise(variants, offers)
            grafts = (_grafted(offer, program) for offer in offers[: self.tries])
            self._latest = latest = asked, [graft for graft in grafts if graft is not None]
        return latest[1]

    def _untried(self, tree: Tree, variants: Variants, codes: Collection[frozenset[str]]) -> list[_Offer]:
        """The changes that no program has on top of those of this one."""
        have = variants.study.code
        lacking = [change for change in variants.changes if change.name not in have]
        fresh = [change for change in lacking if have | {change.name} not in codes]
        return [_Offer(change, tree[change.maker.parents[0]].candidate.files) for change in fresh]

    def _codes(self, tree: Tree) -> set[frozenset[str]]:
        """The changes that programs have together, of all in the tree. Costs O(what is new)."""
        read = self._read.setdefault(tree.run, _Read())
        read.codes.update(self._worths.changes.of(tree, node.node_id) for node in tree.nodes[read.upto :])
        read.upto = len(tree.nodes)
        return read.codes

    def propose(self, move: Propose, context: Context) -> Candidate | NoCandidate:
        program_id = move.parents[0]
        for graft in self._grafts(context.tree, program_id):
            if normalised(graft.files) not in context.known:
                made = graft.maker.candidate
                # What came from elsewhere itself keeps its words.
                idea = made.idea if made.operator == self.name else f"takes over {graft.maker.node_id[:8]}: {made.idea}"
                return Candidate(graft.files, move.parents, self.name, idea)
        return NoCandidate(f"{program_id[:8]} lacks no change that fits and of which something may be hoped")


def _by_promise(variants: Variants, offers: list[_Offer]) -> list[_Offer]:
    """The largest expected improvement first; those that are expected to do harm, for certain, are left out."""
    if not offers:
        return []
    study = variants.study
    others = [variants.other(offer.change) for offer in offers]
    programs, codes = [study.start, *(values for values, _ in others)], [study.code, *(code for _, code in others)]
    try:
        model = variants.model()
        improvement, found = model.predict(programs, codes).improvement, model.compare(programs, codes)
    except ArithmeticError:  # the model cannot be solved for such programs: the latest change first
        return offers[::-1]
    hopeful = [gain > -_HOPELESS * deviation for gain, deviation in found.differences()]
    order = np.argsort(-improvement[1:], kind="stable")
    return [offers[int(place)] for place in order if hopeful[place]]


def _grafted(offer: _Offer, program: Files) -> _Grafted | None:
    """None where the lines that the step changed are others in this program, or what comes of it cannot run."""
    change, conflicts = offer.change, list[Place]()
    try:
        # Of a constant that both have changed the program's value stays.
        merged = merge(offer.before, program, change.maker.candidate.files, lambda: 0, conflicts.append).files
        if conflicts:
            return None
        there = values_of(merged)
        files = rewritten(merged, {key: value for key, value in change.brought.items() if key in there})
        for path, text in files.items():
            if path.endswith(".py"):
                parse(text, path)
    except Unparsable:
        return None
    if set(undefined(files)) - set(undefined(program)):  # it stands on another change that this program lacks
        return None
    return _Grafted(change.maker, files)
