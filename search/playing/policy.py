"""Judges the formula of a policy by whole searches: the scorer of the task ``self/policy``.

Searches, splits, stages and utility are those of ``search.playing.proposer``. Only the node scores come from the
candidate (``flat_ucb`` of ``search/policies/selection/formula.py``); everything else is the default policy.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any, cast

import numpy as np

from archive.tree import Floats, Tree
from prepare.scorer import CandidateHandle, Case, Invalid, Score, Split
from search.playing import proposer
from search.playing.game import Player
from search.playing.players import shipped
from search.policies.composition import Composition
from search.policies.selection.values import ranks
from search.policies.tree_cache import Mask


def cases(split: Split) -> Iterator[dict[str, Any]]:
    """Yield the searches of a split."""
    return proposer.cases(split)


def score(candidate: CandidateHandle, case: Case) -> Score:
    """Return the utility of one search. Raises Invalid for scores that are no finite numbers."""
    asked = AskedScore(candidate)
    return proposer.judged(candidate, case, asked.meter, _with_score(asked))


@dataclass(frozen=True)
class AskedScore:
    """The node score that a candidate computes."""

    candidate: CandidateHandle
    meter: proposer.CandidateUse = field(default_factory=proposer.CandidateUse)

    def __call__(self, tree: Tree, members: Mask | None = None) -> Floats:
        began = time.monotonic()
        values = ranks(tree, members)
        answer = self.candidate.call("formula.py:flat_ucb", values, tree.visits.copy())
        self.meter.add(time.monotonic() - began)
        return node_scores(answer, values)


def node_scores(answer: Any, values: Floats) -> Floats:
    """Return a candidate's answer, NaN where no node may be improved. Raises Invalid for anything but finite scores."""
    if not isinstance(answer, np.ndarray) or answer.shape != values.shape or answer.dtype != np.float64:
        raise Invalid(f"flat_ucb() returned {type(answer).__name__}; expected an array of {len(values)} floats")
    valid = ~np.isnan(values)
    if not np.isfinite(answer[valid]).all():
        raise Invalid("flat_ucb() returned a score that is no finite number, of a node that has a value")
    return np.where(valid, answer, np.nan)


def _with_score(asked: AskedScore) -> Player:
    player = shipped("ucb")
    return replace(player, policy=replace(cast(Composition, player.policy), score=asked))
