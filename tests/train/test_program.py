"""What of a source reaches a sandbox: its normal form, in which nothing but the syntax tree is left."""

from __future__ import annotations

import ast
import re

import pytest

from prepare.load import ROOT
from train.language_model.program import AmbiguousSource, carried_bytes, literals, names, normal_form, parse

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


def h(
    a,
    b=0x10,
):
    "in pieces" \\
    " and more"
    """a remark in the middle"""
    return f"{math.pi:.2f} # kept" + (
        a
        +    u"b"
    )
'''

EXPECTED = '''""""""
from __future__ import annotations
import math

class A:
    """"""
    x = ('# no comment either', '"""')

    def f(self):
        """"""
        return self.x

    def g(self):
        """"""

def h(a, b=16):
    """"""
    ''
    return f'{math.pi:.2f} # kept' + (a + 'b')
'''


def test_only_what_runs_is_left() -> None:
    assert normal_form(SOURCE).text == EXPECTED
    compile(EXPECTED, "train.py", "exec")


def test_white_space_line_breaks_and_spellings_carry_nothing() -> None:
    """A program can read its own file, and the columns of its own code: 12.3 KB went into a sandbox that way."""
    spelled = [
        "if x:\n    f(1, 'a')\ny = -16\n",
        "if x :\n \t f( 1,\n\x0c\n\n 'a' , ) ;\n  \t\ny=(-0x1_0)   \n\n\t",
        "if x: f(1, u'a')  # why\ny \\\n = - 16.",
    ]
    assert len({normal_form(text).text for text in spelled[:2]}) == 1
    assert normal_form(spelled[2].replace("16.", "16")).text == normal_form(spelled[0]).text


def test_a_traceback_names_the_line_of_the_source() -> None:
    source = '"""One\ntwo\nthree."""\n# four\n\nimport math\n\n\ndef f():\n' + (
        '    raise ValueError(  # ten\n        "here"\n    )\n'
    )
    form = normal_form(source)
    with pytest.raises(ValueError, match="here") as caught:
        exec(compile(form.text + "f()", "train.py", "exec"), {})
    line = caught.traceback[-1].lineno + 1
    assert line != 10
    log = f'  File "/candidate/train.py", line {line}, in f\n/tmp/x/candidate/train.py:{line}: UserWarning\n'
    said = form.in_source("train.py", f'{log}  File "/site/torch/train.py", line {line}\n')
    assert [int(number) for number in re.findall(r"(?:line |py:)([0-9]+)", said)] == [10, 10, line]


@pytest.mark.parametrize(
    "path",
    ["train/seeds/shakespeare.py", "train/seeds/gpt.py", "search/run/engine.py", "train/language_model/audit.py"],
)
def test_the_program_means_the_same(path: str) -> None:
    text = (ROOT / path).read_text()
    form = normal_form(text)
    one, other = parse(text), parse(form.text)
    assert names(one) == names(other)
    assert [type(node) for node in ast.walk(one)] == [type(node) for node in ast.walk(other)]
    assert all(line <= text.count("\n") for line in form.lines.values())
    assert normal_form(form.text).text == form.text


def test_an_encoding_that_is_declared_is_not_used() -> None:
    """In UTF-7 the second line is an assignment; for whoever checks the text it is a comment."""
    trick = "# -*- coding: utf-7 -*-\n# +AAo-hidden = 1\n"
    scope: dict[str, object] = {}
    exec(compile(trick.encode(), "train.py", "exec"), scope)
    assert scope["hidden"] == 1  # so the trick works where a file is taken as it is
    assert normal_form(trick).text.strip() == ""


def test_line_ends_of_other_systems() -> None:
    assert normal_form("x = 1\r\n# a\r\ny = 2\rz = 3 # b\r").text == "x = 1\ny = 2\nz = 3\n"
    assert normal_form("\ufeffx = 1\n").text == "x = 1\n"


@pytest.mark.parametrize("text", ["def (", "x = '\0'", "(" * 5000, "x = 1\n  y = 2\n"])
def test_what_cannot_be_read_is_said(text: str) -> None:
    with pytest.raises(AmbiguousSource, match="does not parse"):
        normal_form(text)


def test_what_is_too_deep_to_be_written_is_refused() -> None:
    with pytest.raises(AmbiguousSource, match="plainer way"):
        normal_form("x = " + "+".join(["y"] * 1500) + "\n")


def test_a_number_that_no_python_prints_is_refused() -> None:
    """Else whoever writes it down would fail on it."""
    assert normal_form(f"x = {1 << 4000:#x}\n")
    with pytest.raises(AmbiguousSource, match="more than 4,096 bits"):
        normal_form(f"x = {1 << 20_000:#x}\n")


def test_literals_come_in_the_order_of_the_source() -> None:
    tree = parse("x = [3, 'a', -4]\nf(b'c', 2.5, k=True)\ny = f'd{x}e{7!r}'\n")
    assert list(literals(tree)) == [3, "a", 4, b"c", 2.5, "d", "e", 7]


def test_what_is_carried_grows_with_what_is_new() -> None:
    one = carried_bytes(parse("x = 'all that is said'\n"))
    assert carried_bytes(parse("x = 'all that is said'\n" * 50)) < one + 30
    assert carried_bytes(parse("x = 'all that is said'\ny = 'and a little more of 12345678'\n")) > one + 20
