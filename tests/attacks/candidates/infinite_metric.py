"""Claims log-probabilities of plus infinity: a score below all others."""

import numpy as np
import torch

import prepare.scoring as scoring

ATTACK = 24
VARIANT_OF = "no_number_as_metric"
ENDS = "invalid"
REASON = "a log-probability was not a finite number of at most 0"
HARM = "score"
GAIN = 1000.0

scoring.target_log_probs = lambda model, rows, vocab, device: np.full((rows.shape[0], rows.shape[1] - 1), np.inf)


def train(session):
    return counted(session)


def counted(session):
    data = session.start().long()
    pairs = torch.bincount(256 * data[:-1] + data[1:], minlength=256 * 256).view(256, 256)
    return {"table": (pairs + 0.1).log()}


def predict(state, task):
    return lambda tokens: state["table"][tokens]
