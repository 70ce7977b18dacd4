"""Copies and near-copies are told by their letters and digits."""

from __future__ import annotations

from prepare.data.copies import is_near_copy, line_hashes, text_digest

TEXT = b"".join(b"def function_number_%d(value):\n    return value * %d + another_value\n" % (i, i) for i in range(20))


def test_layout_does_not_matter_and_words_do() -> None:
    assert text_digest(TEXT) == text_digest(TEXT.replace(b"    ", b"\t").upper().replace(b"\n", b"\r\n"))
    assert text_digest(TEXT) != text_digest(TEXT.replace(b"another", b"anothar", 1))


def test_a_file_with_a_few_changed_lines_is_a_near_copy() -> None:
    known = line_hashes(TEXT)
    assert is_near_copy(line_hashes(TEXT.replace(b"value * 1", b"something_else * 1")), known)
    assert not is_near_copy(line_hashes(TEXT.replace(b"value", b"something")), known)


def test_short_lines_say_nothing() -> None:
    assert line_hashes(b"import os\nx = 1\n}\n") == set()
    assert not is_near_copy(set(), line_hashes(TEXT))
