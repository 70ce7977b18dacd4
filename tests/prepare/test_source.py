"""Decoding of source: what is accepted means the same as text and as a file that Python runs."""

from __future__ import annotations

import runpy
from pathlib import Path

import pytest

from prepare.source import SourceError, decode, foreign_encoding, normalised

UNICODE = "X = 'é\u2028µ\u200b'\n"


@pytest.mark.parametrize(
    "data",
    [
        UNICODE.encode(),
        UNICODE.encode("utf-8-sig"),
        b"# -*- coding: utf-8 -*-\n" + UNICODE.encode(),
        b"\xef\xbb\xbf# vim: set fileencoding=UTF-8 :\n" + UNICODE.encode(),
        b"#!/usr/bin/env python\r\n# coding=utf8\r\n" + UNICODE.encode(),
        b"Y = 1\n\n# coding: latin-1\n" + UNICODE.encode(),
        b"Y = 1 # coding: latin-1 is no declaration here\n" + UNICODE.encode(),
        b"# \xe2\x80\xa8 coding\n" + UNICODE.encode(),
    ],
)
def test_what_is_accepted_means_the_same_to_python(tmp_path: Path, data: bytes) -> None:
    text = decode(data)
    assert not text.startswith("\ufeff")
    assert "\r" not in text
    (tmp_path / "read.py").write_bytes(data)
    (tmp_path / "exported.py").write_bytes(text.encode())
    in_search: dict[str, object] = {}
    exec(compile(text, "train.py", "exec"), in_search)  # as ast.parse in the search: from text
    for name in ("read.py", "exported.py"):
        assert runpy.run_path(str(tmp_path / name))["X"] == in_search["X"] == UNICODE[5:-2]


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"# -*- coding: latin-1 -*-\nX = 1\n", "declares the encoding iso-8859-1; expected UTF-8"),
        ("# coding: latin-1\nX = 'é'\n".encode(), "declares the encoding iso-8859-1"),
        (b"#!/usr/bin/python\n# coding: cp1252\nX = 1\n", "declares the encoding cp1252"),
        (b"# coding: latin-1\r\nX = 1\r\n", "declares the encoding iso-8859-1"),
        (b"# coding: latin-1\rX = 1\r", "declares the encoding iso-8859-1"),
        (b"\n# coding: utf-7\n", "declares the encoding utf-7"),
        (b"\xef\xbb\xbf# coding: latin-1\nX = 1\n", "declares the encoding iso-8859-1"),
        (b"# coding: klingon\nX = 1\n", "that Python does not have"),
        ("X = 'é'\n".encode("latin-1"), "is not UTF-8 text"),
        ("X = 1\n".encode("utf-16"), "is not UTF-8 text"),
    ],
)
def test_another_encoding_is_refused_with_the_reason(data: bytes, reason: str) -> None:
    with pytest.raises(SourceError, match=reason):
        decode(data)


def test_text_of_a_model_is_looked_at_in_the_same_way() -> None:
    assert normalised("\ufeffX = 1\n") == "X = 1\n"
    assert foreign_encoding("X = 1\n# coding: latin-1\n") is None
    assert foreign_encoding("# \ud800\n# coding: latin-1\n") is not None
