"""Two passes in float32: fast, and wrong in the eighth digit."""

import numpy as np


def blur(image, weights):
    """Return an approximate blur."""
    padded = np.pad(image, len(weights) // 2, mode="edge").astype(np.float32)
    down = sum(np.float32(w) * padded[i : i + len(image)] for i, w in enumerate(weights))
    return sum(np.float32(w) * down[:, i : i + image.shape[1]] for i, w in enumerate(weights)).astype(np.float64)
