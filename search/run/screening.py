"""What a screening's evaluator receives of the tree: how strictly to audit, and the baseline's pace."""

from __future__ import annotations

import math

from archive.records import CurvePoint, Scored
from archive.tree import Tree
from prepare.task import Task
from search.claims.statistics import seed_deviation
from train.language_model.curve import baseline_pace

LEAST_UNSEEN = 0.1
"""Of the smallest gain worth claiming: no audit looks for less."""


def strictness_for(tree: Tree, node_id: str, task: Task) -> float | None:
    """Return the gain that may stay unseen in a screening, or ``task.audit_unseen`` before sigma is known.

    A quarter of the lower end of sigma, but never below a share of what is worth claiming. Infinite for the seed
    program, which was not written to win.
    """
    if node_id == tree.root:
        return math.inf
    sigma = seed_deviation(tree)
    if sigma is None or sigma.value == 0:
        return task.audit_unseen
    return max(sigma.low / 4, LEAST_UNSEEN * (task.smallest_gain or 0.0))


def baseline_of(tree: Tree, node_id: str) -> tuple[CurvePoint, ...]:
    """Return the root's loss curve for a candidate's first run, where far slower ones are stopped; else empty.

    A node that has a score gets none: its mean would leave out its worse runs.
    """
    if node_id == tree.root or tree.scores(node_id):
        return ()
    curves = [e.curve for e in tree.comparable(tree.root) if isinstance(e, Scored)]
    return baseline_pace(curves, tree.conditions.budget_seconds)
