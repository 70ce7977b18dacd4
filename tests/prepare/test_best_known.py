"""How a score compares with the best known value."""

from __future__ import annotations

import pytest

from prepare.best_known import BestKnown

KNOWN = BestKnown(2.635983, "Somebody, 2025", 1e-6)


@pytest.mark.parametrize(
    ("score", "maximise", "exact", "words"),
    [
        (2.635983, True, True, "equals THIS, verified exactly (no difference)"),
        (2.6359835, True, True, "equals THIS, verified exactly (difference +5e-07, tolerance 1e-06)"),
        (2.636, True, True, "beats THIS by 1.7e-05, verified exactly"),
        (2.636, True, False, "is not short of THIS; no record, since the score is not verified exactly"),
        (2.636, False, True, "is short of THIS by 1.7e-05"),
        (2.6, True, True, "is short of THIS by 0.03598"),
        (2.6, False, True, "beats THIS by 0.03598, verified exactly"),
    ],
)
def test_a_score_beats_equals_or_is_short(score: float, maximise: bool, exact: bool, words: str) -> None:
    this = "the best known 2.635983 (Somebody, 2025)"
    assert KNOWN.compared(score, maximise, exact) == words.replace("THIS", this)


@pytest.mark.parametrize(
    ("value", "source", "tolerance"),
    [(float("nan"), "x", 0), (1.0, " ", 0), (1.0, "x", -1e-9), (1.0, "x", float("inf"))],
)
def test_unusable_values_are_refused(value: float, source: str, tolerance: float) -> None:
    with pytest.raises(ValueError, match=r"task\.known"):
        BestKnown(value, source, tolerance)
