"""The numeric proposer as a service: the same settings through plain values, and no module of ours beside it."""

from __future__ import annotations

import ast
import json
from itertools import islice
from pathlib import Path

import numpy as np
import pytest

from operators.numeric import proposer
from operators.numeric.proposer.proposals import settings
from operators.numeric.proposer.ranges import ParameterRange
from operators.numeric.proposer.service import ask, packed, unpacked
from operators.numeric.proposer.trials import Key, KnownPrograms, Observation, Space, Values

A, B, C, GONE = (("train.py", name) for name in ("A", "B", "C", "GONE"))
SPACE: Space = {
    A: ParameterRange(1e-4, 1e-1, "log"),
    B: ParameterRange(0, 1, choices=(False, True), unordered=True),
    C: ParameterRange(8, 64, "log", integer=True, step=8),
}


def known(count: int, seed: int = 0) -> KnownPrograms:
    rng = np.random.default_rng(seed)
    found = []
    for number in range(count):
        values: dict[Key, int | float | bool] = {A: float(10 ** rng.uniform(-4, -1)), B: bool(rng.integers(2)), C: 16}
        if number % 4 == 3:
            del values[B]
        score = None if number % 5 == 4 else float(rng.normal())
        found.append(Observation(values, score, 2, "failed" if score is None else "scored", number % 3 > 0))
    start: Values = {A: 0.01, B: True, C: 16, GONE: 7}
    return KnownPrograms(start, SPACE, found, 3, "maximise")


@pytest.mark.parametrize("count", [0, 5, 30])
def test_a_service_proposes_what_the_operator_would(count: int) -> None:
    """Through JSON; parameters that cannot change leave the message, so all programs are compared by the rest."""
    here = known(count)
    plain = unpacked(packed(here))
    wanted = list(islice(settings(plain, np.random.default_rng(5)), 6))
    answers = ask(json.loads(json.dumps(packed(here))), 5, 6)
    assert answers == [[values.get(key, plain.start[key]) for key in plain.space] for values in wanted]
    for answer in answers:
        assert all(value in span for value, span in zip(answer, SPACE.values(), strict=True))


def test_unpacked_is_what_was_packed_but_for_the_names() -> None:
    there = unpacked(packed(known(9)))
    assert list(there.space.values()) == list(SPACE.values())
    assert [(one.score, one.runs, one.state, one.same_code) for one in there.observations] == [
        (one.score, one.runs, one.state, one.same_code) for one in known(9).observations
    ]
    assert [len(one.values) for one in there.observations] == [len(one.values) for one in known(9).observations]


def test_it_imports_nothing_that_a_sandbox_lacks() -> None:
    paths = sorted(Path(proposer.__path__[0]).glob("*.py"))
    assert len(paths) > 1
    for path in paths:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom) and node.level == 0:
                assert (node.module or "").split(".")[0] in {
                    "__future__", "collections", "dataclasses", "functools", "itertools", "typing", "numpy", "scipy",
                }, path  # fmt: skip
