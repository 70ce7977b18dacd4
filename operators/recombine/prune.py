"""prune: remove one step of a program's lineage again, if that makes it shorter. Needs no language model.

The step that gained least over its parent goes first: code that was added and gained nothing is what a simpler program
can do without. The removal is a reversed merge (``operators.recombine.ablate``), so that all later steps stay. Steps
that only set parameters are left to ``tune``.
"""

from __future__ import annotations

from collections.abc import Iterator

from archive.records import Candidate, Node, Propose
from archive.tree import Tree
from operators.base import Context, NoCandidate
from operators.languages.files import Files
from operators.languages.fingerprint import fingerprint
from operators.languages.similarity import program_size
from operators.recombine.ablate import Removal, without
from operators.rewrite.prompt.change_kinds import gain_of


class Prune:
    """Remove one step of the lineage."""

    arity = 1
    needs_llm = False

    def __init__(self, name: str = "prune") -> None:
        self.name = name
        self._grown: dict[str, bool] = {}
        self._prunable: dict[str, bool] = {}

    def applies(self, tree: Tree, node_id: str) -> bool:
        """True for a scored node with a step in its lineage that made the program longer."""
        return tree.scored(node_id) and self._is_prunable(tree, node_id)

    def propose(self, move: Propose, context: Context) -> Candidate | NoCandidate:
        program_id = move.parents[0]
        reasons = ["it has no step that made it longer"]
        with context.tree.lock:
            program = context.tree[program_id].candidate.files
            steps = [step for step in _steps(context.tree, program_id) if self._grew(context.tree, step)]
            steps.sort(key=lambda step: _order(context.tree, step))
            stages = [
                (step, step.candidate.files, context.tree[step.parents[0]].candidate.files) for step in steps
            ]  # texts are loaded when they are looked at
        for step, after, before in stages:
            found = without(step.node_id, step.candidate.idea, program, after, before)
            if isinstance(found, Removal) and not (fault := _fault(found, program, context)):
                return Candidate(found.files, move.parents, self.name, found.words)
            reasons.append(f"without {step.node_id[:8]}: {found if isinstance(found, str) else fault}")
        return NoCandidate(f"nothing of {program_id[:8]} can be taken out: {'; '.join(reasons[1:] or reasons)[:500]}")

    def _is_prunable(self, tree: Tree, node_id: str) -> bool:
        """Return whether such a step exists. Cached by node, since policies call it often."""
        front = [node_id]
        while front:
            node = tree[front[-1]]
            if unknown := [parent for parent in node.parents if parent not in self._prunable]:
                front += unknown
                continue
            above = any(self._prunable[parent] for parent in node.parents)
            self._prunable[front.pop()] = above or (len(node.parents) == 1 and self._grew(tree, node))
        return self._prunable[node_id]

    def _grew(self, tree: Tree, step: Node) -> bool:
        """Return whether a step has more lines than its parent. Cached by node, since programs never change."""
        if step.node_id not in self._grown:
            before = tree[step.parents[0]].candidate.files
            self._grown[step.node_id] = _lines(step.candidate.files) > _lines(before)
        return self._grown[step.node_id]


def _steps(tree: Tree, node_id: str) -> Iterator[Node]:
    """Yield the steps of a lineage with one parent: neither the root nor merges."""
    return (node for node in map(tree.__getitem__, tree.lineage(node_id)) if len(node.parents) == 1)


def _order(tree: Tree, step: Node) -> tuple[bool, float]:
    """Return the sort key of a step: the smallest gain first, steps of unknown gain last."""
    gain = gain_of(tree, step.node_id)
    return gain is None, gain or 0.0


def _fault(found: Removal, program: Files, context: Context) -> str:
    if program_size(found.files) >= program_size(program):
        return "the program does not become shorter"
    return "the result is known already" if fingerprint(found.files) in context.known else ""


def _lines(files: Files) -> int:
    return sum(len(text.splitlines()) for text in files.values())
