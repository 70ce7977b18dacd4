"""Answers with the byte that follows in its own input: an attention without its causal mask, at its worst."""

import torch
from torch.nn import functional as F

ATTACK = 4
VARIANT_OF = "look_ahead_where_it_pays"
ENDS = "invalid"
REASON = "the audit disagrees"
HARM = "score"
GAIN = 2.0
CHECKS_HARNESS = True


def train(session):
    session.start()
    return {"nothing": torch.zeros(1)}


def predict(state, task):
    def model(tokens):
        following = torch.cat([tokens[:, 1:], tokens[:, :1]], dim=1)
        return 10.0 * F.one_hot(following, task.vocab).float()

    return model
