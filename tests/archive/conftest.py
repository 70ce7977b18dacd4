"""What tests of the archive share: a browser for each module, a git without a user, a repository, nodes to export."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from browser import close_browser
from export_book import Book, lonely_git, make_family, make_repo


@pytest.fixture(scope="module", autouse=True)
def browser_of_a_module() -> Iterator[None]:
    yield
    close_browser()


@pytest.fixture
def alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lonely_git(tmp_path, monkeypatch)


@pytest.fixture
def repo(tmp_path: Path) -> Path:
    return make_repo(tmp_path / "repo")


@pytest.fixture
def family() -> Book:
    return make_family()
