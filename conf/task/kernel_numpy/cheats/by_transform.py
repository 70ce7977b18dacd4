"""A product of Fourier transforms: exact where the image is bright, wrong where it is dark."""

import numpy as np


def blur(image, weights):
    """Return a blur with the error of the brightest pixel everywhere."""
    size = len(weights)
    padded = np.pad(image, size // 2, mode="edge")
    kernel = np.outer(weights[::-1], weights[::-1])
    shape = [n + size - 1 for n in padded.shape]
    full = np.fft.irfft2(np.fft.rfft2(padded, shape) * np.fft.rfft2(kernel, shape), shape)
    return full[size - 1 : size - 1 + len(image), size - 1 : size - 1 + image.shape[1]].copy()
