"""Terminal output of the commands of ``python -m search``.

Much of what they say was said first by a candidate, a model or somebody's repository: an exception, a log, a name. No
escape sequence in it reaches the terminal.
"""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout

from prepare.output import printable


def show(text: str) -> None:
    """Print a text without control characters, and flush the output."""
    print(printable(text), flush=True)


def show_json(value: object) -> None:
    """Print a value as JSON. What JSON does not have (infinity, NaN) is null; all but ASCII is escaped."""
    print(json.dumps(_finite(value), indent=2), flush=True)


@contextmanager
def progress_aside(as_json: bool) -> Iterator[None]:
    """With ``as_json``, print on standard error what is shown meanwhile: standard output is for the JSON at the end."""
    if not as_json:
        yield
        return
    with redirect_stdout(sys.stderr):
        yield


def _finite(value: object) -> object:
    match value:
        case float():
            return value if math.isfinite(value) else None
        case dict():
            return {str(key): _finite(item) for key, item in value.items()}
        case list() | tuple():
            return [_finite(item) for item in value]
    return value


def show_error(error: BaseException, before: str = "") -> None:
    """Print an error to standard error, without control characters."""
    print(f"{before}error: {printable(str(error))}", file=sys.stderr)
