"""A network with one hidden layer, trained by gradient descent."""

import numpy as np

WIDTH = 8  # tune: 2..64 log
RATE = 0.05  # tune: 0.001..1 log
STEPS = 200  # tune: 50..1000 log
DECAY = 0.0001  # tune: 0.000001..0.1 log


def fit(x, y, seed):
    """Return the weights."""
    rng = np.random.default_rng(seed)
    first = rng.normal(size=(x.shape[1], WIDTH)) / np.sqrt(x.shape[1])
    last = rng.normal(size=WIDTH) / np.sqrt(WIDTH)
    bias = np.zeros(WIDTH)
    for _ in range(STEPS):
        hidden = np.tanh(x @ first + bias)
        error = hidden @ last - y
        back = np.outer(error, last) * (1 - hidden**2)
        last = last - RATE * (hidden.T @ error / len(y) + DECAY * last)
        first = first - RATE * (x.T @ back / len(y) + DECAY * first)
        bias = bias - RATE * back.mean(axis=0)
    return {"first": first, "bias": bias, "last": last}


def predict(model, x):
    """Return the predictions."""
    return np.tanh(x @ model["first"] + model["bias"]) @ model["last"]
