"""Logits of infinity for the byte that its table likes best: the normaliser is no number, and neither is the score."""

import torch

ATTACK = 24
VARIANT_OF = "no_number_as_metric"
ENDS = "invalid"
REASON = "a log-probability was not a finite number of at most 0"
HARM = "score"
GAIN = 1.0


def train(session):
    return counted(session)


def counted(session):
    data = session.start().long()
    pairs = torch.bincount(256 * data[:-1] + data[1:], minlength=256 * 256).view(256, 256)
    return {"table": (pairs + 0.1).log()}


def predict(state, task):
    best = state["table"].argmax(-1, keepdim=True)
    table = state["table"].scatter(-1, best, float("inf"))
    return lambda tokens: table[tokens]
