"""Text that a program may share with an evaluation split because every candidate can know it.

A corpus of web pages or programs contains text that honest programs contain too: names of a library, idioms. A window
of letters that also occurs in the training split is known to every candidate, and one in the seed program was written
without knowledge of the splits. Neither counts as a quotation; text that occurs in an evaluation split alone does.

The training split (of a large one, the first 300 MB) is read only when a program shares a window with an evaluation
split.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator

from prepare.data.copies import letters_and_digits

_MOST = 300_000_000
"""Bytes of the training split to read: a window that does not occur in them counts as secret."""
_BLOCK = 8_000_000


class PublicText:
    """Cached lookup of windows of letters in the seed program and the training split. Thread-safe."""

    def __init__(self, seed: str, training: Callable[[], Iterator[bytes]]) -> None:
        """seed: the text of the seed program. training: a new iterator over the documents of the training split."""
        self._seed = letters_and_digits(seed.encode())
        self._training = training
        self._common: dict[bytes, bool] = {}
        self._reading = threading.Lock()

    def secret(self, windows: Iterable[bytes]) -> set[bytes]:
        """Return the windows that occur neither in the seed program nor in the training split.

        windows: letters and digits, as ``letters_and_digits`` returns them.
        """
        asked = set(windows)
        if not asked:
            return asked
        with self._reading:
            unknown = {window for window in asked if window not in self._common}
            missing = {window for window in unknown if window not in self._seed}
            secret = missing - self._found(missing) if missing else missing
            self._common |= {window: window not in secret for window in unknown}
            return {window for window in asked if not self._common[window]}

    def _found(self, missing: set[bytes]) -> set[bytes]:
        """Return the windows that occur in the training split."""
        found: set[bytes] = set()
        for block in self._blocks():
            found |= {window for window in missing - found if window in block}
            if len(found) == len(missing):
                break
        return found

    def _blocks(self) -> Iterator[bytes]:
        """Yield the letters and digits of the training split in blocks of about 8 MB."""
        parts: list[bytes] = []
        size = read = 0
        for text in self._training():
            parts.append(letters_and_digits(text))
            size += len(text)
            read += len(text)
            if size >= _BLOCK or read >= _MOST:
                yield b"\0".join(parts)
                parts, size = [], 0
            if read >= _MOST:
                return
        yield b"\0".join(parts)
