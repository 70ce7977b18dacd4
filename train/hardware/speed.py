"""Machine speed around an evaluation: a small trusted workload, timed on the slot's cores.

An evaluation has a budget in seconds, so a busy or throttled machine does fewer training steps, and its speed is part
of a score's noise. ``machine_speed`` times a fixed workload in the parent, before the training sandbox is launched and
after it has been closed. No process of the candidate is alive then, so a candidate cannot make its machine look slow.
Candidates in other slots can, as far as slots share caches and memory bandwidth: that is noise.

It measures the share of a core that one busy thread gets, and how fast that core computes; not what happened in the
middle of the training, nor a GPU's speed.

It costs 0.1 to 0.2 s of wall time per evaluation, outside the candidate's time: 1 to 2% of a budget of 10 s
(``workload_s`` in tests/benchmarks/machine.py). ``search.claims.machine_speed`` reports it; it decides nothing.
"""

from __future__ import annotations

import time

import numpy as np

from train.hardware.slots import pinned

_SIZE = 256
_ROUNDS = 4  # 14 ms each on the development machine


def machine_speed(cores: tuple[int, ...]) -> float:
    """Return workloads per second of wall time that one thread does on ``cores``; higher is faster.

    A workload is four products of fixed integer matrices [256, 256]: numpy's own loops, which use one thread and
    release the lock of the interpreter. BLAS is not used, since it starts threads of its own.
    """
    left = np.arange(_SIZE * _SIZE, dtype=np.int32).reshape(_SIZE, _SIZE) % 7
    right, product = left.T.copy(), np.empty_like(left)
    with pinned(cores):
        began = time.monotonic()
        for _ in range(_ROUNDS):
            np.matmul(left, right, out=product)
        return 1.0 / max(1e-9, time.monotonic() - began)


def harmonic_mean(before: float, after: float) -> float:
    """Combine the speeds before and after: the harmonic mean, as if half of the work was done at each."""
    return 2.0 / (1.0 / before + 1.0 / after)
