"""Bootstrap by item: the interval holds its mean, repeats of an item make it no narrower, and it covers the truth."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from archive.bootstrap import bootstrap, by_item
from archive.difference import Measurement

VALUES = st.dictionaries(st.text(max_size=3), st.lists(st.floats(0, 1), min_size=1, max_size=4), min_size=2, max_size=9)


@pytest.mark.slow
@given(VALUES)
def test_the_interval_holds_its_mean_and_lies_within_the_values(items: dict[str, list[float]]) -> None:
    found = bootstrap(items, np.random.default_rng(1))
    assert found is not None
    means = [float(np.mean(values)) for values in items.values()]
    assert min(means) - 1e-9 <= found.low <= found.mean + 1e-9
    assert found.mean - 1e-9 <= found.high <= max(means) + 1e-9


def test_repeats_of_an_item_are_no_samples() -> None:
    once = {str(i): [float(i % 2)] for i in range(40)}
    often = {name: values * 25 for name, values in once.items()}
    narrow, wide = (bootstrap(items, np.random.default_rng(2)) for items in (often, once))
    assert narrow == wide
    assert wide is not None
    assert wide.high - wide.low == pytest.approx(2 * 1.96 * 0.5 / math.sqrt(40), rel=0.1)


@pytest.mark.slow
def test_the_interval_covers_the_truth_as_often_as_it_says() -> None:
    rng = np.random.default_rng(3)
    covered = 0
    for _ in range(200):
        found = bootstrap({str(i): [float(rng.random() < 0.6)] for i in range(80)}, rng)
        assert found is not None
        covered += found.low <= 0.6 <= found.high
    assert 0.89 <= covered / 200 <= 0.99


def test_items_are_gathered_over_evaluations_and_one_item_has_no_interval() -> None:
    items = by_item([Measurement(1.0, {"a": 1.0, "b": 0.0}), Measurement(1.0, {"a": 0.0})])
    assert items == {"a": [1.0, 0.0], "b": [0.0]}
    assert bootstrap({"a": [1.0]}, np.random.default_rng(1)) is None
