"""How alike two changes of one program are: near-duplicates of what has failed are told to the model.

A child shares nearly all of its text with its siblings, so not the programs are compared but what each changed in their
parent: the runs of four words of the normalised syntax tree (``operators.languages.fingerprint``) that it added or
took away, as multisets. The likeness of two changes is the weighted Jaccard index of these (Ruzicka 1958): shared over
all, 1 for the same change, 0 for two that have nothing in common. Comments, layout and seeds do not count.

``NEAR`` = 0.8: in a new block of ten lines another name, function or line gives 0.91 to 0.96; another value for the one
constant that was changed 0.33; two changes at different places 0.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from functools import lru_cache

from operators.languages.fingerprint import words

NEAR = 0.8
_RUN = 4

Files = Mapping[str, str]
Runs = Counter[tuple[str, ...]]


def likeness(parent: Files, one: Files, other: Files) -> float:
    """In [0, 1], of what ``one`` and ``other`` changed in ``parent``; 0 if either changed nothing that counts."""
    first, second = _change(parent, one), _change(parent, other)
    if not first or not second:
        return 0.0
    shared = sum((first & second).values())
    return shared / (sum(first.values()) + sum(second.values()) - shared)


def size(files: Files) -> int:
    """Words of the normalised syntax trees: how much program there is, whatever its layout and comments."""
    return sum(len(words(path, text)) for path, text in files.items())


def _change(parent: Files, child: Files) -> Runs:
    """What was added and what was taken away, each marked as such."""
    change: Runs = Counter()
    for path in {*parent, *child}:
        before, after = _runs(path, parent.get(path, "")), _runs(path, child.get(path, ""))
        change.update({("+", *run): count for run, count in (after - before).items()})
        change.update({("-", *run): count for run, count in (before - after).items()})
    return change


@lru_cache(maxsize=64)
def _runs(path: str, text: str) -> Runs:
    found = words(path, text)
    return Counter(found[i : i + _RUN] for i in range(max(0, len(found) - _RUN + 1)))
