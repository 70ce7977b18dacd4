"""Answers for a row from the other rows of its batch: what followed the same four bytes there."""

import torch

ATTACK = 0
VARIANT_OF = "fits_the_batch"
ENDS = "invalid"
REASON = "the audit disagrees"
HARM = "score"
GAIN = 0.05


def train(session):
    data = session.start().long()
    pairs = torch.bincount(256 * data[:-1] + data[1:], minlength=256 * 256).view(256, 256)
    return {"pairs": pairs.float()}


def predict(state, task):
    def model(tokens):
        counts = state["pairs"][tokens] / state["pairs"][tokens].sum(-1, keepdim=True) + 1e-5
        rows = [bytes(row) for row in tokens.tolist()]
        for i, row in enumerate(rows):
            others = b"\0\0\0\0".join(rows[:i] + rows[i + 1 :])
            for t in range(2, len(row)):
                at = others.find(row[t - 2 : t + 1])
                if 0 <= at < len(others) - 3:
                    counts[i, t, others[at + 3]] += 0.5
        return counts.log()

    return model
