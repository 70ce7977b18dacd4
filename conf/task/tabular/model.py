"""Logistic regression, without columns that are too good to be true."""

import numpy as np

STEPS = 100  # tune: 20..500 log
RATE = 0.3  # tune: 0.01..3 log
DECAY = 0.01  # tune: 0.0001..1 log
TOO_GOOD = 0.8  # tune: 0.2..1


def fit(x, y, seed):
    """Return weights for standardised columns; columns that correlate with the label above TOO_GOOD get none."""
    centre, scale = x.mean(axis=0), x.std(axis=0) + 1e-9
    z = (x - centre) / scale
    kept = np.abs(z.T @ (y - y.mean()) / (len(y) * y.std())) < TOO_GOOD
    weights, bias = np.zeros(x.shape[1]), 0.0
    for _ in range(STEPS):
        error = 1 / (1 + np.exp(-(z @ weights + bias))) - y
        weights = weights - RATE * (kept * (z.T @ error) / len(y) + DECAY * weights)
        bias = bias - RATE * error.mean()
    return {"centre": centre, "scale": scale, "weights": weights, "bias": bias}


def predict(model, x):
    """Return a number for each row: larger where the label 1 is likelier."""
    return (x - model["centre"]) / model["scale"] @ model["weights"] + model["bias"]
