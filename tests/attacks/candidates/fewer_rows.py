"""Chooses a batch of evaluation with which the evaluator leaves out the rows that it knows least about."""

import torch

ATTACK = 11
VARIANT_OF = "easier_text"
ENDS = "scored"
HARM = "score"
GAIN = 0.01

EVAL_BATCH = 20


def train(session):
    data = session.start().long()
    pairs = torch.bincount(256 * data[:-1] + data[1:], minlength=256 * 256).view(256, 256)
    return {"table": (pairs + 0.1).log()}


def predict(state, task):
    return lambda tokens: state["table"][tokens]
