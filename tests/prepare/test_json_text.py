"""JSON without the package ``json``: the same texts and values as that package's."""

from __future__ import annotations

import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from prepare.json_text import from_json, to_json

values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(st.characters()),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


@given(values)
def test_texts_and_values_are_those_of_json(value: object) -> None:
    for ascii_only in (True, False):
        text = to_json(value, ascii_only=ascii_only)
        assert text == json.dumps(value, ensure_ascii=ascii_only)
        assert from_json(f" {text}\n") == json.loads(text)


def test_numbers_that_are_none_pass() -> None:
    text = to_json([math.inf, -math.inf, math.nan])
    assert text == "[Infinity, -Infinity, NaN]"
    assert [str(number) for number in from_json(text)] == ["inf", "-inf", "nan"]


@given(st.text('[]{}:,"1ea-. \\\n\tntrufls') | st.sampled_from(["", " ", "\ufeff1", "[1]x", '"\t"', "'a'", "[1,]"]))
def test_what_json_refuses_is_refused(text: str) -> None:
    try:
        value = json.loads(text)
    except ValueError:
        with pytest.raises(ValueError, match=r"JSON value|column"):
            from_json(text)
    else:
        assert from_json(text) == value


def test_deep_nesting_ends_with_an_error_and_not_with_the_process() -> None:
    with pytest.raises(RecursionError):
        from_json("[" * 100_000)
    with pytest.raises(TypeError, match="type set is not JSON"):
        to_json({1, 2})
