"""Identity of programs by their normalised syntax trees."""

from __future__ import annotations

import pytest

from operators.languages.fingerprint import fingerprint

PROGRAM = '''\
"""Train."""
import torch
SEED = 1
RATE = 1e-3

def train(session):
    """Fit."""
    torch.manual_seed(SEED)
    model = build(width=[1, 2])
    return model
'''


def same(changed: str) -> bool:
    assert changed != PROGRAM
    return fingerprint({"train.py": changed}) == fingerprint({"train.py": PROGRAM})


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("1e-3", "0.001  # slow"),
        ('"""Train."""\n', "# no docstring\n\n"),
        ('    """Fit."""\n', ""),
        ("build(width=[1, 2])", "build(\n        width=[1,2],\n    )"),
        ("SEED = 1", "SEED = 2"),
        ("manual_seed(SEED)", "manual_seed(session.seed + 7)"),
    ],
)
def test_what_does_not_count(old: str, new: str) -> None:
    assert same(PROGRAM.replace(old, new))


@pytest.mark.parametrize(
    ("old", "new"),
    [("1e-3", "2e-3"), ("[1, 2]", "[12]"), ("[1, 2]", "(1, 2)"), ("width", "depth"), ("torch.manual_seed", "print"),
     ("return model", "return [model]"), ("1e-3", "True"), ("RATE", "RATES")],
)  # fmt: skip
def test_what_counts(old: str, new: str) -> None:
    assert not same(PROGRAM.replace(old, new))


def test_lists_and_their_ends_are_told_apart() -> None:
    assert fingerprint({"a.py": "f([1], [2])"}) != fingerprint({"a.py": "f([1, [2]])"})
    assert fingerprint({"a.py": "x = [], [1]"}) != fingerprint({"a.py": "x = [1], []"})


def test_files_count_by_path_and_text() -> None:
    assert fingerprint({"a.py": "x", "b.py": "y"}) != fingerprint({"a.py": "y", "b.py": "x"})
    assert fingerprint({"a.txt": "x  "}) != fingerprint({"a.txt": "x"})
    assert fingerprint({"a.py": "x = = 1"}) != fingerprint({"a.py": "x = = 2"})
    deep = "x = " + "-" * 3000 + "1"
    assert fingerprint({"a.py": deep}) == fingerprint({"a.py": deep})
