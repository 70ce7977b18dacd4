"""N-gram log-probabilities of the evaluation targets: a trusted estimate of how hard each position is.

The evaluator computes them itself from the training split. The audit uses them to find the positions where a false
claim pays most (see ``train.language_model.audit``). NumPy only; about 0.4 s for 3 MB of training text and 65,000
positions, once per split.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from prepare.scoring import Floats, Symbols

ORDERS = 6
"""Contexts of 0 to 5 bytes or tokens."""
_BUCKETS = 22  # bits: 4 million counters per order; hash collisions blur the estimate a little
_BACKOFF = 5.0  # pseudo-counts given to the next shorter context
_MULTIPLIER = np.uint64(0x9E3779B97F4A7C15)
_BYTE = np.uint64(0xBF58476D1CE4E5B9)


def ngram_log_probs(documents: Sequence[Symbols], rows: Symbols, vocab: int = 256) -> Floats:
    """Return log-probabilities (nats) of each target under n-gram models: rows [N, T + 1] -> [ORDERS, N, T].

    ``p_n = (count(context, symbol) + b p_(n-1)) / (count(context) + b)`` with b = 5, from ``p_(-1) = 1 / vocab``:
    interpolation with a constant weight (Jelinek and Mercer, 1980). Where a row has fewer than n symbols before a
    target, order n equals order n - 1.
    """
    text = np.concatenate(documents)
    counted = min(ORDERS, len(text), rows.shape[1])  # longer contexts do not occur
    estimate = np.full((rows.shape[0], rows.shape[1] - 1), 1.0 / vocab)
    result = np.empty((ORDERS, *estimate.shape))
    for order in range(counted):
        contexts, pairs = _counters(*_keys(text, order))
        there, here = (_buckets(keys)[:, order == 0 :] for keys in _keys(rows, order))
        known = contexts[there]
        seen = np.minimum(pairs[here], known)  # a larger count comes from another pair in the same bucket
        part = estimate[:, max(0, order - 1) :]
        part[...] = (seen + _BACKOFF * part) / (known + _BACKOFF)
        result[order] = np.log(estimate)
    result[counted:] = result[counted - 1]
    return result


def _keys(text: Symbols, order: int) -> tuple[NDArray[np.uint64], NDArray[np.uint64]]:
    """Hash, for each symbol from index ``order`` of the last axis, its context, and context and symbol together."""
    length = text.shape[-1]
    context = np.full((*text.shape[:-1], length - order), order + 1, np.uint64)
    for back in range(order, 0, -1):
        context = (context + text[..., order - back : length - back] + np.uint64(1)) * _MULTIPLIER
    mixed = (context ^ (context >> np.uint64(29))) + (text[..., order:] + np.uint64(1)) * _BYTE
    return context, mixed * _MULTIPLIER


def _buckets(keys: NDArray[np.uint64]) -> NDArray[np.int64]:
    return (keys >> np.uint64(64 - _BUCKETS)).astype(np.int64)


def _counters(contexts: NDArray[np.uint64], pairs: NDArray[np.uint64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    size = 1 << _BUCKETS
    return np.bincount(_buckets(contexts), minlength=size), np.bincount(_buckets(pairs), minlength=size)
