"""One error budget for all claims on a holdout: each later claim has a smaller share of it (alpha spending).

The budget is ``alpha = 1 - confidence``: the probability that any of the claims crowns a node that is no better than
the root. Claim k of an archive on one holdout, of whatever run, spends ``alpha / (k (k + 1))`` of it. These shares sum
to ``alpha`` for any number of claims, and no claim needs to know how many will follow. A two-sided interval of
confidence c crowns wrongly with probability ``(1 - c) / 2``, so

    c_k = 1 - 2 alpha / (k (k + 1))        95%, 98.3%, 99.2%, 99.5%, 99.7% ... for alpha = 5%

The bound is Bonferroni's, so it holds for dependent claims. Sources: Lan and DeMets (1983), "Discrete sequential
boundaries for clinical trials" (alpha spending); Foster and Stine (2008), "Alpha-investing" (claims without an end).
"""

from __future__ import annotations

import math
from collections.abc import Iterator

from archive.records import MoveRecord, Replicate
from archive.tree import Tree
from search.config import ClaimPlan


def spent_confidence(confidence: float, earlier: int) -> float:
    """Return the confidence of the interval of a claim after ``earlier`` others on its holdout."""
    number = earlier + 1
    return 1 - 2 * (1 - confidence) / (number * (number + 1))


def confidence_of(tree: Tree, plan: ClaimPlan) -> float:
    """Return the confidence of the present claim's interval."""
    return spent_confidence(plan.confidence, plan.claims_elsewhere + claims_before(tree))


def percent(confidence: float) -> str:
    """Format a confidence with as many digits as tell it from 100%: ``95%``, ``98.33%``, ``99.91%``."""
    digits = max(1, math.ceil(-math.log10(100 * (1 - confidence))) + 1)
    return f"{100 * confidence:.{digits}f}".rstrip("0").rstrip(".") + "%"


def is_claim(record: MoveRecord) -> bool:
    """Return whether a move belongs to a claim."""
    return isinstance(record.move, Replicate) and record.move.purpose != "screen"


def last_claim_move(tree: Tree) -> int | None:
    """Return the number of the latest move of a claim, None if there was none."""
    return max((number for number, record in tree.moves.items() if is_claim(record)), default=None)


def since_last_search_move(tree: Tree) -> Iterator[MoveRecord]:
    """Yield the moves of the present claim, the latest first."""
    for record in reversed(tree.moves.values()):
        if not is_claim(record):
            return
        yield record


def claims_before(tree: Tree) -> int:
    """Count the run's earlier claims that have read the holdout; the view ``claims`` counts them alike.

    A claim is a stretch of claim moves; the last one, if no move of the search follows it, is the present claim.
    """
    read, count = False, 0
    for record in tree.moves.values():
        if is_claim(record):
            read = read or _reads_holdout(record, tree)
        else:
            count, read = count + read, False
    return count


def _reads_holdout(record: MoveRecord, tree: Tree) -> bool:
    """Return whether the move's evaluation for a report has landed; one of a withdrawn move never does."""
    move = record.move
    if not isinstance(move, Replicate) or move.purpose != "report":
        return False
    return any(e.request.move == record.number and e.outcome != "lost" for e in tree.evaluations[move.node_id])
