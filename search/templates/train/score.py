"""Judges a training program by its predictions for inputs whose targets stay here."""

import numpy as np

import prepare

TRAIN, TEST = 200, 400


def cases(split, rng):
    """Yield two data sets: other ones for val (steers), select and holdout (read by claims only)."""
    for number in range(2):
        x = rng.normal(size=(TRAIN + TEST, 4))
        clean = np.sin(2 * x[:, 0]) + x[:, 1] * x[:, 2] + 0.5 * np.abs(x[:, 3])
        yield {"name": f"{split}-{number}", "x": x, "y": clean + 0.1 * rng.normal(size=len(x))}


def score(candidate, case):
    """Return the mean squared error on the test rows. The rows to predict arrive when the model is complete."""
    x, y = case.data["x"], case.data["y"]
    model = candidate.call("fit", x[:TRAIN], y[:TRAIN], case.seed % 2**32)
    candidate.restart()
    predicted = candidate.call("predict", model, x[TRAIN:])
    if not isinstance(predicted, np.ndarray) or predicted.shape != (TEST,) or predicted.dtype.kind != "f":
        raise prepare.Invalid(f"predict has to return {TEST} floats as an array; got {predicted!r:.200}")
    if not np.isfinite(predicted).all():
        raise prepare.Invalid("a prediction is not a finite number")
    return prepare.Score(float(np.mean((predicted.astype(np.float64) - y[TRAIN:]) ** 2)))
