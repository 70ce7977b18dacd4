"""A state of many times the bytes that are taken."""

import torch


def train(session):
    session.start()
    return {"table": torch.zeros(5_000_000)}


def predict(state, task):
    return None
