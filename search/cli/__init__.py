"""Commands of ``python -m search``, one a module."""
