"""Judges sorting networks by the 0-1 principle: every input of zeros and ones is sorted, all of them at once."""

import itertools

import prepare

CHANNELS = range(11, 17)
KNOWN = {11: 35, 12: 39, 13: 45, 14: 51, 15: 56, 16: 60}
MOST = 500


def score(candidate, case):
    """Return the comparators of six networks, which are the certificate. Raises Invalid for one that does not sort."""
    networks = {n: candidate.call("network", n) for n in CHANNELS}
    for n, network in networks.items():
        check(n, network)
    sizes = {n: len(network) for n, network in networks.items()}
    metrics = {f"n{n}": float(size) for n, size in sizes.items()}
    words = ", ".join(
        f"n = {n}: {size} (best known {KNOWN[n]}, depth {depth(networks[n])})" for n, size in sizes.items()
    )
    certificate = {str(n): network for n, network in networks.items()}
    return prepare.Score(sum(sizes.values()), metrics, f"comparators for {words}", certificate)


def check(n, network):
    """Raise Invalid if a value is no network of n channels, or leaves an input unsorted."""
    if not isinstance(network, list) or len(network) > MOST or not all(is_comparator(n, pair) for pair in network):
        raise prepare.Invalid(f"network({n}) has to return at most {MOST} lists [i, j] of integers, 0 <= i < j < {n}")
    bits = inputs(n)
    for i, j in network:
        bits[i], bits[j] = bits[i] & bits[j], bits[i] | bits[j]
    for channel, (low, high) in enumerate(itertools.pairwise(bits)):
        if wrong := low & ~high:
            number = (wrong & -wrong).bit_length() - 1
            values = [number >> i & 1 for i in range(n)]
            raise prepare.Invalid(
                f"network({n}) does not sort {values}: channel {channel} ends with 1 and channel {channel + 1} with 0 "
                f"({wrong.bit_count()} of {1 << n} inputs fail there)"
            )


def is_comparator(n, pair):
    """Return whether a value is [i, j] with 0 <= i < j < n."""
    return (
        isinstance(pair, list) and len(pair) == 2 and all(type(i) is int for i in pair) and 0 <= pair[0] < pair[1] < n
    )


def inputs(n):
    """Return for each channel its bits over all 2**n inputs of zeros and ones, as one number."""
    everything = (1 << (1 << n)) - 1
    return [(((1 << (1 << i)) - 1) << (1 << i)) * (everything // ((1 << (2 << i)) - 1)) for i in range(n)]


def depth(network):
    """Return the number of layers: comparators of one layer share no channel."""
    ready = {}
    for i, j in network:
        ready[i] = ready[j] = max(ready.get(i, 0), ready.get(j, 0)) + 1
    return max(ready.values(), default=0)
