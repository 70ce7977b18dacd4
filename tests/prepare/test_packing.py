"""Rows packed from texts: full, each begun by BOS, every text in order inside its pieces, few tokens cropped."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from prepare.data.packing import BOS, lay_out, pack
from prepare.scoring import Tokens


def rows_of(sizes: list[int], width: int, ahead: int = 16) -> tuple[Tokens, int]:
    """Texts whose tokens are their own positions + 1, packed."""
    tokens = np.arange(1, sum(sizes) + 1, dtype=np.uint16)
    packing = pack(np.array(sizes, np.int64), width, ahead)
    rows = np.full((packing.rows, width), 60_000, np.uint16)
    lay_out(tokens, packing, rows)
    return rows, packing.cropped


@given(st.lists(st.integers(0, 40), max_size=60), st.integers(2, 17), st.integers(1, 20))
def test_rows_are_full_begin_with_bos_and_lose_only_what_is_counted(sizes: list[int], width: int, ahead: int) -> None:
    rows, cropped = rows_of(sizes, width, ahead)
    assert (rows[:, 0] == BOS).all() if len(rows) else True
    kept = rows[rows != BOS]
    assert len(set(kept.tolist())) == len(kept)  # no token twice
    assert len(kept) + cropped == sum(sizes)
    borders = set((np.cumsum([0, *sizes]) + 1).tolist())  # first tokens of texts
    for row in rows.tolist():
        for before, after in itertools.pairwise(row):
            if before != BOS and after != BOS:
                assert after == before + 1  # a piece goes on as its text does
                assert after not in borders  # and never into another text


def test_the_longest_that_fits_comes_next() -> None:
    rows, cropped = rows_of([3, 6, 2, 1], width=8)
    assert rows[0].tolist() == [0, 4, 5, 6, 7, 8, 9, 0]  # six and a BOS, then room for one: BOS alone
    assert rows[1].tolist() == [0, 1, 2, 3, 0, 10, 11, 0]
    assert cropped == 1  # what did not fill a third row


def test_where_nothing_fits_the_shortest_is_cropped() -> None:
    rows, cropped = rows_of([5, 4, 6], width=10)
    assert rows.tolist() == [[0, 10, 11, 12, 13, 14, 15, 0, 6, 7]]  # the six, then two of the four
    assert cropped == 5 + 2


def test_a_long_text_is_cut_and_nothing_of_it_is_lost() -> None:
    rows, cropped = rows_of([27], width=10)
    assert cropped == 0
    assert rows[:, 1:].ravel().tolist() == list(range(1, 28))


def test_few_tokens_are_cropped_of_texts_as_they_are_in_the_wild() -> None:
    rng = np.random.default_rng(0)
    sizes = np.exp(rng.normal(6.0, 1.0, size=20_000)).astype(np.int64) + 1  # a median of 400 tokens
    packing = pack(sizes, 2049)
    assert packing.cropped / sizes.sum() < 0.02
    in_order = pack(sizes, 2049, ahead=1)
    assert packing.cropped < in_order.cropped / 5


def test_a_row_of_one_token_is_refused() -> None:
    with pytest.raises(ValueError, match="at least 2"):
        pack(np.array([3]), 1)
