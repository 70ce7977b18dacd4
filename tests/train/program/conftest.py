"""Sandboxes of the candidates of a toy task: see ``sandboxed_programs`` in tests/support."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from sandboxed_programs import Start, make_task, starter

from train.progress import Progress
from train.sandbox.base import Sandbox, SandboxUnavailable, find_sandbox


@pytest.fixture(scope="session", params=["bwrap", "landlock", "none"])
def any_sandbox(request: pytest.FixtureRequest) -> Sandbox:
    try:
        return find_sandbox(request.param)
    except SandboxUnavailable as error:
        pytest.skip(str(error))


@pytest.fixture(scope="session")
def best_sandbox() -> Sandbox:
    try:
        return find_sandbox("auto")
    except SandboxUnavailable as error:
        pytest.skip(str(error))


@pytest.fixture
def progress() -> Progress:
    return Progress()


@pytest.fixture
def start(tmp_path: Path, best_sandbox: Sandbox, progress: Progress) -> Iterator[Start]:
    """Opens sandboxes of the best tier."""
    yield from starter(make_task(tmp_path), best_sandbox, progress)


@pytest.fixture
def start_any(tmp_path: Path, any_sandbox: Sandbox, progress: Progress) -> Iterator[Start]:
    """Opens sandboxes of each tier."""
    yield from starter(make_task(tmp_path), any_sandbox, progress)
