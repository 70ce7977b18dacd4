"""SQL on an archive, and short forms of the usual questions; see ``python -m archive --help``."""

from __future__ import annotations

import sys
from pathlib import Path

# A file in the current directory (an exported train.py, say) must not stand in for our packages.
_HOUSE = str(Path(__file__).resolve().parent.parent)
_HERE = {"", str(Path.cwd())}
sys.path[:] = [_HOUSE, *(p for p in sys.path if p not in {_HOUSE, *_HERE}), str(Path.cwd())]

from collections.abc import Sequence  # noqa: E402

from archive.cli.parser import parse  # noqa: E402
from archive.errors import ArchiveError, QueryRefused  # noqa: E402
from archive.query.tables import leave  # noqa: E402
from prepare.output import run_command, use_utf8  # noqa: E402


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command. Returns the exit status (``prepare.output``); 2 also for statements that are not allowed."""
    return run_command(lambda: _run(arguments), unusable=(QueryRefused,), failed=(ArchiveError,))


def _run(arguments: Sequence[str] | None) -> int:
    options = parse(arguments, sys.stdin.isatty())
    status: int = options.action(options)
    return status


def script() -> None:
    """Run the console script ``treewright-archive``: the same as ``python -m archive``."""
    use_utf8()
    leave(main())


if __name__ == "__main__":
    script()
