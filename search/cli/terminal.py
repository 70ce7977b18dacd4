"""Terminal output of the commands of ``python -m search``.

Much of what they say was said first by a candidate, a model or somebody's repository: an exception, a log, a name. No
escape sequence in it reaches the terminal.
"""

from __future__ import annotations

import sys

from prepare.output import printable


def show(text: str) -> None:
    """Print a text without control characters, and flush the output."""
    print(printable(text), flush=True)


def show_error(error: BaseException, before: str = "") -> None:
    """Print an error to standard error, without control characters."""
    print(f"{before}error: {printable(str(error))}", file=sys.stderr)
