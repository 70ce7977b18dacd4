"""Pack tokenised texts of all lengths into rows of one length, each beginning with the token ``BOS``.

The rule:

1. A text that is longer than a row is cut into pieces of a row's length and a remainder.
2. Every piece begins with ``BOS``, including pieces that continue a text.
3. A row is filled from the next ``AHEAD`` pieces: repeatedly the longest that fits into the remaining space; of equally
   long ones the first.
4. When none fits, the shortest of them is cropped to the space, and the rest of it is dropped. A space of one token is
   filled with ``BOS`` alone. Rows hold no padding.
5. The last row is dropped if it is not full.

Best fit is a heuristic for bin packing (Johnson and others, 1974); cropping keeps rows full at the price of a few
tokens, counted in ``Packing.cropped``.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right, insort
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from prepare.scoring import Tokens

BOS = 0
"""The token that begins every row and every piece of a text; it encodes no byte."""
AHEAD = 1024
"""Pieces to choose from. More would crop fewer tokens, and move pieces further from their place in the corpus."""


@dataclass(frozen=True)
class Packing:
    """Assignment of pieces to rows: pieces in the order of the rows, each preceded by ``BOS``."""

    starts: NDArray[np.int64]
    """[P] offset of each piece among the tokens of all texts."""
    sizes: NDArray[np.int64]
    """[P] number of tokens of each piece, ``BOS`` not counted; may be 0."""
    width: int
    """Tokens per row."""
    cropped: int
    """Tokens of the texts that were dropped."""

    @property
    def rows(self) -> int:
        return int(self.sizes.sum() + len(self.sizes)) // self.width


def pack(sizes: NDArray[np.int64], width: int, ahead: int = AHEAD) -> Packing:
    """Pack consecutive texts of ``sizes`` tokens into rows of ``width`` tokens.

    Raises ValueError for rows of fewer than two tokens.
    """
    if width < 2:
        raise ValueError(f"rows have a width of {width}; expected at least 2 tokens, a BOS and one more")
    pieces = _pieces(sizes, width)
    waiting: list[tuple[int, int]] = []  # (size with BOS, start), sorted
    starts: list[int] = []
    taken: list[int] = []
    done = 0  # pieces in full rows
    room, spent = width, False
    while True:
        while not spent and len(waiting) < ahead:
            if (piece := next(pieces, None)) is None:
                spent = True
            else:
                insort(waiting, piece)
        if not waiting:
            break
        place = bisect_right(waiting, room, key=_size) - 1
        if place >= 0:
            longest = waiting[place][0]
            size, start = waiting.pop(bisect_left(waiting, (longest, 0)))  # the first of equally long ones
        elif room == 1:
            size, start = 1, 0
        else:
            size, start = room, waiting.pop(0)[1]
        starts.append(start)
        taken.append(size - 1)
        room -= size
        if room == 0:
            room, done = width, len(starts)
    kept = np.array(taken[:done], np.int64)
    return Packing(np.array(starts[:done], np.int64), kept, width, int(sizes.sum() - kept.sum()))


def _size(piece: tuple[int, int]) -> int:
    return piece[0]


def _pieces(sizes: NDArray[np.int64], width: int) -> Iterator[tuple[int, int]]:
    """Yield (size with BOS, start) of each piece, in the order of the texts."""
    start = 0
    for size in sizes.tolist():
        end = start + size
        for begin in range(start, end, width - 1):
            yield min(width, end - begin + 1), begin
        start = end


def lay_out(tokens: Tokens, packing: Packing, rows: Tokens) -> None:
    """Write the tokens of all texts [N], without ``BOS``, into ``rows`` [packing.rows, width] as planned.

    Both arrays may be memory-mapped files: they are read and written piece by piece.
    """
    flat = rows.reshape(-1)
    flat[:] = BOS
    place = 0
    for start, size in zip(packing.starts.tolist(), packing.sizes.tolist(), strict=True):
        flat[place + 1 : place + 1 + size] = tokens[start : start + size]
        place += size + 1
