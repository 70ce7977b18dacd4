"""What a screening's evaluator receives of the tree: strictness of the audit, values of the parent."""

from __future__ import annotations

import math
from collections import defaultdict
from dataclasses import replace
from statistics import fmean

from archive.records import Request, Scored
from archive.tree import Tree
from prepare.task import Task
from search.claims.statistics import seed_deviation

LEAST_UNSEEN = 0.1
"""Of the smallest gain worth claiming: no audit looks for less."""


def for_screening(tree: Tree, request: Request, task: Task) -> Request:
    """Return the request with the audit's strictness, the leader's mean and what the candidate is compared with.

    Only scores that could beat the leader's mean are audited that strictly.
    """
    leader = tree.leader()
    return replace(
        request,
        strictness=strictness_for(tree, request.node_id, task),
        leader_score=None if leader is None else tree.mean(leader),
        parent_cases=parent_cases(tree, request.node_id),
    )


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


def parent_cases(tree: Tree, node_id: str) -> dict[str, float]:
    """Return the mean values by case of the nearest scored ancestor, of two the better one, for staged evaluation.

    Empty for the root, and for a node that has a score: its later runs are never cut short.
    """
    if tree.scores(node_id):
        return {}
    line = tree[node_id].parents
    while line and not any(map(tree.scored, line)):
        line = tuple(dict.fromkeys(older for each in line for older in tree[each].parents))
    scored = [each for each in line if tree.scored(each)]
    if not scored:
        return {}
    best = scored[0] if len(scored) < 2 or not tree.better(tree.mean(scored[1]), tree.mean(scored[0])) else scored[1]
    values: dict[str, list[float]] = defaultdict(list)
    for evaluation in tree.comparable(best):
        for case in evaluation.cases if isinstance(evaluation, Scored) else ():
            values[case.case].append(case.value)
    return {name: fmean(found) for name, found in values.items()}
