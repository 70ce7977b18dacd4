"""The scripted edits of the gallery benchmark: each can be made once, in order, of what the seed has become."""

from __future__ import annotations

import ast
import sys
from pathlib import Path

import pytest
from gallery import NAMES, task_of

sys.path.append(str(Path(__file__).resolve().parents[1] / "benchmarks"))
from gallery_edits import EDITS, replaced, with_edit

TWELVE = [name for name in NAMES if task_of(name).llm is None]


def test_every_task_has_edits() -> None:
    assert set(EDITS) == set(TWELVE)


@pytest.mark.parametrize("name", TWELVE)
def test_each_edit_is_made_once(name: str) -> None:
    ((path, text),) = task_of(name).seed_files().items()
    for idea, edit in EDITS[name]:
        before, text = text, with_edit(path, text, edit)
        assert text != before, f"{idea}: nothing changes"
        assert with_edit(path, text, edit) == text, f"{idea}: it would be made again"
        if path.endswith(".py"):
            ast.parse(text)


def test_constants_that_are_there_keep_their_values() -> None:
    text = '"""Doc."""\n\nimport numpy as np\n\nA = 7  # tune: 1..9\n\n\ndef f():\n    return A\n'
    new = "import math\n\nA = 1  # tune: 1..9\nB = 2  # tune: 1..9\n\ndef f():\n    return A + B\n\ndef g(): ...\n"
    made = replaced(text, new)
    values: dict[str, object] = {}
    exec(made, values)
    assert (values["A"], values["B"], values["f"]()) == (7, 2, 9)  # type: ignore[operator]
    assert "B = 2  # tune: 1..9" in made
    assert replaced(made, new) == made
