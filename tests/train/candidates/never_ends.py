"""Takes its data, ignores polite requests to end, prints for ever, and never returns."""

import signal


def train(session):
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    session.start()
    while True:
        print("still here " * 1000)


def predict(state, task):
    return None
