"""Sign-flip tests and Holm's correction against their definitions."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from archive.holm import holm, sign_flip


def test_holm_multiplies_by_the_tests_that_are_left_and_never_falls() -> None:
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([]) == []


@given(st.lists(st.floats(0, 1), min_size=1, max_size=8))
def test_adjusted_values_are_no_smaller_and_keep_the_order(values: list[float]) -> None:
    found = holm(values)
    assert all(0 <= raw <= adjusted <= 1 for raw, adjusted in zip(values, found, strict=True))
    order = np.argsort(values, kind="stable")
    assert all(found[a] <= found[b] for a, b in itertools.pairwise(order))


def test_a_sign_flip_counts_the_signs() -> None:
    rng = np.random.default_rng(1)
    assert sign_flip([1.0] * 5, rng) == pytest.approx(2 / 32, abs=0.01)
    assert sign_flip([1.0, -1.0, 0.0], rng) == pytest.approx(1.0, abs=0.01)
    assert sign_flip([0.0, 0.0], rng) == 1.0
    assert sign_flip([1.0] * 40, rng) < 1e-4


def test_without_a_difference_one_test_in_twenty_is_below_a_twentieth() -> None:
    rng = np.random.default_rng(2)
    found = [sign_flip(list(rng.normal(size=30)), rng) for _ in range(150)]
    assert 0.01 <= np.mean([p < 0.05 for p in found]) <= 0.11
