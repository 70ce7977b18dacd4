"""Reports a loss that is no number."""


def train(session):
    session.start()
    session.report(step=3, loss=float("nan"))
    while True:
        pass


def predict(state, task):
    return None
