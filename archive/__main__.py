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
from archive.output import output_status, prepare_outputs, use_utf8  # noqa: E402
from archive.query import tables as display  # noqa: E402


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command. Returns the exit status: 0, 1 for a failure, 2 for what is not allowed or not understood."""
    prepare_outputs()
    try:
        options = parse(arguments, sys.stdin.isatty())
        status: int = options.action(options)
        sys.stdout.flush()
        return status
    except ArchiveError as error:
        print(f"error: {display.printable(str(error))}", file=sys.stderr)
        return 2 if isinstance(error, QueryRefused) else 1
    except OSError as error:
        return output_status(error)
    except KeyboardInterrupt:
        return 130


def script() -> None:
    """Run the console script ``treewright-archive``: the same as ``python -m archive``."""
    use_utf8()
    try:
        status = main()
    except SystemExit as ended:  # of argparse
        status = ended.code if isinstance(ended.code, int) else 1
    display.leave(status)


if __name__ == "__main__":
    script()
