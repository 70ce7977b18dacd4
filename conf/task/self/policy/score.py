"""Plays whole searches on tables of real trainings, asking the candidate how promising each node is."""

from search.playing import policy


def cases(split, rng):
    """Yield the searches of a split; the seeds are fixed, so that all candidates play the same ones."""
    return policy.cases(split)


def score(candidate, case):
    """Return the utility of one search."""
    return policy.score(candidate, case)
