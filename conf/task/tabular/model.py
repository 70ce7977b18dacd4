"""Logistic regression on columns and functions of them, chosen one by one, without columns too good to be true.

At first there are no functions, and every column is chosen.
"""

import numpy as np

PRODUCTS = 0  # tune: 0|1
WAVES = 0  # tune: 0..3
FREQUENCY = 1.0  # tune: 0.3..3 log
CUTS = 0  # tune: 0..6
TERMS = 13  # tune: 3..40 log step 1
STEPS = 100  # tune: 20..300 log step 1
RATE = 0.3  # tune: 0.01..3 log
DECAY = 0.01  # tune: 0.0001..1 log
TOO_GOOD = 0.8  # tune: 0.2..1


def fit(x, y, seed):
    """Return weights for TERMS inputs; columns that correlate with the label above TOO_GOOD are zero in all of them."""
    centre, scale = x.mean(axis=0), x.std(axis=0) + 1e-9
    scale[np.abs((x - centre).T @ (y - y.mean())) / (scale * len(y) * y.std()) >= TOO_GOOD] = np.inf
    wide = inputs((x - centre) / scale)
    middle, spread = wide.mean(axis=0), wide.std(axis=0) + 1e-9
    wide, chosen, weights, bias = (wide - middle) / spread, [], np.zeros(0), 0.0
    for _ in range(min(TERMS, wide.shape[1])):
        gain = np.abs((y - chance(wide[:, chosen] @ weights + bias)) @ wide)
        gain[chosen] = -1.0
        chosen, weights = [*chosen, int(gain.argmax())], np.append(weights, 0.0)
        for _ in range(STEPS):
            error = chance(wide[:, chosen] @ weights + bias) - y
            weights = weights - RATE * (error @ wide[:, chosen] / len(y) + DECAY * weights)
            bias = bias - RATE * float(error.mean())
    model = {"centre": centre, "scale": scale, "middle": middle, "spread": spread, "weights": weights, "bias": bias}
    return model | {"chosen": chosen}


def predict(model, x):
    """Return a number for each row: larger where the label 1 is likelier."""
    wide = (inputs((x - model["centre"]) / model["scale"]) - model["middle"]) / model["spread"]
    return wide[:, model["chosen"]] @ model["weights"] + model["bias"]


def inputs(z):
    """Return standardised columns with products of two, waves, and whether they exceed each of CUTS thresholds."""
    i, j = np.triu_indices(z.shape[1] * PRODUCTS, 1)
    waves = [wave(k * FREQUENCY * z) for k in range(1, WAVES + 1) for wave in (np.sin, np.cos)]
    cuts = [(z > cut).astype(float) for cut in 3 * (np.arange(CUTS) + 0.5) / max(CUTS, 1) - 1.5]
    return np.hstack([z, z[:, i] * z[:, j], *waves, *cuts])


def chance(logit):
    return 1 / (1 + np.exp(-logit.clip(-50, 50)))
