"""A model that looks ahead at rare positions only, and at those where it pays most: what may it keep?

On the default task, with pair counts as the honest model and every falsified claim a certainty. The chance to stay
unseen is the product of (1 - chance) over the falsified positions, so nothing is left to luck here.
"""

from __future__ import annotations

import math

import numpy as np
import pytest

from prepare.language_model import LanguageModelTask
from prepare.load import ROOT, task_beside
from prepare.scoring import Floats
from train.language_model import audit
from train.language_model.ngram import ngram_log_probs

HIDDEN = 0.011 / 4  # a quarter of the smallest seed deviation that was measured, in bits per byte


@pytest.fixture(scope="module")
def task() -> LanguageModelTask:
    task = task_beside(ROOT / "train" / "seeds" / "shakespeare.py")
    if not task.corpus.is_prepared():
        pytest.skip("the plays are not there: python -m prepare")
    return task


@pytest.fixture(scope="module")
def reference(task: LanguageModelTask) -> Floats:
    return ngram_log_probs(task.corpus.documents(), task.evaluation_rows("val"))


@pytest.fixture(scope="module")
def honest(task: LanguageModelTask) -> Floats:
    """[N, T] log-probabilities of the evaluation targets by counts of byte pairs, in nats."""
    text = np.concatenate(task.corpus.documents()).astype(np.int64)
    pairs = np.bincount(256 * text[:-1] + text[1:], minlength=256 * 256).reshape(256, 256) + 0.1
    rows = task.evaluation_rows("val")
    found: Floats = np.log(pairs / pairs.sum(axis=1, keepdims=True))[rows[:, :-1], rows[:, 1:]]
    return found


def falsified(honest: Floats, every: int) -> tuple[Floats, np.ndarray, float]:
    """Claims with one position in ``every`` certain, the worst; which; and the gain in bits per byte."""
    worst = np.argsort(honest, axis=None)[: honest.size // every]
    claims = honest.copy()
    claims.ravel()[worst] = 0.0
    return claims, worst, float((claims - honest).mean()) / math.log(2)


def unseen(design: audit.SamplingDesign, places: np.ndarray) -> float:
    """The probability that none of these positions is drawn, at most (draws are negatively associated)."""
    return float(np.prod(1.0 - np.minimum(1.0, design.chances.ravel()[places])))


@pytest.mark.slow
@pytest.mark.parametrize("every", [5000, 1000, 200])
def test_what_a_screening_may_hide_is_inside_what_it_says(
    task: LanguageModelTask, honest: Floats, reference: Floats, every: int
) -> None:
    claims, worst, gain = falsified(honest, every)
    design = audit.sampling_design(audit.expect(claims, reference), task.audit_screen)
    assert unseen(design, worst) <= 0.05 or gain <= design.unseen
    assert unseen(design, worst) * gain < 0.001  # what such a cheat can expect to keep


@pytest.mark.parametrize("every", [5000, 1000, 200])
def test_a_leader_cannot_hide_it(task: LanguageModelTask, honest: Floats, reference: Floats, every: int) -> None:
    claims, worst, gain = falsified(honest, every)
    assert gain > HIDDEN  # even 13 positions of 65,536 would show in a ranking
    expected = audit.expect(claims, reference)
    assert unseen(audit.smallest_sampling_design(expected, HIDDEN, task.audit_screen, task.audit_claim), worst) < 1e-9


def test_uniform_chances_would_not_do(task: LanguageModelTask, honest: Floats) -> None:
    """The test can fail: with the same number of positions, drawn without regard to the claims."""
    _, worst, gain = falsified(honest, 5000)
    uniform = audit.SamplingDesign(1024, np.full(honest.shape, 1024 / honest.size), math.nan)
    assert gain > HIDDEN
    assert unseen(uniform, worst) > 0.5
