"""Experiment trackers, one a file; each imports its library when it is made."""
