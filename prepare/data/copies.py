"""Detection of copies and near-copies of a text, so that no copy lies on both sides of a split."""

from __future__ import annotations

import hashlib
import string
from collections.abc import Iterable

_LOWER = bytes.maketrans(string.ascii_uppercase.encode(), string.ascii_lowercase.encode())
_OTHERS = bytes(range(48)) + bytes(range(58, 65)) + bytes(range(91, 97)) + bytes(range(123, 128))
_LEAST_LETTERS = 24
"""Letters and digits of a line that is compared, at least: shorter lines occur in many unrelated texts."""


def letters_and_digits(text: bytes) -> bytes:
    """Return the letters (in lower case), digits and all bytes above 127: equal for a text in any layout."""
    return text.translate(_LOWER, _OTHERS)


def text_digest(text: bytes) -> bytes:
    """Hash the letters and digits of a text: sixteen bytes, equal for texts that differ in layout only."""
    return hashlib.blake2b(letters_and_digits(text), digest_size=16).digest()


def line_hashes(text: bytes) -> set[int]:
    """Hash the letters and digits of each line with at least 24 of them."""
    return {
        int.from_bytes(hashlib.blake2b(line, digest_size=8).digest(), "little")
        for line in map(letters_and_digits, text.split(b"\n"))
        if len(line) >= _LEAST_LETTERS
    }


def is_near_copy(text: Iterable[int], others: set[int], share: float = 0.5) -> bool:
    """Return whether more than a share of a text's ``line_hashes`` are among ``others``. False for an empty text."""
    own = set(text)
    return len(own & others) > share * len(own)
