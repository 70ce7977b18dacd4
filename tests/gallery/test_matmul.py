"""The scorer of ``matmul``: shapes are its own, and every coefficient is compared."""

from __future__ import annotations

from itertools import product
from typing import Any

import numpy as np
import pytest
from gallery import judged, module_of, seed_of, task_of

from prepare.scorer import Invalid

SEED = seed_of("matmul")
WINOGRAD = [
    ([1, 0, 0, 0], [1, 0, 0, 0], [1, 1, 1, 1]),
    ([0, 1, 0, 0], [0, 0, 1, 0], [1, 0, 0, 0]),
    ([1, 1, -1, -1], [0, 0, 0, 1], [0, 1, 0, 0]),
    ([0, 0, 0, 1], [1, -1, -1, 1], [0, 0, -1, 0]),
    ([0, 0, 1, 1], [-1, 1, 0, 0], [0, 1, 0, 1]),
    ([-1, 0, 1, 1], [1, -1, 0, 1], [0, 1, 1, 1]),
    ([1, 0, -1, 0], [0, -1, 0, 1], [0, 0, 1, 1]),
]
"""Strassen's algorithm with Winograd's sums: 7 products for 2x2x2."""


def judge(**changed: Any) -> Any:
    """Judge the schoolbook algorithms, with those of some shapes (``s222``) replaced."""
    made = {
        shape: [list(map(list, each)) for each in SEED.schoolbook(*shape)] for shape in product((2, 3, 4), repeat=3)
    }
    made |= {tuple(map(int, name[1:])): value for name, value in changed.items()}
    return judged("matmul", {"algorithm": lambda n, m, p: made[n, m, p]})[0]


def test_schoolbook_and_winograd_get_their_numbers() -> None:
    assert judge().value == 8 + 12 + 18 + 27 + 64
    small = [list(map(list, each)) for each in WINOGRAD]
    assert judge(s222=small, s444=SEED.blocks(WINOGRAD)).metrics == {
        "2x2x2": 7, "2x2x3": 12, "2x3x3": 18, "3x3x3": 27, "4x4x4": 49,
    }  # fmt: skip


def test_the_known_numbers_add_up() -> None:
    scorer = module_of(task_of("matmul").root / "score.py")
    known = task_of("matmul").known
    assert known is not None
    assert sum(scorer.KNOWN.values()) == known.value


def test_halves_are_exact() -> None:
    halved = [[[x / 2 for x in a], [2 * x for x in b], list(c)] for a, b, c in WINOGRAD]
    assert judge(s222=halved).metrics["2x2x2"] == 7


def test_flips_keep_the_product(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(SEED, "STEPS", 3000)
    score = judged("matmul", {"algorithm": lambda n, m, p: SEED.algorithm(n, m, p) if n * m * p < 12 else [
        [list(f) for f in each] for each in SEED.schoolbook(n, m, p)]})[0]  # fmt: skip
    assert score.metrics["2x2x2"] <= 8


@pytest.mark.parametrize(
    "wrong",
    [
        None,
        [],
        [[[], [], []]],
        [[[1], [1], [1]]],  # the trivial product that evaluators of others take for a record
        [list(map(list, each)) for each in WINOGRAD[:6]],
        [[[np.nan] * 4] * 3],
        [[[True] * 4] * 3],
        [[["1"] * 4] * 3],
        [[[1e300] * 4] * 3],
        [[[0.3] * 4] * 3],
        [[[2**63] * 4] * 3],
    ],
)
def test_what_is_no_algorithm_is_refused(wrong: Any) -> None:
    with pytest.raises(Invalid):
        judge(s222=wrong)


def test_an_error_of_a_thousandth_is_refused() -> None:
    near = [list(map(list, each)) for each in WINOGRAD]
    near[0][0][0] = 1 + 1 / 1024
    with pytest.raises(Invalid, match="is wrong in"):
        judge(s222=near)
