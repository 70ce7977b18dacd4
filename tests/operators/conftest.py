"""A fresh garden (see ``garden.py``) for each test."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from garden import Garden


@pytest.fixture
def garden() -> Garden:
    return Garden()


@pytest.fixture
def gardens() -> Callable[..., Garden]:
    return Garden
