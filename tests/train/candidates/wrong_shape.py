"""Logits for one position too few: an ordinary mistake, whose traceback must be readable."""

import torch


def train(session):
    session.start()
    return {"table": torch.zeros(256, 256)}


def predict(state, task):
    return lambda tokens: state["table"][tokens[:, 1:]]
