"""``python -m search``, ``archive`` and ``prepare`` inside the process of the tests: a start of Python costs a second.

What only a process of its own can show (signals, a terminal, a kill, imports, a working directory that holds modules)
is tested with ``launching``.
"""

from __future__ import annotations

import contextlib
import io
import logging
import os
import subprocess
import sys
import traceback
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path

from hydra.core.singleton import Singleton
from launching import STUB, environment


def search(
    folder: Path, *words: str, stub: bool = True, timeout: float = 0, **variables: str
) -> subprocess.CompletedProcess[str]:
    """As ``launching.search``: one search in ``folder``, to its end."""
    from search.__main__ import main

    typed = [*(STUB if stub else ()), *words]
    return called(main, ["search", *typed], folder, **variables)


def archive(folder: Path, *words: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """``python -m archive`` in ``folder``."""
    from archive.__main__ import main

    return called(lambda: main(words), ["archive", *words], folder, **variables)


def prepare(folder: Path, *words: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """``python -m prepare`` in ``folder``."""
    from prepare.__main__ import main

    return called(lambda: main(list(words)), ["prepare", *words], folder, **variables)


def run(words: Sequence[str], folder: Path, timeout: float = 0, **variables: str) -> subprocess.CompletedProcess[str]:
    """As ``launching.run``, for ``[python, "-m", "search" or "archive", ...]``; the only timeout is the test's."""
    assert words[1] == "-m", words
    command = {"search": partial(search, stub=False), "archive": archive}[words[2]]
    return command(folder, *words[3:], **variables)


def called(
    main: Callable[[], object], typed: Sequence[str], folder: Path, **variables: str
) -> subprocess.CompletedProcess[str]:
    """What a command printed, and its exit status; an exception that it does not catch is printed, with status 1."""
    said, errors = io.StringIO(), io.StringIO()
    printed = contextlib.redirect_stdout(said), contextlib.redirect_stderr(errors)
    with _as_a_process(typed, folder, environment(**variables)), printed[0], printed[1]:
        status = _status(main)
    return subprocess.CompletedProcess(list(typed), status, said.getvalue(), errors.getvalue())


def _status(main: Callable[[], object]) -> int:
    try:
        found = main()
        return found if isinstance(found, int) else 0
    except SystemExit as ended:
        if ended.code is None or isinstance(ended.code, int):
            return ended.code or 0
        print(ended.code, file=sys.stderr)
        return 1
    except Exception:  # noqa: BLE001 - as the interpreter does at its end
        traceback.print_exc()
        return 1


@contextlib.contextmanager
def _as_a_process(typed: Sequence[str], folder: Path, variables: dict[str, str]) -> Iterator[None]:
    """The command line, the working folder and the environment of a process; all of it is put back."""
    before = list(sys.argv), os.getcwd(), dict(os.environ), list(sys.path), Singleton.get_state()
    handlers, level = list(logging.root.handlers), logging.root.level
    try:
        os.environ.clear()
        os.environ.update(variables)
        os.chdir(folder)
        sys.argv[:] = typed
        sys.path[:0] = filter(None, variables.get("PYTHONPATH", "").split(os.pathsep))
        yield
    finally:
        sys.argv[:], _, _, sys.path[:], _ = before
        os.chdir(before[1])
        os.environ.clear()
        os.environ.update(before[2])
        Singleton.set_state(before[4])
        logging.root.handlers[:], logging.root.level = handlers, level
