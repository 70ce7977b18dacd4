"""Sandboxes: bubblewrap, Landlock, resource limits, process supervision."""
