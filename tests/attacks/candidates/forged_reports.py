"""Floods the evaluator with reports, hundreds of times as many as a session sends."""

ATTACK = 0
ENDS = "invalid"
REASON = "reports in"
HARM = "dead"


def train(session):
    session.start()
    tell = session._tell
    while True:
        tell(1, 2.0)


def predict(state, task):
    return None
