"""What a program may share with an evaluation split because it is no secret.

A corpus of web pages or of programs holds what any honest program holds: the names of a library, an idiom. A row of
letters that stands in the training split, too, is known to every candidate, and one that stands in the seed program was
written by somebody who did not know the split. Neither is a quotation. A text that is in an evaluation split alone is.

Only asked when a program shares something; then the training split is read, or the first part of a large one.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator

from prepare.data.copies import plain

_MOST = 300_000_000
"""Bytes of the training split that are read: what is not common in these counts as secret."""
_BLOCK = 8_000_000


class PublicText:
    """Verdicts on rows of letters, each found once. Thread-safe."""

    def __init__(self, seed: str, training: Callable[[], Iterator[bytes]]) -> None:
        """seed: the text of the seed program. training: the documents of the training split, from the beginning."""
        self._seed = plain(seed.encode())
        self._training = training
        self._common: dict[bytes, bool] = {}
        self._reading = threading.Lock()

    def secret(self, rows: Iterable[bytes]) -> set[bytes]:
        """Those of these rows of letters and digits (as ``plain`` gives them) that stand in nothing that is known."""
        asked = set(rows)
        if not asked:
            return asked
        with self._reading:
            unknown = {row for row in asked if row not in self._common}
            missing = {row for row in unknown if row not in self._seed}
            secret = missing - self._found(missing) if missing else missing
            self._common |= {row: row not in secret for row in unknown}
            return {row for row in asked if not self._common[row]}

    def _found(self, missing: set[bytes]) -> set[bytes]:
        """Those that stand in the training split."""
        found: set[bytes] = set()
        for block in self._blocks():
            found |= {row for row in missing - found if row in block}
            if len(found) == len(missing):
                break
        return found

    def _blocks(self) -> Iterator[bytes]:
        parts: list[bytes] = []
        size = read = 0
        for text in self._training():
            parts.append(plain(text))
            size += len(text)
            read += len(text)
            if size >= _BLOCK or read >= _MOST:
                yield b"\0".join(parts)
                parts, size = [], 0
            if read >= _MOST:
                return
        yield b"\0".join(parts)
