"""Paths of files below a folder, as another side names them: checked on both sides of a sandbox."""

from __future__ import annotations

_LONGEST_PART = 255
_LONGEST = 1024


def is_utf8(text: str) -> bool:
    """Return whether UTF-8 has a text: not the lone surrogates that Python reads other bytes of a name as."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def is_below(path: object) -> bool:
    """Return whether this is the path of a file below a folder: relative, ``/`` between parts, no ``.`` or ``..``."""
    if not isinstance(path, str) or "\0" in path:
        return False
    if not is_utf8(path):
        return False
    parts = [part.encode() for part in path.split("/")]
    fits = sum(map(len, parts)) + len(parts) <= _LONGEST and all(0 < len(part) <= _LONGEST_PART for part in parts)
    return fits and not {b".", b".."} & set(parts)
