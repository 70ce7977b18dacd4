"""The metric's arithmetic: rows, log-probabilities, bits per byte."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from prepare.scoring import bits_per_byte, check_logits, evaluation_rows, target_log_probs

TEXT = np.random.default_rng(0).integers(0, 256, size=5000).astype(np.uint8)


def test_a_model_that_knows_nothing_needs_eight_bits_a_byte() -> None:
    rows = evaluation_rows(TEXT, 10, 16)
    log_probs = target_log_probs(lambda tokens: torch.full((*tokens.shape, 256), 3.7), rows, 256, "cpu")
    assert bits_per_byte(float(log_probs.mean())) == pytest.approx(8.0, abs=1e-6)


def test_a_model_that_knows_needs_none() -> None:
    rows = evaluation_rows(TEXT, 10, 16)
    answers = torch.from_numpy(rows[:, 1:].astype(np.int64))
    log_probs = target_log_probs(lambda tokens: 1000.0 * torch.nn.functional.one_hot(answers, 256), rows, 256, "cpu")
    assert bits_per_byte(float(log_probs.mean())) == 0.0


def test_log_probs_are_those_of_the_next_byte() -> None:
    rows = evaluation_rows(TEXT, 7, 12)
    table = torch.randn(256, 256)
    log_probs = target_log_probs(lambda tokens: table[tokens], rows, 256, "cpu")
    assert log_probs.shape == (7, 12)
    assert log_probs.dtype == np.float64
    assert (log_probs <= 0).all()
    for row, place in ((0, 0), (3, 5), (6, 11)):
        now, following = int(rows[row, place]), int(rows[row, place + 1])
        assert log_probs[row, place] == pytest.approx(float(table[now].log_softmax(-1)[following]), abs=1e-6)


def test_the_model_is_not_shown_the_last_target() -> None:
    seen: list[torch.Size] = []

    def model(tokens: torch.Tensor) -> torch.Tensor:
        seen.append(tokens.shape)
        return torch.zeros(*tokens.shape, 256)

    target_log_probs(model, evaluation_rows(TEXT, 4, 9), 256, "cpu")
    assert seen == [torch.Size([4, 9])]


def test_bits_are_nats_over_log_two() -> None:
    assert bits_per_byte(-math.log(2) * 3.5) == pytest.approx(3.5)


def test_rows_are_spread_over_the_whole_text_and_do_not_overlap() -> None:
    text = np.arange(1000, dtype=np.uint16)  # so that a value is its place
    rows = evaluation_rows(text, 20, 31)
    assert rows.shape == (20, 32)
    assert (rows[0, 0], rows[-1, -1]) == (0, 999)
    assert (np.diff(rows, axis=1) == 1).all()
    assert len(np.unique(rows)) == rows.size
    assert np.array_equal(rows, evaluation_rows(text, 20, 31))


def test_a_text_that_is_just_long_enough() -> None:
    rows = evaluation_rows(TEXT[:320], 10, 31)
    assert np.array_equal(rows.ravel(), TEXT[:320])
    with pytest.raises(ValueError, match=r"319 bytes; 10 rows of 32 need 320.*lower task.rows or task.context"):
        evaluation_rows(TEXT[:319], 10, 31)


@pytest.mark.parametrize(
    ("logits", "message"),
    [
        (None, "returned NoneType; expected a tensor"),
        (torch.zeros(2, 3, 5), r"shape \(2, 3, 5\) for tokens \[2, 4\]; expected \[2, 4, 5\]"),
        (torch.zeros(2, 4), r"shape \(2, 4\)"),
        (torch.zeros(2, 4, 5, dtype=torch.int64), "torch.int64; expected floating-point"),
    ],
)
def test_what_is_not_logits_is_told_apart(logits: object, message: str) -> None:
    with pytest.raises((TypeError, ValueError), match=message):
        check_logits(logits, 2, 4, 5)
