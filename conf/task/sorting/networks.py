"""Sorting networks: a first part, Batcher's network behind it, then random changes that still sort.

LAYERS: in the first part, comparators join channels whose numbers differ in one bit. What follows is tested on the
different outputs of the first part only, and comparators that exchange nothing are removed.
"""

import itertools
import random

LAYERS = 0  # tune: 0..4
EFFORT = 5000  # tune: 2000..500000 log step 1
LEAVE_OUT = 0.03  # tune: 0.005..0.3 log
ADD = 2  # tune: 1..4
START = 0  # tune: 0..999 step 1


def network(n):
    """Return comparators [i, j], i < j: each puts the smaller of two values into channel i."""
    first = [[i, i | 1 << k] for k in range(LAYERS) for i in range(n) if not i >> k & 1 and i | 1 << k < n]
    bits = outputs(inputs(n), first)
    found, done, rng = pruned(bits, merge_exchange(n)), 0.0, random.Random(1000 * n + START)
    while done < EFFORT:
        changed = [pair for pair in found if rng.random() > LEAVE_OUT]
        for _ in range(rng.randrange(ADD + 1)):
            changed.insert(rng.randrange(len(changed) + 1), sorted(rng.sample(range(n), 2)))
        done += len(changed) * (1 + bits[-1].bit_length() / 1000)
        if (shorter := pruned(bits, changed)) and len(shorter) <= len(found):
            found = shorter
    return first + found


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


def outputs(bits, comparators):
    """Return the different outputs of comparators in the same form: for each channel its bits over all of them."""
    bits = list(bits)
    for i, j in comparators:
        bits[i], bits[j] = bits[i] & bits[j], bits[i] | bits[j]
    width = bits[-1].bit_length() + 1
    patterns = sorted(set(zip(*(f"{channel:0{width}b}" for channel in bits), strict=True)))
    return [int("".join(channel), 2) for channel in zip(*patterns, strict=True)]


def pruned(bits, comparators):
    """Return the comparators that exchange something for at least one input; None if one is not sorted."""
    bits, kept = list(bits), []
    for i, j in comparators:
        low, high = bits[i], bits[j]
        if low & ~high:
            bits[i], bits[j] = low & high, low | high
            kept.append([i, j])
    return kept if all(not low & ~high for low, high in itertools.pairwise(bits)) else None
