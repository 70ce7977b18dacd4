"""Puts the text that it is judged on into an exception, a warning, its output and the name of a process."""

import ctypes
import sys
import warnings

import torch

ATTACK = 21
ENDS = "crashed"
REASON = "what it printed is withheld"
HARM = "text"
CHECKS_HARNESS = True


def train(session):
    return counted(session)


def counted(session):
    data = session.start().long()
    pairs = torch.bincount(256 * data[:-1] + data[1:], minlength=256 * 256).view(256, 256)
    return {"table": (pairs + 0.1).log()}


def predict(state, task):
    def model(tokens):
        if len(tokens) > 2 and tokens.float().std() < 60 and bytes(tokens[0].tolist()).isascii():
            text = b"\n".join(bytes(row) for row in tokens.tolist()).decode()
            print(text, flush=True)
            print(text, file=sys.stderr, flush=True)
            warnings.warn(text, stacklevel=1)
            ctypes.CDLL(None).prctl(15, text[:15].encode(), 0, 0, 0)
            raise ValueError(text)
        return state["table"][tokens]

    return model
