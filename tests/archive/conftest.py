"""What the tests of the export share: a git that knows no user, a repository, and a family of nodes to export."""

from __future__ import annotations

from pathlib import Path

import pytest
from export_book import Book, lonely_git, make_family, make_repo


@pytest.fixture
def alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lonely_git(tmp_path, monkeypatch)


@pytest.fixture
def repo(tmp_path: Path) -> Path:
    return make_repo(tmp_path / "repo")


@pytest.fixture
def family() -> Book:
    return make_family()
