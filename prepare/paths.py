"""Paths of files below a folder, as another side names them: checked on both sides of a sandbox."""

from __future__ import annotations

_LONGEST_PART = 255
_LONGEST = 1024


def is_below(path: object) -> bool:
    """Return whether this is the path of a file below a folder: relative, ``/`` between parts, no ``.`` or ``..``."""
    if not isinstance(path, str) or "\0" in path:
        return False
    try:
        parts = [part.encode() for part in path.split("/")]
    except UnicodeEncodeError:  # surrogates, which no file name of ours has
        return False
    fits = sum(map(len, parts)) + len(parts) <= _LONGEST and all(0 < len(part) <= _LONGEST_PART for part in parts)
    return fits and not {b".", b".."} & set(parts)
