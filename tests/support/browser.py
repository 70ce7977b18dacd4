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
_free: list[Any] = []
"""The page that no test uses."""


@contextmanager
def chromium(width: int = 1400, height: int = 1500) -> Iterator[Any]:
    """A page of that size at ``about:blank``; what its console says is in ``page.said``.

    The browser takes 1 CPU second to start and each new page 2, so the tests of a module share one (see
    ``browser_of_a_module``): our pages store nothing. None gets the page of a test that failed.
    """
    page = _free.pop() if _free else _browser().new_page()
    page.set_viewport_size({"width": width, "height": height})
    page.set_default_timeout(60_000)  # a busy machine is no failure
    page.said = []
    heard = {"console": lambda message: page.said.append(message.text), "pageerror": lambda e: page.said.append(str(e))}
    for event, hear in heard.items():
        page.on(event, hear)
    yield page
    page.goto("about:blank")
    page.emulate_media(color_scheme="light")
    for event, hear in heard.items():
        page.remove_listener(event, hear)
    _free.append(page)


def close_browser() -> None:
    """End the browser if one was started: while it runs, no event loop can be started in this thread."""
    _free.clear()
    _browsers.clear()
    _kept.close()


def _browser() -> Any:
    if not _browsers:
        _browsers.append(_started())
    return _browsers[0]


def _started() -> Any:
    sync_api = pytest.importorskip("playwright.sync_api")
    binary = next((found for name in ("chromium", "chromium-browser") if (found := shutil.which(name))), None)
    if binary is None:
        pytest.skip("there is no chromium here; install it with: apt-get install chromium")
    playwright = _kept.enter_context(sync_api.sync_playwright())
    return _kept.enter_context(playwright.chromium.launch(executable_path=binary, args=["--no-sandbox"]))
