"""What is the same text but for layout: copies and near-copies, so that none of them is on both sides of a split."""

from __future__ import annotations

import hashlib
import string
from collections.abc import Iterable

_LOWER = bytes.maketrans(string.ascii_uppercase.encode(), string.ascii_lowercase.encode())
_OTHERS = bytes(range(48)) + bytes(range(58, 65)) + bytes(range(91, 97)) + bytes(range(123, 128))
_TELLING = 24
"""Letters and digits of a line that says something: shorter ones are everywhere."""


def plain(text: bytes) -> bytes:
    """Letters and digits only, in lower case (and all bytes above 127): equal for a text in any layout."""
    return text.translate(_LOWER, _OTHERS)


def trace(text: bytes) -> bytes:
    """Sixteen bytes that are equal for texts with the same letters and digits, whatever stands between them."""
    return hashlib.blake2b(plain(text), digest_size=16).digest()


def lines(text: bytes) -> set[int]:
    """The lines of a text that say something, as numbers: equal for lines with the same letters and digits."""
    return {
        int.from_bytes(hashlib.blake2b(line, digest_size=8).digest(), "little")
        for line in map(plain, text.split(b"\n"))
        if len(line) >= _TELLING
    }


def is_near_copy(text: Iterable[int], others: set[int], share: float = 0.5) -> bool:
    """Whether more than a share of a text's ``lines`` stand in other texts. One without such lines is no copy."""
    own = set(text)
    return len(own & others) > share * len(own)
