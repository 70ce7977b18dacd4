"""Prints without end, in long lines and in short ones."""

import os

import torch

ATTACK = 27
ENDS = "timed_out"
REASON = "the state had not arrived"
HARM = "greed"


def train(session):
    state = counted(session)
    left = 20 if "MERCY" in os.environ else 10**9
    while left := left - 1:
        os.write(1, b"x" * 1_000_000)
        os.write(2, b"y\n" * 1000)
    print("\ntook it all", flush=True)
    return state


def counted(session):
    data = session.start().long()
    pairs = torch.bincount(256 * data[:-1] + data[1:], minlength=256 * 256).view(256, 256)
    return {"table": (pairs + 0.1).log()}


def predict(state, task):
    return lambda tokens: state["table"][tokens]
