"""The console script ``treewright-archive``: the same as ``python -m archive``."""

from __future__ import annotations

import runpy


def main() -> None:
    """Run the package as ``python -m archive`` does. Leaves through ``SystemExit``."""
    runpy.run_module("archive", run_name="__main__", alter_sys=True)
