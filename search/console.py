"""The console script ``treewright``: the same as ``python -m search``."""

from __future__ import annotations

import runpy


def main() -> None:
    """Run the package as ``python -m search`` does. Leaves through ``SystemExit``."""
    runpy.run_module("search", run_name="__main__", alter_sys=True)
