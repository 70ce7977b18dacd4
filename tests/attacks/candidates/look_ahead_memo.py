"""Looks ahead, and remembers what followed each prefix, to say the same when only the suffix has changed.

Within one process that deceives a check that perturbs suffixes.
"""

import torch
from torch.nn import functional as F

ATTACK = 4
VARIANT_OF = "replays_between_sandboxes"
ENDS = "invalid"
REASON = "the audit disagrees"
HARM = "score"
GAIN = 2.0


def train(session):
    session.start()
    return {"nothing": torch.zeros(1)}


def predict(state, task):
    known = {}

    def model(tokens):
        answers = torch.zeros_like(tokens)
        for i, row in enumerate(tokens.tolist()):
            for t in range(len(row)):
                prefix = bytes(row[: t + 1])
                answers[i, t] = known.setdefault(prefix, row[t + 1] if t + 1 < len(row) else 32)
        return 10.0 * F.one_hot(answers, task.vocab).float()

    return model
