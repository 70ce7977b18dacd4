"""Plays whole searches on tables of real trainings, asking the candidate for each next setting."""

from search.playing import proposer


def cases(split, rng):
    """Yield the searches of a split; the seeds are fixed, so that all candidates play the same ones."""
    return proposer.cases(split)


def score(candidate, case):
    """Return the utility of one search."""
    return proposer.score(candidate, case)
