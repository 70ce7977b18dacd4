"""Packed values: what goes in comes out, and malformed bytes of an untrusted side are refused."""

from __future__ import annotations

import json
import struct
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from prepare.values import pack, unpack

LEAVES = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text() | st.binary()
VALUES = st.recursive(
    LEAVES, lambda inner: st.lists(inner) | st.dictionaries(st.text() | st.just("$array"), inner), max_leaves=12
)


@given(VALUES)
def test_json_values_and_bytes_come_back(value: Any) -> None:
    assert unpack(pack(value)) == value


@given(npst.arrays(st.sampled_from(["<f4", ">f8", "?", "i1", "<u8", "c8"]), npst.array_shapes(min_dims=0, min_side=0)))
def test_arrays_come_back_with_dtype_and_shape(array: Any) -> None:
    found = np.asarray(unpack(pack([array]))[0])
    assert found.shape == array.shape
    np.testing.assert_array_equal(found, array)


def test_an_array_that_came_back_can_be_written_to() -> None:
    found = unpack(pack(np.zeros(3)))
    found[0] = 1.0
    assert found.tolist() == [1.0, 0.0, 0.0]


@pytest.mark.parametrize("value", [{1, 2}, {1: 2}, object(), np.array([object()]), np.array(["text"]), 1j])
def test_a_value_of_another_type_is_refused_by_name(value: object) -> None:
    with pytest.raises(ValueError, match="expected"):
        pack(value)


def test_a_value_that_contains_itself_is_refused() -> None:
    value: list[Any] = []
    value.append(value)
    with pytest.raises(ValueError, match="nested deeper"):
        pack(value)


def packed(tree: object, blobs: bytes = b"") -> bytes:
    text = json.dumps(tree).encode()
    return struct.pack("<I", len(text)) + text + blobs


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\xff\xff\xff\xff{}",
        b"\1\0\0\0\xff",
        packed({"$bytes": [0, 5]}, b"four"),
        packed({"$bytes": [-1, 1]}, b"four"),
        packed({"$bytes": [True, None]}),
        packed({"$array": ["<f8", [1 << 62], 0]}),
        packed({"$array": ["<f8", [-1], 0]}),
        packed({"$array": ["O", [1], 0]}, b"8 bytes!"),
        packed({"$array": ["no", [1], 0]}),
        packed({"$array": 5}),
        packed({"$map": [[1, 2]]}),
        packed({"$map": 3}),
        struct.pack("<I", 200_000) + b"[" * 200_000,
    ],
)
def test_malformed_bytes_are_refused(data: bytes) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - of several kinds, all of them refusals
        unpack(data)
