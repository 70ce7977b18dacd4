"""How each command ends: its exit status, and outputs that may be closed, go away, be full, or lack characters.

0    done
1    failed, with the reason on standard error
2    what was typed cannot be used: options, settings and their values
130  stopped by Ctrl-C
"""

from __future__ import annotations

import argparse
import codecs
import io
import os
import re
import sys
from collections.abc import Callable
from contextlib import suppress
from typing import Any, TextIO, cast

DONE, FAILED, UNUSABLE, INTERRUPTED = 0, 1, 2, 130
"""Exit statuses."""

Errors = tuple[type[Exception], ...]

_NUMBER = re.compile(r"[+-]?\d[\d,.]*(?:[eE][+-]?\d*)?")
_STREAMS = (("stdin", "r"), ("stdout", "w"), ("stderr", "w"))


class Parser(argparse.ArgumentParser):
    """A parser whose help fails where the output is full; argparse hides that."""

    def _print_message(self, message: str, file: Any = None) -> None:
        if file is sys.stdout:
            sys.stdout.write(message)
        else:
            super()._print_message(message, file)


def run_command(command: Callable[[], int], unusable: Errors, failed: Errors = ()) -> int:
    """Run a command and return its exit status.

    ``unusable`` and ``failed``: errors that are printed as one message, with status 2 and 1; others are raised.
    """
    prepare_outputs()
    try:
        status = _status(command)
        sys.stdout.flush()
        return status
    except unusable as error:
        return _said(error, UNUSABLE)
    except failed as error:
        return _said(error, FAILED)
    except OSError as error:
        return output_status(error)
    except KeyboardInterrupt:
        return INTERRUPTED


def _status(command: Callable[[], int]) -> int:
    try:
        return command()
    except SystemExit as ended:  # of argparse
        return ended.code if isinstance(ended.code, int) else FAILED


def _said(error: Exception, status: int) -> int:
    with suppress(OSError):
        print(f"error: {printable(str(error))}", file=sys.stderr)
    return status


def printable(text: str) -> str:
    """Return ``text`` with every control character but newline and tab replaced by U+FFFD."""
    return "".join(c if c.isprintable() or c in "\n\t" else "\N{REPLACEMENT CHARACTER}" for c in text)


def shortened(text: str, limit: int, mark: str = "…") -> str:
    """Return at most ``limit`` characters of a text; a cut one ends with ``mark``, and never within a number."""
    if len(text) <= limit:
        return text
    end = max(0, limit - len(mark))
    for number in _NUMBER.finditer(text, 0, end + 1):
        if number.start() < end < number.end():
            end = number.start()
    return text[:end].rstrip() + mark


def many(count: int, what: str) -> str:
    """Return ``1 node`` or ``1,200 nodes``."""
    return f"{count:,} {what}{'' if count == 1 else 's'}"


def prepare_outputs() -> None:
    """Make the standard streams usable, whatever the process was started with.

    A closed one (``>&-``) is replaced by /dev/null, also its number: the next file to be opened, an archive, would get
    that number, and with it all that a library prints. Characters that an encoding lacks are written as escapes.
    ``COLUMNS=0``, which a terminal without a size sets, is removed: a width of 0 would show nothing.
    """
    for name, mode in _STREAMS:
        if getattr(sys, name) is None:
            setattr(sys, name, _nowhere(mode))
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    for variable in ("COLUMNS", "LINES"):
        if not os.environ.get(variable, "1").strip("0 "):
            del os.environ[variable]


def use_utf8() -> None:
    """Start this process anew in UTF-8 mode where the locale is ASCII (``LC_ALL=C PYTHONUTF8=0``), else do nothing.

    In such a locale no argument and no file name could have an umlaut. Only for a process that has done nothing yet.
    """
    if codecs.lookup(sys.getfilesystemencoding()).name == "ascii" and sys.executable:
        os.execv(sys.executable, [sys.executable, "-X", "utf8", *sys.orig_argv[1:]])


def output_status(error: OSError) -> int:
    """Return the exit status for an error of standard output: 0 if its reader has gone (``| head``), 1 if it is full.

    Raises the error again if it is not of standard output.
    """
    try:
        print(flush=True)  # fails again if the output has gone
    except OSError:
        silence(sys.stdout)
    else:
        raise error
    if isinstance(error, BrokenPipeError):
        return DONE
    with suppress(OSError):
        print(f"error: the output cannot be written: {error.strerror}", file=sys.stderr)
    return FAILED


def silence(stream: TextIO) -> None:
    """Redirect an output that is gone (``| head``, a full disk), so that the interpreter's last flush does not fail."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, stream.fileno())
    os.close(nowhere)


def _nowhere(mode: str) -> TextIO:
    """Open /dev/null under the lowest free number, which is that of the closed stream."""
    number = os.open(os.devnull, os.O_RDWR)
    os.set_inheritable(number, True)
    return cast(TextIO, open(number, mode, encoding="utf-8"))
