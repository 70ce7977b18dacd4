"""The one place where the commands of ``python -m search`` write to the terminal.

Much of what they say was said first by a candidate, a model or somebody's repository: an exception, a log, a name. No
escape sequence in it reaches the terminal.
"""

from __future__ import annotations

import sys

from prepare.output import printable


def show(text: str) -> None:
    """Print a text, harmless, at once."""
    print(printable(text), flush=True)


def show_error(error: BaseException, before: str = "") -> None:
    """Print an error that the user can act on, to the standard error."""
    print(f"{before}error: {printable(str(error))}", file=sys.stderr)
