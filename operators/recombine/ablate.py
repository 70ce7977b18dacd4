"""ablate: a program without one step of its lineage, to measure what that step gained. Needs no language model.

A step is removed by a three-way merge with the step as the base: the program keeps all later changes, and the step's
lines are put back to what they were before. Lines that later steps changed again stay.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from archive.records import Candidate, Propose
from archive.tree import Tree
from operators.base import Context, NoCandidate
from operators.languages.files import require_parsable
from operators.languages.fingerprint import fingerprint
from operators.languages.syntax import Unparsable
from operators.recombine.crossover import merge


@dataclass(frozen=True)
class Removal:
    """A program without one step: the step's node, its idea, and the remaining files."""

    node_id: str
    """Of an agent's part its name, such as ``call-01``: ``operators.recombine.agent_parts``."""
    idea: str
    files: Mapping[str, str]
    partial: bool = False
    """Whether later steps changed some of its lines again, which stay."""

    @property
    def words(self) -> str:
        """The idea of the remaining program."""
        but = ", but for what later steps changed again" if self.partial else ""
        return f"without {self.node_id[:8]}: {self.idea}{but}"


def without(
    node_id: str, idea: str, program: Mapping[str, str], step: Mapping[str, str], before: Mapping[str, str]
) -> Removal | str:
    """Return ``program`` without what ``step`` changed in ``before``, or the reason why that is not possible."""
    try:
        merged = merge(step, program, before, lambda: 0)
        require_parsable(merged.files, (step, program, before))
    except Unparsable as error:
        return f"what is left without it does not parse: {error}"
    if not merged.files:
        return "no file is left without it"
    if fingerprint(merged.files) == fingerprint(program):
        return "nothing of it is left: later steps replaced it"
    return Removal(node_id, idea, merged.files, bool(merged.drawn))


class Ablate:
    """Propose the removals in order: the n-th proposal of a run is the n-th removal."""

    arity = 1
    needs_llm = False

    def __init__(self, name: str, removals: tuple[Removal, ...]) -> None:
        self.name = name
        self.removals = removals

    def applies(self, tree: Tree, node_id: str) -> bool:
        return node_id == tree.root

    def propose(self, move: Propose, context: Context) -> Candidate | NoCandidate:
        """Return the next removal, counted from the moves of the run, so that a resumed run continues."""
        numbers = sorted(n for n, record in context.tree.moves.items() if _asks(record.move, self.name))
        place = numbers.index(context.move_number)
        if place >= len(self.removals):
            return NoCandidate(f"all {len(self.removals)} steps have been taken out")
        removal = self.removals[place]
        return Candidate(removal.files, move.parents, self.name, removal.words, ablated=removal.node_id)


def _asks(move: object, name: str) -> bool:
    return isinstance(move, Propose) and move.operator == name
