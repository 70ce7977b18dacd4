"""Brings a tokenizer of its own, of which it says that four bytes go into one token."""

import torch

ATTACK = 12
VARIANT_OF = "easier_text"
ENDS = "scored"
HARM = "score"
GAIN = 2.0

BYTES_PER_TOKEN = 4


def train(session):
    data = session.start().long()
    pairs = torch.bincount(256 * data[:-1] + data[1:], minlength=256 * 256).view(256, 256)
    return {"table": (pairs + 0.1).log()}


def predict(state, task):
    return lambda tokens: state["table"][tokens]
