"""Reports a loss that no float can hold."""


def train(session):
    session.start()
    session._tell(1, 10**400)
    while True:
        pass


def predict(state, task):
    return None
