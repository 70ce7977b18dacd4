"""The scorer of ``matmul``: shapes are its own, and every coefficient is compared."""

from __future__ import annotations

import json
import re
from itertools import product
from pathlib import Path
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


LADERMAN = """
a11+a12+a13-a21-a22-a32-a33 * b22 * c12
a11-a21 * b22-b12 * c21+c22
a22 * b12-b11+b21-b22-b23-b31+b33 * c21
a21-a11+a22 * b11-b12+b22 * c12+c21+c22
a21+a22 * b12-b11 * c12+c22
a11 * b11 * c11+c12+c13+c21+c22+c31+c33
a31-a11+a32 * b11-b13+b23 * c13+c31+c33
a31-a11 * b13-b23 * c31+c33
a31+a32 * b13-b11 * c13+c33
a11+a12+a13-a22-a23-a31-a32 * b23 * c13
a32 * b13-b11+b21-b22-b23-b31+b32 * c31
a32-a13+a33 * b22+b31-b32 * c12+c31+c32
a13-a33 * b22-b32 * c31+c32
a13 * b31 * c11+c12+c13+c21+c23+c31+c32
a32+a33 * b32-b31 * c12+c32
a22-a13+a23 * b23+b31-b33 * c13+c21+c23
a13-a23 * b23-b33 * c21+c23
a22+a23 * b33-b31 * c13+c23
a12 * b21 * c11
a23 * b32 * c22
a21 * b13 * c23
a31 * b12 * c32
a33 * b33 * c33
"""
"""Laderman's algorithm of 1976: 23 products for 3x3x3."""
FOUND = json.loads((Path(__file__).parent / "data" / "matmul.json").read_text())
"""15 products for 2x3x3, found for this test by flips modulo 2 and lifted to integers."""


def products_of(text: str) -> list[list[list[int]]]:
    """Return the products of 3x3x3 that lines such as ``a11-a21 * b22 * c12+c22`` stand for."""
    lines = text.split("\n")[1:-1]
    found = [[[0] * 9 for _ in range(3)] for _ in lines]
    for factors, line in zip(found, lines, strict=True):
        for sign, matrix, i, j in re.findall(r"([+-]?)([abc])(\d)(\d)", line):
            factors["abc".index(matrix)][3 * int(i) + int(j) - 4] = -1 if sign == "-" else 1
    return found


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


def test_the_best_known_algorithms_get_their_numbers(monkeypatch: pytest.MonkeyPatch) -> None:
    """The seed puts 11 products for 2x2x3 together from 7 for 2x2x2. For 4x4x4 there are 49 here, and 48 are known."""
    monkeypatch.setattr(SEED, "walked", lambda n, m, p: [list(map(list, each)) for each in WINOGRAD])
    monkeypatch.setattr(SEED, "BLOCKS", 1)
    assert judged("matmul", {"algorithm": SEED.algorithm})[0].metrics == {
        "2x2x2": 7, "2x2x3": 11, "2x3x3": 17, "3x3x3": 26, "4x4x4": 49,
    }  # fmt: skip
    best = judge(s222=SEED.algorithm(2, 2, 2), s223=SEED.algorithm(2, 2, 3), s233=FOUND["2x3x3"],
                 s333=products_of(LADERMAN), s444=SEED.blocks(WINOGRAD))  # fmt: skip
    known = task_of("matmul").known
    scorer = module_of(task_of("matmul").root / "score.py")
    expected = {"x".join(map(str, shape)): count for shape, count in scorer.KNOWN.items()}
    assert best.metrics == expected | {"4x4x4": 49}
    assert known is not None
    assert known.value == sum(expected.values())
    assert known.compared(best.value - 1, False, exact=True).startswith("equals the best known 104 (Strassen")


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
