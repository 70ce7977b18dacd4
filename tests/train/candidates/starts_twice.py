"""Asks for a second start of the clock."""


def train(session):
    session.start()
    session.start()


def predict(state, task):
    return None
