"""Commands of ``python -m archive``."""
