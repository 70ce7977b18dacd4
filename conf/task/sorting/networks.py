"""Sorting networks: Batcher's, then random changes that still sort; comparators that do nothing are removed."""

import itertools
import random

LEAVE_OUT = 0.03  # tune: 0.005..0.2 log
ADD = 2  # tune: 1..5
TRIES = 60  # tune: 20..2000 log step 1
START = 0  # tune: 0..999 step 1


def network(n):
    """Return comparators [i, j], i < j: each puts the smaller of two values into channel i."""
    found = pruned(n, merge_exchange(n))
    rng = random.Random(START + n)
    for _ in range(TRIES):
        changed = [pair for pair in found if rng.random() > LEAVE_OUT]
        place = rng.randrange(len(changed))
        changed[place:place] = [sorted(rng.sample(range(n), 2)) for _ in range(rng.randrange(ADD + 1))]
        if sorts(n, changed) and len(shorter := pruned(n, changed)) <= len(found):
            found = shorter
    return found


def merge_exchange(n):
    """Return Batcher's network in the form for any number of channels (Knuth, Algorithm 5.2.2M)."""
    found, top = [], 1 << (n - 1).bit_length() - 1
    step = top
    while step:
        power, rest, apart = top, 0, step
        while True:
            found += [[i, i + apart] for i in range(n - apart) if i & step == rest]
            if power == step:
                break
            apart, power, rest = power - step, power >> 1, step
        step >>= 1
    return found


def inputs(n):
    """Return for each channel its bits over all 2**n inputs of zeros and ones, as one number."""
    everything = (1 << (1 << n)) - 1
    return [(((1 << (1 << i)) - 1) << (1 << i)) * (everything // ((1 << (2 << i)) - 1)) for i in range(n)]


def sorts(n, comparators):
    """Return whether every input of zeros and ones comes out in order."""
    bits = inputs(n)
    for i, j in comparators:
        bits[i], bits[j] = bits[i] & bits[j], bits[i] | bits[j]
    return all(not low & ~high for low, high in itertools.pairwise(bits))


def pruned(n, comparators):
    """Return the comparators that exchange something for at least one input."""
    bits, kept = inputs(n), []
    for i, j in comparators:
        if bits[i] & ~bits[j]:
            bits[i], bits[j] = bits[i] & bits[j], bits[i] | bits[j]
            kept.append([i, j])
    return kept
