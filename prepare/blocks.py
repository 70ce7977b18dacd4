"""Blocks of a file that may change: the lines between EVOLVE-BLOCK-START and EVOLVE-BLOCK-END.

    # EVOLVE-BLOCK-START
    RATE = 0.1             only lines such as this one may change
    # EVOLVE-BLOCK-END

A marker is a line that contains one of the two words, in whatever comment syntax; it lies outside of its block. All
text outside of the blocks has to stay byte for byte.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

START = "EVOLVE-BLOCK-START"
END = "EVOLVE-BLOCK-END"


class BlockError(ValueError):
    """The markers of a text are no pairs; the message names the line, without the file."""


def block_spans(text: str) -> tuple[tuple[int, int], ...]:
    """Return (start, end) of each block, in characters. Raises BlockError."""
    return tuple(_spans(text))


def outside_blocks(text: str) -> tuple[str, ...]:
    """Return the parts of a text that have to stay: one more than it has blocks. Raises BlockError."""
    ends = [0, *(place for span in block_spans(text) for place in span), len(text)]
    return tuple(text[start:end] for start, end in zip(ends[::2], ends[1::2], strict=True))


def in_blocks(text: str, start: int, end: int) -> bool:
    """Return whether the characters [start, end) lie within one block; False for markers that are no pairs."""
    try:
        return any(first <= start and end <= last for first, last in block_spans(text))
    except BlockError:
        return False


def changed_outside(seed: Mapping[str, str], files: Mapping[str, str]) -> str | None:
    """Return why files differ from the seed's outside of the blocks, or None. Raises BlockError for the seed's own."""
    for path in sorted({*seed, *files}):
        if path not in seed or path not in files:
            return f"{path} is {'new' if path in files else 'missing'}; only text between {START} and {END} may change"
        if seed[path] != files[path] and (reason := _difference(outside_blocks(seed[path]), files[path])):
            return f"{path} {reason}"
    return None


def _difference(kept: tuple[str, ...], text: str) -> str | None:
    try:
        found = outside_blocks(text)
    except BlockError as error:
        return str(error)
    if len(found) != len(kept):
        return f"has {len(found) - 1} blocks between {START} and {END}; expected the seed's {len(kept) - 1}"
    changed = next((number for number, (a, b) in enumerate(zip(kept, found, strict=True)) if a != b), None)
    if changed is None:
        return None
    line = _first_difference(kept[changed], found[changed])
    place = f"in line {line} after block {changed}" if changed else f"in line {line}"
    return f"differs from the seed outside of its blocks, {place}; only text between {START} and {END} may change"


def _first_difference(a: str, b: str) -> int:
    same = next((at for at, (x, y) in enumerate(zip(a, b, strict=False)) if x != y), min(len(a), len(b)))
    return a.count("\n", 0, same) + 1


def _spans(text: str) -> Iterator[tuple[int, int]]:
    place, opened = 0, None
    for number, line in enumerate(text.split("\n"), 1):
        end = min(place + len(line) + 1, len(text))
        if START in line and (opened is not None or END in line):
            raise BlockError(f"line {number}: {START} within a block; expected {END} first")
        if START in line:
            opened = end, number
        elif END in line:
            if opened is None:
                raise BlockError(f"line {number}: {END} without {START}")
            yield opened[0], place
            opened = None
        place = end
    if opened is not None:
        raise BlockError(f"line {opened[1]}: {START} without {END}; add a line with {END}")
