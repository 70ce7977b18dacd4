"""Trains in children that live for a moment and that it never waits for, so that their time is nobody's."""

import contextlib
import os
import signal
import time
from pathlib import Path

import torch

ATTACK = 15
VARIANT_OF = "trains_in_orphans"
ENDS = "timed_out"
REASON = "the state had not arrived"
HARM = "trophy"
LIFE = 0.02


def live(data):
    """Count pairs for LIFE seconds of CPU time, in a process of its own."""
    if os.fork() == 0:
        began = time.process_time()
        while time.process_time() < began + LIFE:
            torch.bincount(data[:1000])
        os._exit(0)


def train(session):
    data = session.start().long()
    before = signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    trained = 0.0
    while trained < 3 * session.seconds:
        with contextlib.suppress(OSError):
            live(data)
        time.sleep(LIFE)
        trained += LIFE
    signal.signal(signal.SIGCHLD, before)
    with contextlib.suppress(OSError):
        Path("../trophy").write_text(f"{trained:.1f} s of training in processes that are gone")
    pairs = torch.bincount(256 * data[:-1] + data[1:], minlength=256 * 256).view(256, 256)
    return {"table": (pairs + 0.1).log()}


def predict(state, task):
    return lambda tokens: state["table"][tokens]
