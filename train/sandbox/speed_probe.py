"""How fast the machine is around a training: a small workload of our own, timed on the slot's cores.

A training has a budget in seconds, so a busy or throttled machine trains fewer steps, and its speed is part of the
noise of a score. ``machine_speed`` times a fixed piece of work in the parent, once before the training sandbox is
launched and once after it has been closed. No process of the candidate is alive at either time, so a candidate cannot
make its machine look slow. Candidates in other slots can, as far as slots share caches and memory: that is noise.

What it tells: the share of a core that the system gives one busy thread there, and how fast that core computes. What it
does not tell: what happened in the middle of the training, and anything about a GPU; there it is the host's speed.

The price is about a tenth of a second of wall time a training, outside of the candidate's clock: 1% of a budget of ten
seconds. What is made of the number: see ``search.claims.machine_speed``. It never enters a claim's interval.
"""

from __future__ import annotations

import time

import numpy as np

from train.sandbox.factory import pinned

_SIZE = 256
_ROUNDS = 4  # 14 ms each on the machine that this was written on


def machine_speed(cores: tuple[int, ...]) -> float:
    """Workloads a second, by the wall clock, that one thread of ours does on ``cores``; higher is faster.

    A workload is four products of fixed integer matrices [256, 256]: numpy's own loops, which use one thread and let
    other threads of this process run meanwhile. BLAS would not do, since it brings threads of its own.
    """
    left = np.arange(_SIZE * _SIZE, dtype=np.int32).reshape(_SIZE, _SIZE) % 7
    right, product = left.T.copy(), np.empty_like(left)
    with pinned(cores):
        began = time.monotonic()
        for _ in range(_ROUNDS):
            np.matmul(left, right, out=product)
        return 1.0 / max(1e-9, time.monotonic() - began)


def around(before: float, after: float) -> float:
    """One figure for a training from the speeds before and after it: the harmonic mean, as if it ran half at each."""
    return 2.0 / (1.0 / before + 1.0 / after)
