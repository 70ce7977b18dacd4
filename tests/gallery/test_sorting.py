"""The scorer of ``sorting``: networks of the known sizes, and what fails on one input of 65,536."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from gallery import judged, seed_of, task_of

from prepare.scorer import Invalid

BEST = json.loads((Path(__file__).parent / "data" / "sorting.json").read_text())
"""Networks of the sizes in Dobbelaere's list; those for 14 and 15 channels follow from that for 16."""


def judge(networks: dict[str, Any]) -> Any:
    return judged("sorting", {"network": lambda n: networks[str(n)]})[0]


def test_the_smallest_known_networks_get_their_size() -> None:
    known = task_of("sorting").known
    assert known is not None
    assert judge(BEST).value == known.value == 286


def test_the_seed_is_batchers() -> None:
    score = judged("sorting", vars(seed_of("sorting")))[0]
    assert score.value <= 301
    assert score.metrics["n16"] <= 63
    assert "n = 16: 63 (best known 60" in score.feedback


@pytest.mark.parametrize("missing", [0, 20, 59])
def test_a_network_without_one_comparator_is_refused(missing: int) -> None:
    with pytest.raises(Invalid, match=r"network\(16\) does not sort \["):
        judge({**BEST, "16": [pair for place, pair in enumerate(BEST["16"]) if place != missing]})


@pytest.mark.parametrize(
    "network",
    [None, [], 35, [[1, 0]], [[0, 11]], [[0, 0]], [[0, True]], [[0.0, 1.0]], [[0, 1, 2]], [[0, 1]] * 501, [[-1, 3]]],
)
def test_what_is_no_network_is_refused(network: Any) -> None:
    with pytest.raises(Invalid):
        judge({**BEST, "11": network})
