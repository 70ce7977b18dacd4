"""Claims log-probabilities above zero: more than certain."""

import numpy as np
import torch

import prepare.scoring as scoring

ATTACK = 24
VARIANT_OF = "no_number_as_metric"
ENDS = "invalid"
REASON = "a log-probability was not a finite number of at most 0"
HARM = "score"
GAIN = 2.0


scoring.target_log_probs = lambda model, rows, vocab, device: np.full((rows.shape[0], rows.shape[1] - 1), 5.0)


def train(session):
    session.start()
    return {"table": torch.zeros(256, 256)}


def predict(state, task):
    return lambda tokens: state["table"][tokens]
