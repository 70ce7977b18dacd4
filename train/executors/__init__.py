"""Executors: where evaluations run (this machine, a Ray cluster)."""
