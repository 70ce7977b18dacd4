"""A state within the limit of bytes, and above that of elements."""

import torch


def train(session):
    session.start()
    return {"half": torch.zeros(300_000, dtype=torch.uint8)}


def predict(state, task):
    return None
