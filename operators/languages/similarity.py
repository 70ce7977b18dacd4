"""Similarity of two changes of one program, to find near-duplicates of children that failed.

A child shares nearly all of its text with its siblings, so the changes are compared and not the programs: the runs of
four tokens of the normalised syntax tree (``operators.languages.fingerprint``) that a child added to or removed from
its parent, as multisets. Their similarity is the weighted Jaccard index (Ruzicka 1958): shared over all, 1 for the same
change, 0 for two that have nothing in common. Comments, layout and seeds do not count.

``NEAR_DUPLICATE`` = 0.8: in a new block of ten lines another name, function or line gives 0.91 to 0.96; another value
of the one parameter that was changed 0.33; two changes at different places 0.
"""

from __future__ import annotations

from collections import Counter
from functools import lru_cache

from operators.languages.files import Files
from operators.languages.fingerprint import syntax_tokens

NEAR_DUPLICATE = 0.8
_RUN = 4

Runs = Counter[tuple[str, ...]]


def similarity(parent: Files, one: Files, other: Files) -> float:
    """Return the similarity in [0, 1] of two changes of ``parent``; 0 if either changed nothing that counts."""
    first, second = _change(parent, one), _change(parent, other)
    if not first or not second:
        return 0.0
    shared = sum((first & second).values())
    return shared / (sum(first.values()) + sum(second.values()) - shared)


def program_size(files: Files) -> int:
    """Return the number of tokens of the normalised syntax trees: a size that ignores layout and comments."""
    return sum(len(syntax_tokens(path, text)) for path, text in files.items())


def _change(parent: Files, child: Files) -> Runs:
    """Return the runs of tokens that were added (marked ``+``) and removed (``-``)."""
    change: Runs = Counter()
    for path in {*parent, *child}:
        before, after = _runs(path, parent.get(path, "")), _runs(path, child.get(path, ""))
        change.update({("+", *run): count for run, count in (after - before).items()})
        change.update({("-", *run): count for run, count in (before - after).items()})
    return change


@lru_cache(maxsize=64)
def _runs(path: str, text: str) -> Runs:
    found = syntax_tokens(path, text)
    return Counter(found[i : i + _RUN] for i in range(max(0, len(found) - _RUN + 1)))
