"""At equal score shorter code wins: when two scores are equal, what counts as short, and who is preferred.

    equal      the means differ by less than half a standard error of their difference, ``sigma * sqrt(1/n_a + 1/n_b)``;
               while sigma is not known, by nothing at all
    short      nodes of the syntax tree: comments, docstrings, layout, the length of names and the digits of a number do
               not count, so that a tuned constant makes no program longer

The rule is the one-standard-error rule of Breiman et al. (1984, "Classification and Regression Trees", section 3.4.3),
with half of it: a whole one gave away 0.09 to 0.15 sigma of true gain in simulation, half of one 0.02 to 0.03
(tests/benchmarks/finalists.py). It is meant as in karpathy/autoresearch, whose program keeps a change that removes code
at the same score. It is applied to a node with the best mean and never in a chain, so that many equal steps cannot add
up to a loss.
"""

from __future__ import annotations

import ast
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from archive.records import Direction
from archive.tree import Tree
from operators.languages.syntax import Unparsable, parse
from search.claims.statistics import screening_sigma

SHARE = 0.5
"""Of the standard error of a difference: what is less is no difference."""
LOOKED_AT = 50
"""Nodes with good means that are looked at for a shorter one: a program is parsed for its length."""


@dataclass(frozen=True)
class Standing:
    """A node in a comparison: its mean score and the runs behind it."""

    node_id: str
    mean: float
    runs: int


def code_size(files: Mapping[str, str]) -> int:
    """Nodes of the syntax trees of all files, docstrings left out; a file that does not parse counts its words."""
    return sum(_size(path.endswith(".py"), text) for path, text in files.items())


@lru_cache(maxsize=1024)
def _size(is_python: bool, text: str) -> int:
    if is_python:
        try:
            return sum(_count(node) for node in ast.walk(parse(text)))
        except (Unparsable, RecursionError):
            pass  # counted as text
    return len(text.split())


def _count(node: ast.AST) -> int:
    """1 for a node that does something: neither a docstring (with its value) nor the context of a name."""
    if isinstance(node, ast.expr_context):
        return 0
    return -1 if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) else 1


def equal(a: Standing, b: Standing, sigma: float | None) -> bool:
    """Whether two means are equal within noise; see the top of this page."""
    return abs(a.mean - b.mean) <= SHARE * (sigma or 0.0) * math.sqrt(1 / a.runs + 1 / b.runs)


def shortest_equal(
    standings: Sequence[Standing], size: Callable[[str], int], direction: Direction, sigma: float | None
) -> tuple[Standing, Standing]:
    """(who is preferred, who has the best mean): the same one, unless another is equal to it and shorter.

    Of equally short ones the better mean, then the earlier in ``standings``, which must not be empty.
    """
    sign = 1.0 if direction == "minimise" else -1.0
    best = min(standings, key=lambda one: sign * one.mean)
    rivals = [one for one in standings if equal(one, best, sigma)]
    if len(rivals) == 1:
        return best, best
    return min(rivals, key=lambda one: (size(one.node_id), sign * one.mean)), best


def size_in(tree: Tree) -> Callable[[str], int]:
    """How long the program of a node is."""
    return lambda node_id: code_size(tree[node_id].candidate.files)


def shorter_equal(tree: Tree, node_id: str) -> str | None:
    """The shortest of the nodes whose screening means are equal to this one's within noise, if it is shorter; or None.

    The root is one of them. No more than ``LOOKED_AT`` are looked at, those with the best means.
    """
    sigma = screening_sigma(tree)
    ranks = tree.ranks()
    places = np.flatnonzero(tree.eligible())
    places = places[np.argsort(-ranks[places], kind="stable")][:LOOKED_AT]
    standings = [Standing(tree.nodes[i].node_id, float(tree.means[i]), int(tree.runs[i])) for i in map(int, places)]
    own = next((one for one in standings if one.node_id == node_id), None)
    rivals = [one for one in standings if own is not None and equal(one, own, sigma)]
    if own is None or len(rivals) == 1:
        return None
    preferred, _ = shortest_equal([own, *rivals], size_in(tree), tree.direction, sigma)
    return preferred.node_id if size_in(tree)(preferred.node_id) < size_in(tree)(node_id) else None


def in_words(shorter: str, longer: str, tree: Tree) -> str:
    """``shorter (412 syntax nodes against 530) and equal within noise to 3fa9c1d2``."""
    size = size_in(tree)
    return f"shorter ({size(shorter)} syntax nodes against {size(longer)}) and equal within noise to {longer[:8]}"
