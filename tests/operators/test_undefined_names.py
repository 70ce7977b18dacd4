"""Names that are used and not defined: reported for repair, and only where it is certain."""

from __future__ import annotations

from pathlib import Path

import pytest
from garden import Garden
from scripts import edit, metered

from archive.records import Candidate
from operators.base import NoCandidate
from operators.languages.undefined_names import undefined_names
from operators.rewrite.improve import Improve

HOUSE = Path(__file__).resolve().parents[2]
SOURCE = "RATE = 0.001\n\n\ndef train(session):\n    rows = session.start()\n    return fit(rows, RATE)\n"


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("x = y\n", {"y"}),
        ("def f(a, *b, c=1, **d):\n    return a, b, c, d, e\n", {"e"}),
        ("def f():\n    return later\n\n\nlater = 1\n", set()),
        ("import os.path as p, sys\nfrom a import b as c\nprint(p, sys, c, b)\n", {"b"}),
        ("for i in range(3):\n    with open(i) as f:\n        [j for j in f if (k := j)]\nprint(i, f, k)\n", set()),
        ("try:\n    pass\nexcept OSError as error:\n    print(error, __file__)\n", set()),
        ("match 1:\n    case [*rest] | {'a': rest} | rest:\n        print(rest)\n", set()),
        ("from a import *\nx = y\n", set()),
        ("globals()['y'] = 1\nx = y\n", set()),
        ("from __future__ import annotations\n\n\ndef f(a: A) -> B:\n    b: C = a\n    return D\n", {"D"}),
        ("def f(a: A) -> B:\n    return a\n", {"A", "B"}),
        ("class A:\n    def f(self):\n        return __class__, super(), A\n", set()),
        ("from __future__ import division, annotations\n\n\ndef f(a: A):\n    return a\n", set()),
        ("def f(a):\n    b: B = a\n    a.b: B\n    return b\n\n\nc: C = f(1)\n", {"C"}),
        ("class A:\n    name = __module__ + __qualname__\n\n    def f(self):\n        return __hidden\n", set()),
        ("import sys\n\nsetattr(sys.modules[__name__], 'y', 1)\nx = y\n", set()),
        ("import builtins\n\nbuiltins.y = 1\nx = y\n", set()),
        ("def f[T, *U, **V](a: T, *b: *U) -> V:\n    return a\n", set()),
        ("def f():\n    global y\n    y = 1\n\n    def g():\n        nonlocal z\n        z = 2\n\n    z = y\n", set()),
        ("if f():\n    import numpy as np\nelse:\n    del np\nprint(np)\n", {"f"}),
        (
            "print(f'{a!r:>{b}}', lambda c, *, d=e: c + d, [g for g in h], {i: j for i, j in k})\n",
            {"a", "b", "e", "h", "k"},
        ),
        ("match x:\n    case Point(x=0, y=str() as y) if y > z:\n        pass\n", {"x", "Point", "z"}),
        ("this does not parse\n", set()),
    ],
)
def test_only_what_is_certain(text: str, names: set[str]) -> None:
    assert set(undefined_names({"train.py": text, "notes.md": "x = y"})) == names


def test_programs_that_run_have_none() -> None:
    programs = [*(HOUSE / "train" / "seeds").glob("*.py"), *(HOUSE / "tests" / "attacks" / "honest").glob("*.py")]
    assert len(programs) > 10
    assert {path.name: found for path in programs if (found := undefined_names({"train.py": path.read_text()}))} == {}


def test_a_line_that_others_need_is_missed_while_it_can_be_mended(garden: Garden) -> None:
    root = garden.plant(SOURCE, 3.0)
    gone = edit("    rows = session.start()", "    data = session.start()")
    meter, model = metered([gone, edit("    rows = session.start()", "    rows = session.start()[1:]")])
    assert isinstance(garden.ask(Improve(meter), root.node_id), Candidate), "that `fit` is missing is the parent's"
    assert "`rows` is used and nowhere defined" in model.prompts[1].messages[-1].text
    refused = garden.ask(Improve(metered([gone, gone])[0]), root.node_id)
    assert isinstance(refused, NoCandidate)
    assert "`rows` is used and nowhere defined" in refused.reason
