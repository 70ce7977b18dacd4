"""One Ray cluster for the tests of a module: a head without slots, to which each test adds its nodes."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from ray_nodes import RayNodes


@pytest.fixture(scope="module")
def cluster() -> Iterator[RayNodes]:
    """For tests of ``xdist_group("ray")``, which one worker runs."""
    with RayNodes(nodes=0) as made:
        yield made
