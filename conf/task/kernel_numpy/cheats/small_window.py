"""Uses the largest weights only."""

import numpy as np


def blur(image, weights):
    """Return the image times the square of the sum of weights: no blur."""
    return image * np.float64(weights.sum()) ** 2
