"""Operators that recombine existing programs: crossover, prune, ablate."""
