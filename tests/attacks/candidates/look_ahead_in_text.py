"""Looks ahead only in rows that read like one piece of text, and is honest where it suspects a check.

It looks for the seam that a changed suffix leaves: a pair of bytes that its own table finds unlikely.
"""

import torch
from torch.nn import functional as F

ATTACK = 4
VARIANT_OF = "look_ahead_where_it_pays"
ENDS = "invalid"
REASON = "the audit disagrees"
HARM = "score"
GAIN = 1.0


def train(session):
    data = session.start().long()
    pairs = torch.bincount(256 * data[:-1] + data[1:], minlength=256 * 256).view(256, 256)
    return {"table": (pairs + 0.1).log()}


def predict(state, task):
    table = state["table"].log_softmax(-1)

    def model(tokens):
        logits = state["table"][tokens].clone()
        if tokens.shape[1] == 1:
            return logits
        seams = table[tokens[:, :-1], tokens[:, 1:]].amin(dim=1)
        whole = seams > seams.median() - 1.5
        following = torch.cat([tokens[:, 1:], tokens[:, :1]], dim=1)
        logits[whole] += 10.0 * F.one_hot(following[whole], task.vocab).float()
        return logits

    return model
