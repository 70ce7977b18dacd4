"""Trains in threads for three times its budget, while its main thread sleeps."""

import contextlib
import threading
import time
from pathlib import Path

import torch

ATTACK = 15
VARIANT_OF = "trains_in_orphans"
ENDS = "timed_out"
REASON = "the state had not arrived"
HARM = "trophy"
THREADS = 3


def learn(data, seconds):
    """Count pairs for so many seconds of this thread's CPU time."""
    while time.thread_time() < seconds:
        torch.bincount(data[:1000])


def train(session):
    data = session.start().long()
    threads = [threading.Thread(target=learn, args=(data, session.seconds)) for _ in range(THREADS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with contextlib.suppress(OSError):
        Path("../trophy").write_text(f"{THREADS} threads have trained for a budget each")
    pairs = torch.bincount(256 * data[:-1] + data[1:], minlength=256 * 256).view(256, 256)
    return {"table": (pairs + 0.1).log()}


def predict(state, task):
    return lambda tokens: state["table"][tokens]
