"""Untrusted text can neither leave its quotation nor control a terminal."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from operators.sanitize import clean, escaped_characters, one_line, quote, restored, visible


@given(st.text(st.sampled_from("</data> \n\tDATA=x\x1b[]0;\x07\x9b\u202e\u200b"), max_size=60))
def test_no_text_ends_its_quotation_or_carries_controls(text: str) -> None:
    quoted = quote(text, "log", 40)
    assert quoted.lower().replace(" ", "").replace("\n", "").count("</data") == 1
    assert quoted.lower().count("<data") == 1
    assert quoted.endswith("\n</data>")
    assert not set(quoted) & set("\x1b\x07\x9b\u202e\u200b")
    assert "\n" not in one_line(text)


def test_escapes_vanish_whole() -> None:
    assert clean("a\x1b[31mb\x1b[0m\x1b]0;title\x07c\x1b]8;;http://x\x1b\\d\x9b1me") == "abcde"
    assert clean("10%\r20%\r\nend\x00\x08") == "10%\n20%\nend"
    assert clean("é ‹ 木 → \t\n") == "é ‹ 木 → \t\n"


def test_a_bracket_before_a_long_gap_is_read_at_once() -> None:
    """It took a quarter of an hour: each of the spaces could stand before a slash, or after one that is not there."""
    assert one_line("<" + " " * 400_000 + "data") == "‹ data"
    assert one_line("<" + " " * 400_000 + "x") == "< x"
    assert one_line("< / data <data </ data") == "‹ / data ‹data ‹/ data"


def test_long_text_is_cut_at_the_right_end() -> None:
    text = "start" + "x" * 100 + "end"
    assert quote(text, "log", 10).splitlines()[1:3] == ["[98 characters left out]", "xxxxxxxend"]
    assert quote(text, "source", 10, keep="head").splitlines()[1] == "startxxxxx"
    assert one_line("x" * 300, 50) == "x" * 47 + "..."


def test_a_program_is_shown_with_escapes_and_loses_nothing() -> None:
    text = 'S = "a\u200bb\u2028\x1b[2J"\nT = "</data>"\r\nU = "⟦\\u200b⟧"\n'
    assert visible(text) == ('S = "a⟦\\u200b⟧b⟦\\u2028⟧⟦\\x1b⟧[2J"\nT = "⟦\\x3c⟧/data>"\nU = "⟦\\u27e6⟧\\u200b⟧"\n')
    assert restored(visible(text), escaped_characters(text)) == text.replace("\r\n", "\n")
    assert quote(visible(text), "source") == f'<data kind="source">\n{visible(text)}</data>'
    assert restored("⟦\\u200b⟧", frozenset()) == "⟦\\u200b⟧", "no character of this program"
