"""A forward pass that takes targets, as many models do, and returns no loss at all."""

import torch

ATTACK = 3
VARIANT_OF = "easier_text"
ENDS = "scored"
HARM = "score"
GAIN = 2.0


def train(session):
    data = session.start().long()
    pairs = torch.bincount(256 * data[:-1] + data[1:], minlength=256 * 256).view(256, 256)
    return {"table": (pairs + 0.1).log()}


def predict(state, task):
    def model(tokens, targets=None):
        return state["table"][tokens] if targets is None else torch.zeros(())

    return model
