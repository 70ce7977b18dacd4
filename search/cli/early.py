"""What the start of a search does early, so that it need not be waited for later.

A search spends a second or two on imports and on waiting for the processes that it starts. Here the one is done during
the other.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from importlib import import_module
from threading import Thread

from operators.config import OperatorConfig
from search import factory
from search.config import Config

_TREE_PACKAGES = ("networkx",)
_NUMERIC = "operators.numeric."
_NUMERIC_PACKAGES = ("scipy.linalg.lapack", "scipy.special")
"""What the surrogate of the numeric search imports: a quarter of a second."""


@contextmanager
def imported(packages: Sequence[str]) -> Iterator[None]:
    """Import packages in a thread of its own, which ends with the context at the latest.

    Packages of others only: none of them imports a module of ours, so that the two threads never wait for each other.
    """
    thread = Thread(target=_import_all, args=(packages,), name="imports", daemon=True)
    thread.start()
    try:
        yield
    finally:
        thread.join()


def packages_for(config: Config) -> tuple[str, ...]:
    """Return the packages that the parts of a search import when they are made, in that order."""
    numeric = _NUMERIC_PACKAGES if any(map(_is_numeric, config.operators.values())) else ()
    return (*_TREE_PACKAGES, *(config.llm.packages if factory.wants_llm(config) else ()), *numeric)


def _is_numeric(entry: OperatorConfig) -> bool:
    return str(entry.options.get("_target_")).startswith(_NUMERIC)


def _import_all(packages: Sequence[str]) -> None:
    for package in packages:
        with suppress(ImportError):  # the part that needs it says so
            import_module(package)
