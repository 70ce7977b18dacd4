"""Judges a classifier by the area under its ROC curve on rows whose labels stay here.

One column of the training rows was filled in after the outcome was known. In the rows to predict it says nothing.
"""

import numpy as np

import prepare

TRAIN, TEST, COLUMNS, DATA_SETS = 500, 2000, 12, 3
LEAK_NOISE = 0.3


def cases(split, rng):
    """Yield data sets: other ones for val (steers), select and holdout (read by claims only)."""
    for number in range(DATA_SETS):
        x = rng.normal(size=(TRAIN + TEST, COLUMNS))
        chance = probability(x)
        y = (rng.random(len(x)) < chance).astype(np.float64)
        order = rng.permutation(COLUMNS + 1)
        known = np.concatenate([y[:TRAIN], rng.permutation(y[TRAIN:])])
        leak = known + LEAK_NOISE * rng.normal(size=len(x))
        table = np.column_stack([x, leak])[:, order]
        yield {
            "name": f"{split}-{number}",
            "x": table,
            "y": y,
            "chance": chance,
            "leak": int(np.argmax(order == COLUMNS)),
        }


def probability(x):
    """Return the probability of the label 1: linear terms, a product, a wave, a threshold; six columns are noise."""
    logit = 1.2 * x[:, 0] - 0.8 * x[:, 1] + 1.2 * x[:, 2] * x[:, 3] + 1.5 * np.sin(2 * x[:, 4]) + 2.0 * (x[:, 5] > 0.5)
    return 1 / (1 + np.exp(-(logit - 0.6)))


def area(scores, labels):
    """Return the area under the ROC curve: the share of pairs in the right order, ties counting half (Mann-Whitney)."""
    _, inverse, counts = np.unique(scores, return_inverse=True, return_counts=True)
    ranks = (np.cumsum(counts) - (counts - 1) / 2)[inverse]
    positive = labels == 1
    ones, zeros = int(positive.sum()), int((~positive).sum())
    return float((ranks[positive].sum() - ones * (ones + 1) / 2) / (ones * zeros))


def score(candidate, case):
    """Return the area on the test rows. The rows to predict arrive when the model is complete."""
    x, y = case.data["x"], case.data["y"]
    model = candidate.call("fit", x[:TRAIN], y[:TRAIN], case.seed % 2**32)
    candidate.restart()
    predicted = candidate.call("predict", model, x[TRAIN:])
    if not isinstance(predicted, np.ndarray) or predicted.shape != (TEST,) or predicted.dtype.kind != "f":
        raise prepare.Invalid(f"predict has to return {TEST} floats as an array; got {predicted!r:.200}")
    if not np.isfinite(predicted).all():
        raise prepare.Invalid("a prediction is not a finite number")
    found = area(predicted.astype(np.float64), y[TRAIN:])
    best = area(case.data["chance"][TRAIN:], y[TRAIN:])
    return prepare.Score(found, {"best_possible": best}, f"area {found:.4f}; the true probabilities have {best:.4f}")
