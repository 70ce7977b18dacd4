"""Numeric search over a program's parameters: Gaussian-process surrogate, TPE."""
