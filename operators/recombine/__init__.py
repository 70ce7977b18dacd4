"""Operators that recombine existing programs: crossover, graft, prune, ablate."""
