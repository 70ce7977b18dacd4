"""Looks ahead in two columns of thirty-two only, and is honest in all others."""

import torch
from torch.nn import functional as F

ATTACK = 0
VARIANT_OF = "changes_with_its_calls"
ENDS = "invalid"
REASON = "the audit disagrees"
HARM = "score"
GAIN = 0.1


def train(session):
    data = session.start().long()
    pairs = torch.bincount(256 * data[:-1] + data[1:], minlength=256 * 256).view(256, 256)
    return {"table": (pairs + 0.1).log()}


def predict(state, task):
    def model(tokens):
        logits = state["table"][tokens].clone()
        following = torch.cat([tokens[:, 1:], tokens[:, :1]], dim=1)
        columns = torch.arange(tokens.shape[1]) % 16 == 3
        logits[:, columns] += 10.0 * F.one_hot(following[:, columns], task.vocab).float()
        return logits

    return model
