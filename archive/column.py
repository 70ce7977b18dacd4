"""A growing numpy array: what is known of each node or move, in the order in which they came."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray


class Column:
    """Appending is O(1) amortised, reading is a view."""

    def __init__(self, dtype: Any, fill: float = 0) -> None:
        """``fill``: what is appended where nothing else is said."""
        self._data = np.full(64, fill, dtype=dtype)
        self._fill = fill
        self._size = 0

    def append(self, value: float | None = None) -> None:
        if self._size == len(self._data):
            grown = np.full(2 * len(self._data), self._fill, dtype=self._data.dtype)
            grown[: self._size] = self._data
            self._data = grown
        if value is not None:
            self._data[self._size] = value
        self._size += 1

    def extend(self, size: int) -> None:
        """Fill up to ``size`` entries."""
        while self._size < size:
            self.append()

    @property
    def view(self) -> NDArray[Any]:
        return self._data[: self._size]
