"""The search: loop, budgets, policies, statistics, progress. ``python -m search --help``."""
