"""How many examples hypothesis tries: fewer in CI than at night (the profiles of ``tests/conftest.py``)."""

from __future__ import annotations

from hypothesis import settings


def examples(dearer: int) -> int:
    """Return the number of examples for a test whose examples take ``dearer`` times as long as others."""
    return settings().max_examples // dearer
