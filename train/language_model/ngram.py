"""A trusted yardstick for claims: what n-gram models of the training split would give each evaluated byte or token.

The evaluator computes it itself, so that an audit knows which positions are hard: there a false claim pays most (see
``train.language_model.audit``). Numpy alone, about 0.4 s for 3 MB of training text and 65,000 positions, once for each
split."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from prepare.scoring import Floats, Symbols

ORDERS = 6
"""Contexts of 0 to 5 bytes or tokens."""
_BUCKETS = 22  # bits: 4 million counters for each order; contexts that share one blur the yardstick a little
_BACKOFF = 5.0  # counts that the next shorter context weighs
_MULTIPLIER = np.uint64(0x9E3779B97F4A7C15)
_BYTE = np.uint64(0xBF58476D1CE4E5B9)


def ngram_log_probs(documents: Sequence[Symbols], rows: Symbols, vocab: int = 256) -> Floats:
    """Log-probabilities (nats) of each target under interpolated n-gram models: rows [N, T + 1] -> [ORDERS, N, T].

    ``p_n = (count(context, symbol) + b p_(n-1)) / (count(context) + b)`` with b = 5, from ``p_(-1) = 1 / vocab``:
    absolute interpolation with a constant weight (Jelinek and Mercer, 1980). Where a row holds less than n symbols
    before a target, order n equals order n - 1.
    """
    text = np.concatenate(documents)
    counted = min(ORDERS, len(text), rows.shape[1])  # there is nothing longer to count or to look up
    estimate = np.full((rows.shape[0], rows.shape[1] - 1), 1.0 / vocab)
    result = np.empty((ORDERS, *estimate.shape))
    for order in range(counted):
        contexts, pairs = _counters(*_keys(text, order))
        there, here = (_buckets(keys)[:, order == 0 :] for keys in _keys(rows, order))
        known = contexts[there]
        seen = np.minimum(pairs[here], known)  # more than that is another pair's, in the same bucket
        part = estimate[:, max(0, order - 1) :]
        part[...] = (seen + _BACKOFF * part) / (known + _BACKOFF)
        result[order] = np.log(estimate)
    result[counted:] = result[counted - 1]
    return result


def _keys(text: Symbols, order: int) -> tuple[NDArray[np.uint64], NDArray[np.uint64]]:
    """For each symbol from index ``order`` on of the last axis: a key of its context, and of context and byte."""
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
