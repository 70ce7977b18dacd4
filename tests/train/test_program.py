"""What of a source reaches a sandbox: the program without its comments and docstrings, on the same lines."""

from __future__ import annotations

import ast

import pytest

from prepare.load import ROOT
from train.language_model.program import AmbiguousSource, carried_bytes, literals, names, parse, without_comments

SOURCE = '''"""A docstring
of two lines."""
from __future__ import annotations  # this one stays where it may stand

import math  # a comment


class A:
    """é, and a # that is no comment."""

    x = "# no comment either", '"""'  # but this is

    def f(self): "a docstring on the line"; return self.x

    def g(self):
        """Only this."""


def h():
    "in pieces" \\
    " and more"
    """a remark in the middle"""
    return f"{math.pi:.2f} # kept"
'''

EXPECTED = '''(""
)
from __future__ import annotations

import math


class A:
    ("")

    x = "# no comment either", '"""'

    def f(self): (""); return self.x

    def g(self):
        ("")


def h():
    (""
)
    ("")
    return f"{math.pi:.2f} # kept"
'''


def test_only_what_runs_is_left_and_every_line_stays_where_it_was() -> None:
    assert without_comments(SOURCE) == EXPECTED
    compile(EXPECTED, "train.py", "exec")


def test_a_traceback_names_the_same_line() -> None:
    source = '"""One\ntwo\nthree."""\n# four\n\nraise ValueError("here")  # six\n'
    with pytest.raises(ValueError, match="here") as caught:
        exec(compile(without_comments(source), "train.py", "exec"), {})
    assert caught.traceback[-1].lineno + 1 == 6


@pytest.mark.parametrize(
    "path", ["train/seeds/shakespeare.py", "search/run/engine.py", "train/language_model/audit.py"]
)
def test_the_program_means_the_same(path: str) -> None:
    text = (ROOT / path).read_text()
    left = without_comments(text)
    assert left.count("\n") == text.count("\n")
    one, other = parse(text), parse(left)
    assert names(one) == names(other)
    assert [type(node) for node in ast.walk(one)] == [type(node) for node in ast.walk(other)]


def test_an_encoding_that_is_declared_is_not_used() -> None:
    """In UTF-7 the second line is an assignment; for whoever checks the text it is a comment."""
    trick = "# -*- coding: utf-7 -*-\n# +AAo-hidden = 1\n"
    scope: dict[str, object] = {}
    exec(compile(trick.encode(), "train.py", "exec"), scope)
    assert scope["hidden"] == 1  # so the trick works where a file is taken as it is
    assert without_comments(trick).strip() == ""


def test_line_ends_of_other_systems() -> None:
    assert without_comments("x = 1\r\n# a\r\ny = 2\rz = 3 # b\r") == "x = 1\n\ny = 2\nz = 3\n"
    assert without_comments("\ufeffx = 1\n") == "x = 1\n"


@pytest.mark.parametrize("text", ["def (", "x = '\0'", "(" * 5000, "x = 1\n  y = 2\n"])
def test_what_cannot_be_read_is_said(text: str) -> None:
    with pytest.raises(AmbiguousSource, match="does not parse"):
        without_comments(text)


def test_a_number_that_no_python_prints_is_refused() -> None:
    """Else whoever writes it down (the comparison of syntax trees does) would fail on it."""
    assert without_comments(f"x = {1 << 4000:#x}\n")
    with pytest.raises(AmbiguousSource, match="more than 4,096 bits"):
        without_comments(f"x = {1 << 20_000:#x}\n")


def test_a_page_break_and_odd_white_space_move_nothing() -> None:
    text = 'x = 1\n\x0c\n"""a\u2028b"""\ny = "\u2028" # c\n'
    assert without_comments(text) == 'x = 1\n\x0c\n("")\ny = "\u2028"\n'


def test_literals_come_in_the_order_of_the_source() -> None:
    tree = parse("x = [3, 'a', -4]\nf(b'c', 2.5, k=True)\ny = f'd{x}e{7!r}'\n")
    assert list(literals(tree)) == [3, "a", 4, b"c", 2.5, "d", "e", 7]


def test_what_is_carried_grows_with_what_is_new() -> None:
    one = carried_bytes(parse("x = 'all that is said'\n"))
    assert carried_bytes(parse("x = 'all that is said'\n" * 50)) < one + 30
    assert carried_bytes(parse("x = 'all that is said'\ny = 'and a little more of 12345678'\n")) > one + 20
