"""seed_agents: the designs of agents that are known from the literature, each proposed once. Needs no language model.

They are the seeds of ADAS (Hu, Lu, Clune 2025, "Automated design of agentic systems"): chain of thought,
self-consistency, reflexion, debate, step-back abstraction, quality-diversity, and role assignment. Each is a program
with ``solve(question, llm)`` in ``operators/agents``, which replaces the main file.
"""

from __future__ import annotations

from pathlib import Path

from archive.records import Candidate, Propose
from archive.tree import Tree
from operators.base import Context, NoCandidate
from operators.languages.fingerprint import fingerprint
from prepare.program import ProgramTask
from prepare.task import Task

AGENTS = Path(__file__).with_name("agents")


def seed_agents() -> dict[str, str]:
    """Return the programs of the designs by their names."""
    return {path.stem: path.read_text(encoding="utf-8") for path in sorted(AGENTS.glob("*.py"))}


class SeedAgents:
    """Propose each design once, as a child of the root."""

    arity = 1
    needs_llm = False

    def __init__(self, name: str = "seed_agents") -> None:
        self.name = name
        self._agents = seed_agents()
        self._task: Task | None = None

    def set_task(self, task: Task) -> None:
        self._task = task

    def applies(self, tree: Tree, node_id: str) -> bool:
        """True for the root of a task whose candidates ask a model, while designs are left."""
        asks = isinstance(self._task, ProgramTask) and self._task.llm is not None
        return asks and node_id == tree.root and self._proposed(tree) < len(self._agents)

    def propose(self, move: Propose, context: Context) -> Candidate | NoCandidate:
        with context.tree.lock:
            files = dict(context.tree[context.tree.root].candidate.files)
        main = next(iter(files))
        for text in self._agents.values():
            made = {**files, main: text}
            if fingerprint(made) not in context.known:
                return Candidate(made, move.parents, self.name, text.split('"""')[1])
        return NoCandidate("all known designs of agents are in the tree")

    def _proposed(self, tree: Tree) -> int:
        return sum(node.candidate.operator == self.name for node in tree.nodes)
