"""Calls the compiled kernel: read-only."""

import ctypes
import os

import numpy as np

KERNEL = ctypes.CDLL(os.path.abspath("kernel.so"))


def distances(first, second):
    """Return the edit distance of each pair of rows of two uint8 arrays."""
    first, second = np.ascontiguousarray(first), np.ascontiguousarray(second)
    found = np.full(len(first), -1, dtype=np.int32)
    pointers = [ctypes.c_void_p(array.ctypes.data) for array in (first, second, found)]
    KERNEL.edit_distances(*pointers[:2], len(first), first.shape[1], second.shape[1], pointers[2])
    return found
