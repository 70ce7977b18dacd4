"""Writes to the training data, which is mapped read-only."""


def train(session):
    session.start()[0] = 1


def predict(state, task):
    return None
