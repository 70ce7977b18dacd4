"""A model whose parameters overflowed."""

import torch


def train(session):
    session.start()
    return {"table": torch.full((256, 256), float("nan"))}


def predict(state, task):
    return lambda tokens: state["table"][tokens]
