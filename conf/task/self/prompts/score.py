"""Judges prompts by the proposals that the task's language model makes of them."""

from search.playing import prompts


def cases(split, rng):
    """Yield the proposals of a split; the programs are fixed, so that all candidates are asked about the same ones."""
    return prompts.cases(split)


def score(candidate, case):
    """Return the utility of one proposal."""
    return prompts.score(candidate, case)
