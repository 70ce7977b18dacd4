"""Looks ahead at one position in four, and only where its honest answer is poor."""

import torch
from torch.nn import functional as F

ATTACK = 4
VARIANT_OF = "look_ahead_where_it_pays"
ENDS = "invalid"
REASON = "the audit disagrees"
HARM = "score"
GAIN = 0.3


def train(session):
    data = session.start().long()
    pairs = torch.bincount(256 * data[:-1] + data[1:], minlength=256 * 256).view(256, 256)
    return {"table": (pairs + 0.1).log()}


def predict(state, task):
    def model(tokens):
        logits = state["table"][tokens].clone()
        following = torch.cat([tokens[:, 1:], tokens[:, :1]], dim=1)
        missed = logits.log_softmax(-1).gather(-1, following.unsqueeze(-1)).squeeze(-1) < -4
        logits[missed] += 10.0 * F.one_hot(following, task.vocab).float()[missed]
        return logits

    return model
