"""Gives every row the same answer."""

import numpy as np


def fit(x, y, seed):
    """Return nothing."""
    return {}


def predict(model, x):
    """Return ones."""
    return np.ones(len(x))
