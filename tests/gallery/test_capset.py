"""The scorer of ``capset``: a set of 512, and sets with a line."""

from __future__ import annotations

from itertools import product
from typing import Any

import pytest
from gallery import judged, seed_of, task_of

from prepare.scorer import Invalid

N = 8
FULL = {"0123", "0125", "0367", "0567", "1346", "1456", "2347", "2457"}
ODD = {"0127", "0126", "0137", "0167", "0157", "0236", "0267", "0256",
       "1247", "1246", "1347", "1467", "1457", "2346", "2467", "2456"}  # fmt: skip
ZEROS = {"047", "024", "014", "046", "126", "267", "127", "167"}


def is_taken(v: tuple[int, ...]) -> bool:
    """Return whether a vector is in the set of 512 that FunSearch found (Romera-Paredes et al., Nature 2023)."""
    support = "".join(str(i) for i in range(N) if v[i])
    mirrored = sum(v[i] == v[N - i] for i in (1, 2, 3))
    if len(support) == N:
        return mirrored >= 2
    if len(support) == 4:
        return support in FULL or (support in ODD and mirrored % 2 == 1)
    zeros = "".join(str(i) for i in range(N) if not v[i])
    return zeros in ZEROS and mirrored <= 1 and v[1] * v[7] % 3 != 1 and v[2] * v[6] % 3 != 1


BEST = [list(v) for v in product(range(3), repeat=N) if is_taken(v)]


def judge(vectors: Any) -> Any:
    return judged("capset", {"capset": lambda n: vectors})[0]


def test_the_set_of_512_equals_the_record() -> None:
    known = task_of("capset").known
    assert known is not None
    score = judge(BEST)
    assert known.compared(score.value, True, exact=True).startswith("equals the best known 512 (FunSearch, 2023)")
    assert score.metrics["weight_8"] == 128


def test_the_seed_is_a_set_that_can_grow() -> None:
    score = judged("capset", vars(seed_of("capset")))[0]
    assert 200 < score.value < 448


def test_a_line_is_found_wherever_it_is() -> None:
    with pytest.raises(Invalid, match="lie on a line"):
        judge([*BEST, [0] * N])
    with pytest.raises(Invalid, match="lie on a line"):
        judge([[0] * N, [1] * N, [2] * N])


@pytest.mark.parametrize(
    "vectors",
    [
        None,
        513,
        [*BEST, BEST[0]],
        [[0] * 7],
        [[3] * N],
        [[-1] * N],
        [[True] * N],
        [[1.0] * N],
        ["01201201"],
        [[0] * N] * 6562,
    ],
)
def test_what_is_no_cap_set_is_refused(vectors: Any) -> None:
    with pytest.raises(Invalid):
        judge(vectors)
