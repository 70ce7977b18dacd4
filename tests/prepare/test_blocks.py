"""EVOLVE-BLOCK markers: what lies outside of them stays byte for byte."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from prepare.blocks import BlockError, block_spans, changed_outside, in_blocks, outside_blocks

TEXT = "head\n# EVOLVE-BLOCK-START\na\nb\n# EVOLVE-BLOCK-END\nmid\n/* EVOLVE-BLOCK-START */\n/* EVOLVE-BLOCK-END */tail"
LINES = st.text(st.characters(exclude_characters="\n"), max_size=8).filter(lambda line: "EVOLVE" not in line)
PARTS = st.lists(LINES, max_size=4)


def test_parts_outside() -> None:
    assert [TEXT[start:end] for start, end in block_spans(TEXT)] == ["a\nb\n", ""]
    assert outside_blocks(TEXT) == (
        "head\n# EVOLVE-BLOCK-START\n",
        "# EVOLVE-BLOCK-END\nmid\n/* EVOLVE-BLOCK-START */\n",
        "/* EVOLVE-BLOCK-END */tail",
    )
    assert outside_blocks("no marker") == ("no marker",)


def test_places() -> None:
    at = TEXT.index("\na\n") + 1
    assert in_blocks(TEXT, at, at + 1)
    assert not in_blocks(TEXT, 0, 1)
    assert not in_blocks(TEXT, 0, len(TEXT))
    assert not in_blocks("# EVOLVE-BLOCK-START\na\n", 21, 22)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("a\n# EVOLVE-BLOCK-START\nb\n", "line 2: EVOLVE-BLOCK-START without EVOLVE-BLOCK-END"),
        ("# EVOLVE-BLOCK-END", "line 1: EVOLVE-BLOCK-END without"),
        ("# EVOLVE-BLOCK-START\n# EVOLVE-BLOCK-START\n# EVOLVE-BLOCK-END", "line 2: EVOLVE-BLOCK-START within"),
        ("# EVOLVE-BLOCK-START EVOLVE-BLOCK-END", "line 1"),
    ],
)
def test_markers_that_are_no_pairs(text: str, reason: str) -> None:
    with pytest.raises(BlockError, match=reason):
        outside_blocks(text)
    with pytest.raises(BlockError):
        changed_outside({"a": text}, {"a": text + "x"})
    assert changed_outside({"a": TEXT}, {"a": text}) is not None


def test_a_block_may_not_be_split_or_joined() -> None:
    split = TEXT.replace("a\n", "a\n# EVOLVE-BLOCK-END\nsmuggled\n# EVOLVE-BLOCK-START\n")
    assert "has 3 blocks" in (changed_outside({"a": TEXT}, {"a": split}) or "")
    assert "has 0 blocks" in (changed_outside({"a": TEXT}, {"a": "head"}) or "")


def written(outside: list[list[str]], inside: list[list[str]]) -> str:
    lines = list(outside[0])
    for block, after in zip(inside, outside[1:], strict=True):
        lines += ["// EVOLVE-BLOCK-START", *block, "// EVOLVE-BLOCK-END", *after]
    return "\n".join(lines)


@given(st.data())
def test_only_the_text_of_blocks_may_change(data: st.DataObject) -> None:
    outside = data.draw(st.lists(PARTS, min_size=1, max_size=4))
    old, new = (data.draw(st.lists(PARTS, min_size=len(outside) - 1, max_size=len(outside) - 1)) for _ in "ab")
    seed = {"a": written(outside, old)}
    assert changed_outside(seed, {"a": written(outside, new)}) is None
    other = data.draw(st.lists(PARTS, min_size=len(outside), max_size=len(outside)))
    same = written(outside, old) == written(other, old)
    assert (changed_outside(seed, {"a": written(other, new)}) is None) == (same or other == outside)
