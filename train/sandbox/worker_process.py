"""The process of a worker inside a sandbox: confine it, open its channel, print what ends it, and leave at once.

Both workers import this module out of the folder LIBRARY, into which it is copied beside them. Modules are imported
where they are needed: most evaluations of a program take less time than importing all of them.
"""

from __future__ import annotations

import builtins
import faulthandler
import os
import sys

TYPE_CHECKING = False  # as typing has it, which takes as long to import as an interpreter to start
if TYPE_CHECKING:
    from collections.abc import Callable, Collection
    from typing import Any, NoReturn

    from prepare.wire import Channel

    Serve = Callable[[Channel, dict[str, Any], list[str]], None]


def run_worker(
    arguments: list[str], serve: Serve, prepare: Callable[[], object], hidden: Collection[str] = ()
) -> NoReturn:
    """Serve one session, then exit at once, without waiting for exit handlers or threads of the candidate.

    ``arguments``: FD LIBRARY SITES CANDIDATE TIER, see the workers; with a sixth, ``fork``, be a fork server first, see
    ``train.sandbox.confine.forks``, which calls ``prepare`` once. ``serve`` gets the channel, the first message and
    ``arguments``, in a confined process. ``hidden``: files whose lines no traceback begins with.
    """
    status = 1
    try:
        sys.path += arguments[2].split(os.pathsep)
        sys.dont_write_bytecode = True
        if arguments[5:]:
            arguments = _forked(arguments, prepare)
        serve(*_confined(arguments), arguments)
        status = 0
    except SystemExit as leaving:
        status = leaving.code if isinstance(leaving.code, int) else int(leaving.code is not None)
        if not isinstance(leaving.code, int | None):
            _tell(leaving, hidden)
    except BaseException as error:  # noqa: BLE001 - printed in full; the exit status reports the error
        _tell(error, hidden)
    finally:
        _flush()
        os._exit(status & 0xFF)


def _forked(arguments: list[str], prepare: Callable[[], object]) -> list[str]:
    """Serve forks; return in a worker with its own arguments."""
    from confine.forks import serve_forks  # type: ignore[import-not-found]  # as below

    sys.argv[1:] = [str(serve_forks(int(arguments[0]), prepare)), *arguments[1:5]]
    sys.orig_argv[-len(arguments) :] = sys.argv[1:]
    return sys.argv[1:]


def _confined(arguments: list[str]) -> tuple[Channel, dict[str, Any]]:
    """Confine this process as the first frame says; return the channel and that frame's message."""
    descriptor, _library, _sites, _candidate, tier = arguments
    import _socket  # as socket, whose import takes as long as an interpreter to start

    from confine import confine  # type: ignore[import-not-found]  # train/sandbox/confine, copied into LIBRARY

    from prepare.wire import Channel

    os.set_inheritable(int(descriptor), False)  # commands do not get it
    channel = Channel(_socket.socket(fileno=int(descriptor)))
    hello = channel.receive().message
    confine(hello, tier)
    faulthandler.enable()  # so that a segmentation fault leaves a traceback
    for stream in (sys.stdout, sys.stderr):  # so that a program that hangs or is killed has a log
        stream.reconfigure(encoding="utf-8", errors="backslashreplace", line_buffering=True, write_through=False)  # type: ignore[union-attr]
    vars(builtins).update(exit=sys.exit, quit=sys.exit)  # as where Python starts with its site module
    return channel, hello


def _tell(error: BaseException, hidden: Collection[str]) -> None:
    """Write a traceback to descriptor 2 after all that was printed: the stream may be replaced or closed."""
    import traceback

    _flush()
    trace = error.__traceback__
    while trace is not None and trace.tb_frame.f_code.co_filename in {*hidden, __file__}:
        trace = trace.tb_next  # begin with the candidate's own lines
    text = "".join(traceback.format_exception(type(error), error, trace))
    try:
        os.write(2, b"\n" + text.encode("utf-8", "replace"))
    except OSError:
        return


def _flush() -> None:
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except Exception:  # noqa: BLE001 - the candidate may have replaced or closed it
            continue
