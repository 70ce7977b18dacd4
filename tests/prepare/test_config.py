"""Typed configuration: what a dataclass is made of, and what is said of values that it cannot be made of."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import pytest

from prepare.config import Part, did_you_mean, typed
from prepare.known import TaskError


@dataclass(frozen=True)
class Inner:
    seconds: float = 1.0


@dataclass(frozen=True)
class Outer:
    name: str
    count: int = 1
    rate: float | None = None
    bound: float = -math.inf
    kind: Literal["a", "b"] = "a"
    flag: bool = False
    inner: Inner = field(default_factory=Inner)
    options: Mapping[str, Any] = field(default_factory=dict)
    roots: tuple[str, ...] = ()
    anything: Any = None


def test_values_arrive() -> None:
    given = {"name": "x", "count": 1e6, "rate": 3, "inner": {"seconds": 2}, "options": {"a": [1]}, "roots": ["b"]}
    made = typed(Outer, given, "o")
    assert made == Outer("x", 1_000_000, 3, inner=Inner(2), options={"a": [1]}, roots=["b"])  # type: ignore[arg-type]
    assert isinstance(made.count, int)
    assert typed(Outer, {"name": "x", "bound": math.inf, "rate": None}, "o").bound == math.inf


@pytest.mark.parametrize(
    ("values", "words"),
    [
        (3, "o is 3; expected name, count, rate"),
        ({}, "o.name is missing; expected a text"),
        ({"name": 3}, "o.name is 3; expected a text"),
        ({"count": True}, "o.count is True; expected a whole number"),
        ({"count": 1.5}, "o.count is 1.5; expected a whole number"),
        ({"count": None}, "o.count is None; expected a whole number"),
        ({"rate": "high"}, "o.rate is 'high'; expected a number, or null"),
        ({"rate": math.nan}, "o.rate is nan; expected a finite number"),
        ({"rate": math.inf}, "o.rate is inf; expected a finite number"),
        ({"bound": math.nan}, "o.bound is nan; expected a finite number"),
        ({"kind": "c"}, "o.kind is 'c'; expected 'a' or 'b'"),
        ({"flag": "yes"}, "o.flag is 'yes'; expected true or false"),
        ({"inner": {"second": 1}}, r"o.inner has no 'second' \(did you mean seconds\?\); expected seconds"),
        ({"inner": {"seconds": "1"}}, "o.inner.seconds is '1'; expected a number"),
        ({"options": 3}, "o.options is 3; expected a mapping"),
        ({"roots": "/srv"}, "o.roots is '/srv'; expected a list"),
        ({"nmae": "x"}, r"o has no 'nmae' \(did you mean name\?\)"),
    ],
)
def test_the_key_the_value_and_what_was_expected_are_named(values: Any, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        typed(Outer, {"name": "x", **values} if isinstance(values, dict) and values else values, "o")


def test_a_key_itself_is_never_proposed() -> None:
    assert did_you_mean("seed", ["seed", "seeds"]) == " (did you mean seeds?)"
    assert did_you_mean("seed", ["seed"]) == ""


def test_a_part_keeps_the_options_of_its_class() -> None:
    values = {"_target_": "pathlib.PurePosixPath", "own": 1}
    part = Part.of(values, "evaluator")
    assert part == Part("pathlib.PurePosixPath", {"own": 1})
    assert part.plain == values
    assert str(Part("pathlib.PurePosixPath", {}).make("a", "b")) == "a/b"
    with pytest.raises(ValueError, match=r"evaluator names no class; expected evaluator\._target_="):
        Part.of({"own": 1}, "evaluator")
    with pytest.raises(TaskError, match="cannot be imported"):
        Part("nowhere.Class", {}).make()
