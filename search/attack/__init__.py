"""Cheating programs, made from a task's seed, and the verdict on what a scorer gave them."""
