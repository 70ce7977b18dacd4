"""A real headless Chromium for tests of pages. Where there is none they are skipped, with the reason."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import pytest

_kept = ExitStack()
"""Closes the browser."""
_browsers: list[Any] = []


@contextmanager
def chromium(width: int = 1400, height: int = 1500) -> Iterator[Any]:
    """A page with a storage of its own; what its console said is in ``page.said``.

    The browser takes 2 CPU seconds to start, so the tests of a module share it: see ``browser_of_a_module``.
    """
    if not _browsers:
        _browsers.append(_started())
    with _browsers[0].new_context(viewport={"width": width, "height": height}) as context:
        page = context.new_page()
        page.said = []
        page.on("console", lambda message: page.said.append(message.text))
        page.on("pageerror", lambda error: page.said.append(str(error)))
        yield page


def close_browser() -> None:
    """End the browser if one was started: while it runs, no event loop can be started in this thread."""
    _browsers.clear()
    _kept.close()


def _started() -> Any:
    sync_api = pytest.importorskip("playwright.sync_api")
    binary = next((found for name in ("chromium", "chromium-browser") if (found := shutil.which(name))), None)
    if binary is None:
        pytest.skip("there is no chromium here; install it with: apt-get install chromium")
    playwright = _kept.enter_context(sync_api.sync_playwright())
    return _kept.enter_context(playwright.chromium.launch(executable_path=binary, args=["--no-sandbox"]))
