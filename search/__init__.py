"""The search: loop, budgets, policies, statistics, progress. ``python -m search --help``.

In a notebook ``search.Search`` is the same search to ask and to tell (``search/api.py``). The names below are
loaded when they are first used, so that ``import search`` costs nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from archive.records import Request as Request
    from search.api import Search as Search
    from search.config import Budget as Budget
    from search.function_task import OwnTask as OwnTask

    __version__: str

_HOMES = {
    "Search": "search.api",
    "Budget": "search.config",
    "OwnTask": "search.function_task",
    "Request": "archive.records",
}

__all__ = ["Budget", "OwnTask", "Request", "Search", "__version__"]


def __getattr__(name: str) -> Any:
    if name == "__version__":
        return import_module("importlib.metadata").version("treewright")
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
