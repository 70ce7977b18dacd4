"""Phases of a search: baseline runs, replication, drafts, debugging, stagnation."""
