"""Rows of one length for training and evaluation, each beginning with the token ``BOS``, from texts of all lengths.

The rule:

1. A text that is longer than a row is cut into pieces of a row's length and a rest.
2. Every piece begins with ``BOS``, also where it goes on with a text: a model can always tell a beginning.
3. A row is filled from the next ``AHEAD`` pieces: the longest that fits into the room that is left, again and again;
   of equally long ones the first.
4. When none fits, the shortest of them is cropped to the room, and the rest of it is in no row. Into a room of one
   token goes ``BOS`` alone. Rows hold no padding.
5. The last row, if it is not full, is left out.

Best fit is the rule of bin packing (Johnson and others, 1974); cropping what does not fit keeps rows full, at the price
of a few tokens: ``Packing.cropped`` says how many.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right, insort
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from prepare.scoring import Tokens

BOS = 0
"""The token that begins every row and every piece of a text; it stands for no byte."""
AHEAD = 1024
"""Pieces to choose from. More would crop fewer tokens, and put pieces further from their place in the corpus."""


@dataclass(frozen=True)
class Packing:
    """Which tokens go where: the pieces in the order of the rows, each preceded by ``BOS``."""

    starts: NDArray[np.int64]
    """[P] where each piece begins among the tokens of all texts."""
    sizes: NDArray[np.int64]
    """[P] its tokens, ``BOS`` not counted; may be 0."""
    width: int
    """Tokens of a row."""
    cropped: int
    """Tokens of the texts that are in no row."""

    @property
    def rows(self) -> int:
        return int(self.sizes.sum() + len(self.sizes)) // self.width


def pack(sizes: NDArray[np.int64], width: int, ahead: int = AHEAD) -> Packing:
    """Lay texts of ``sizes`` tokens, which lie one after the other, into rows of ``width`` tokens.

    Raises ValueError for rows of less than two tokens.
    """
    if width < 2:
        raise ValueError(f"rows have {width} token(s); expected at least 2, a BOS and what follows it")
    pieces = _pieces(sizes, width)
    waiting: list[tuple[int, int]] = []  # (size with BOS, start), sorted
    starts: list[int] = []
    taken: list[int] = []
    done = 0  # pieces in whole rows
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
            size, start = waiting.pop(bisect_left(waiting, (longest, 0)))  # of equally long ones the first
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
    """(size with BOS, start) of each piece, in the order of the texts."""
    start = 0
    for size in sizes.tolist():
        end = start + size
        for begin in range(start, end, width - 1):
            yield min(width, end - begin + 1), begin
        start = end


def lay_out(tokens: Tokens, packing: Packing, rows: Tokens) -> None:
    """Fill ``rows`` [packing.rows, width] with the tokens of all texts [N], which hold no ``BOS``.

    Both may be files that are mapped into memory: they are read and written piece by piece.
    """
    flat = rows.reshape(-1)
    flat[:] = BOS
    place = 0
    for start, size in zip(packing.starts.tolist(), packing.sizes.tolist(), strict=True):
        flat[place + 1 : place + 1 + size] = tokens[start : start + size]
        place += size + 1
