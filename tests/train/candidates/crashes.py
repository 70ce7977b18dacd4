"""A mistake in train, while a thread that is no daemon goes on: the traceback must come at once all the same."""

import threading
import time


def train(session):
    session.start()
    threading.Thread(target=time.sleep, args=(3600,)).start()
    return {}["no such key"]


def predict(state, task):
    return None
