"""The tabular task: the true probabilities reach what is possible, and the planted leaky column does not pay."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from gallery import TASKS, cheats_of, judged, mean, module_of, seed_of, task_of

from prepare.scorer import Invalid
from train.program.scorer_main import generator_of


def of(module: Any) -> dict[str, Callable[..., Any]]:
    return {"fit": module.fit, "predict": module.predict}


def test_the_seed_is_above_chance_and_below_what_is_possible() -> None:
    scores = judged("tabular", of(seed_of("tabular")))
    assert 0.7 < mean(scores) < 0.82
    assert all(0.86 < each.metrics["best_possible"] < 0.9 for each in scores)


def test_the_true_probabilities_equal_the_known_value() -> None:
    scorer, known = module_of(TASKS / "tabular" / "score.py"), task_of("tabular").known
    assert known is not None
    cases = scorer.cases("val", generator_of("val"))
    chances = {case["x"][scorer.TRAIN :].tobytes(): case["chance"][scorer.TRAIN :] for case in cases}
    oracle = {"fit": lambda x, y, seed: {}, "predict": lambda model, x: chances[x.tobytes()]}
    assert known.standing(mean(judged("tabular", oracle)), maximise=True) == "equals"


def test_the_leaky_column_does_not_pay() -> None:
    module = seed_of("tabular")
    without = mean(judged("tabular", of(module)))
    module.TOO_GOOD = 1.0  # keeps it
    assert mean(judged("tabular", of(module))) < without - 0.1
    leak = module_of(TASKS / "tabular" / "cheats" / "uses_the_leak.py")
    assert abs(mean(judged("tabular", of(leak))) - 0.5) < 0.05


def test_the_leaky_column_knows_the_training_labels_alone() -> None:
    scorer = module_of(TASKS / "tabular" / "score.py")
    cases = list(scorer.cases("val", np.random.default_rng(1)))
    assert cases
    for case in cases:
        leak, train = case["x"][:, case["leak"]], scorer.TRAIN
        assert scorer.area(leak[:train], case["y"][:train]) > 0.95
        assert abs(scorer.area(leak[train:], case["y"][train:]) - 0.5) < 0.05


@pytest.mark.parametrize("path", cheats_of("tabular"), ids=lambda path: path.stem)
def test_its_cheats_are_worse_than_the_seed(path: Any, tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert mean(judged("tabular", of(module_of(path)))) < 0.6


def test_the_area_counts_pairs() -> None:
    area = module_of(TASKS / "tabular" / "score.py").area
    assert area(np.array([1.0, 2.0, 3.0]), np.array([0, 0, 1])) == 1.0
    assert area(np.array([3.0, 2.0, 1.0]), np.array([0, 0, 1])) == 0.0
    assert area(np.array([1.0, 1.0, 0.0]), np.array([0, 1, 1])) == 0.25


@pytest.mark.parametrize(
    "made",
    [None, 0.5, [0.5] * 2000, np.ones(1999), np.ones((2000, 1)), np.ones(2000, dtype=int), np.full(2000, np.nan),
     np.full(2000, np.inf), np.ones(2000, dtype=bool)],
)  # fmt: skip
def test_what_is_no_prediction_has_no_score(made: Any) -> None:
    with pytest.raises(Invalid):
        judged("tabular", {"fit": lambda x, y, seed: {}, "predict": lambda model, x: made})
