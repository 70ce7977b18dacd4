"""Leaves its dropout on when it predicts."""

import torch
from torch.nn import functional as F


def train(session):
    session.start()
    return {"table": torch.randn(256, 256)}


def predict(state, task):
    return lambda tokens: F.dropout(state["table"][tokens], 0.5, training=True)
