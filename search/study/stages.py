"""The policy of a study's runs: baseline, tuning, research, ablation, each with its own budget of evaluations.

    baseline   the seed program, once for each seed that is reported (once, where the task is deterministic)
    tuning     the numeric operator alone, by the policy of the plan
    research   all operators, by the policy of the plan
    ablation   the best program so far, with one of its changes taken back at a time

A stage begins when everything before it has landed, so that its choice of a program does not depend on the slots.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from archive.records import Propose, Replicate, Stage, Stop, Wait
from archive.tree import Tree
from search.policies.base import Choice, Operators, Policy, screening_count
from search.study.ablation import NAME, changes
from search.study.plan import STAGES

TUNING = "tune"


@dataclass(frozen=True)
class Stages:
    """A pure function of the tree. ``within``: the policy of tuning and research; ``seeds``: runs of what is reported.

    ``patience``: evaluations without a new best after which tuning or research ends; None: no such rule.
    """

    within: Policy
    budgets: Mapping[Stage, int]
    seeds: int = 3
    patience: int | None = None

    def choose(self, tree: Tree, rng: np.random.Generator, operators: Operators) -> Choice:
        """Return the next move of the first stage that has one."""
        for stage in STAGES[_reached(tree) :]:
            if used(tree, stage) < self.budgets[stage]:
                move = self._in_stage(stage, tree, rng, operators)
                if isinstance(move, Propose | Replicate):
                    return replace(move, stage=stage)
                if isinstance(move, Wait):
                    return move
            if tree.open_moves:
                return Wait(f"the last evaluations of the stage {stage} are under way")
        return Stop("every stage of the plan is over")

    def _in_stage(self, stage: Stage, tree: Tree, rng: np.random.Generator, operators: Operators) -> Choice:
        if stage == "baseline":
            return self._baseline(tree)
        if stage == "ablation":
            return self._ablation(tree)
        if self.patience is not None and _without_gain(tree, stage) >= self.patience:
            return Stop(f"{self.patience} evaluations without a new best")
        allowed = {TUNING} if stage == "tuning" else operators.keys() - {NAME}
        return self.within.choose(tree, rng, {name: operators[name] for name in operators if name in allowed})

    def _baseline(self, tree: Tree) -> Choice:
        if len(tree) and screening_count(tree, tree.root) < self._runs(tree):
            return Replicate(tree.root, reason="baseline")
        return Stop("the baseline has its runs")

    def _ablation(self, tree: Tree) -> Choice:
        """Take back each change once, then evaluate each of these programs as often as is reported."""
        subject, asked = _subject(tree)
        if subject is None:
            return Stop("no program is better than the baseline")
        runs = self._runs(tree)
        count = len(changes(tree[tree.root].candidate.files, tree[subject].candidate.files))
        if asked < min(count, self.budgets["ablation"] // runs - (runs > 1)):
            return Propose(NAME, (subject,))
        members = [subject, *(node.node_id for node in tree.nodes if node.candidate.operator == NAME)]
        for least in range(1, runs):
            for node_id in members:
                if screening_count(tree, node_id) == least and not tree.failures(node_id):
                    return Replicate(node_id, reason="ablation")
        return Stop("each change was taken back as often as is reported")

    def _runs(self, tree: Tree) -> int:
        return 1 if tree.deterministic else self.seeds


def used(tree: Tree, stage: Stage) -> int:
    """Count the evaluations of a stage: those under way too, refused proposals not. The root is of the baseline."""
    made = {node.move for node in tree.nodes}
    own = (number for number, record in tree.moves.items() if _stage(tree, number) == stage)
    return sum(
        isinstance(tree.moves[number].move, Replicate) or number in made or number in tree.open_moves for number in own
    )


def _stage(tree: Tree, number: int) -> Stage | None:
    return "baseline" if number == 0 else tree.moves[number].move.stage


def _reached(tree: Tree) -> int:
    """Return the place of the last stage that has begun."""
    return max((STAGES.index(stage) for number in tree.moves if (stage := _stage(tree, number))), default=0)


def _without_gain(tree: Tree, stage: Stage) -> int:
    """Count the nodes of a stage that have a result and came after the leader."""
    leader = tree.leader()
    since = -1 if leader is None else tree[leader].number
    return sum(
        node.number > since and _stage(tree, node.move) == stage and node.move not in tree.open_moves
        for node in tree.nodes
    )


def _subject(tree: Tree) -> tuple[str | None, int]:
    """Return the program under ablation and how often a change was taken back; None without a better one than the root.

    It is chosen once, by its mean: later evaluations do not change it.
    """
    asked = [r.move.parents[0] for r in tree.moves.values() if isinstance(r.move, Propose) and r.move.operator == NAME]
    if asked:
        return asked[0], len(asked)
    best = tree.leader()
    return (None if best in (None, tree.root) else best), 0
