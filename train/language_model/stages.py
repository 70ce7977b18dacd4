"""Several positions of one window, for claims with too few windows: in stages, shorter prefixes first.

The last stage asks at the window's secret position, as a judgement without stages does (``judgement``). The stages
before it ask at positions of their own, none of them later. All sealed states of a claim answer a stage before the next
is shown to any (``search.run.sealing``), so a target is sent only when everybody has answered it.

**What is shown is the same.** Each prefix of a stage is the beginning of the last stage's. So the targets of the last
stage are sent to no sandbox in any run of the archive, with or without stages, and later claims are judged at them
alone: their trainings could have been told the text before (``Request.text_shown``).

**The score is unbiased.** Of c targets that count, the last rank r is uniform. With K stages the others lie in K - 1
equal parts of the ``m = min(r, max(K - 1, c / 8))`` ranks before r, one uniform in each; all are r if r is 0. The
expected number of times that rank j is asked, E(j), follows from that, and the sum over the stages of
``log p / (T E(j))`` has the expectation of the mean over all T targets (Horvitz and Thompson 1952). Ranks that are near
in the text are nearly independent for alike models, so m is small: E(j) is then K / c but for the last ranks, and for
the first, which are asked more often. A larger m leaves more ranks that only the last stage asks at. The score of a
window is that sum, so the claim's interval needs nothing new: windows remain its independent units.
"""

from __future__ import annotations

import hashlib
import hmac
import math
from functools import lru_cache

import numpy as np

from prepare.scoring import Floats, Measure
from train.language_model.judgement import Ints, PositionSet

_SHARE = 8


def in_stages(last: PositionSet, key: bytes, context: int, measure: Measure, stages: int) -> tuple[PositionSet, ...]:
    """Return the position sets of a judgement, stage by stage; for a single one ``last`` as it is.

    context: T, the number of targets in each window.
    """
    if stages == 1:
        return (last,)
    windows = len(last.positions)
    counted = np.ones((windows, context), np.bool_) if measure.counted is None else measure.counted
    available, order = counted.sum(axis=1), np.argsort(~counted, axis=1, kind="stable")
    final = np.maximum(np.cumsum(counted, axis=1)[np.arange(windows), last.positions] - 1, 0)
    before = np.minimum(final, [_near(int(count), stages) for count in available])
    result = []
    for stage in range(stages):
        part = (stage + _spread(key, f"{last.name}/{stage}/{stages}", windows)) / (stages - 1) * before
        ranks = final - before + np.minimum(part.astype(np.int64), np.maximum(before - 1, 0))
        ranks = final if stage == stages - 1 else ranks
        expected = np.array([_expected(int(c), stages)[r] if c else 1.0 for c, r in zip(available, ranks, strict=True)])
        weights = np.where(available > 0, 1 / (context * expected), 0.0)
        result.append(PositionSet(f"{last.name}x{stages}.{stage + 1}", order[np.arange(windows), ranks], weights))
    return tuple(result)


def _near(count: int, stages: int) -> int:
    """Return how many ranks before the last one the stages are drawn from, of ``count`` targets that count."""
    return max(stages - 1, math.ceil(count / _SHARE))


def _spread(key: bytes, name: str, windows: int) -> Floats:
    """Return a secret number in [0, 1) for each window, spread evenly over the windows; each is uniform."""
    seed = hmac.digest(key, name.encode(), "sha256")
    words = np.frombuffer(hashlib.shake_256(seed).digest(8 * (windows + 1)), "<u8")
    ranks: Ints = np.argsort(np.argsort(words[:-1], kind="stable"))
    spread: Floats = (ranks + float(words[-1]) / 2**64) / windows
    return spread


@lru_cache(maxsize=4096)
def _expected(count: int, stages: int) -> Floats:
    """Return E [count]: how often each rank of a window is asked, on average over the secret."""
    rank = np.arange(1, count)
    before = np.minimum(rank, _near(count, stages))
    changes = np.zeros(count + 1)
    np.add.at(changes, rank - before, (stages - 1) / before)
    np.add.at(changes, rank, -(stages - 1) / before)
    often: Floats = 1.0 + np.cumsum(changes[:count])
    often[0] += stages - 1
    return often / count
