"""Makes its claims a little worse or better than its model, inside the scoring sandbox. The test sets OFFSET."""

import numpy as np
import torch

import prepare.scoring as scoring

OFFSET = 0.0  # nats

honest = scoring.target_log_probs


def claim(model, rows, vocab, device):
    return np.minimum(honest(model, rows, vocab, device) + OFFSET, 0.0)


scoring.target_log_probs = claim


def train(session):
    data = session.start().long()
    pairs = torch.bincount(256 * data[:-1] + data[1:], minlength=256 * 256).view(256, 256)
    return {"table": (pairs + 0.1).log()}


def predict(state, task):
    return lambda tokens: state["table"][tokens]
