"""Takes more memory than is allowed, in two processes of which neither does alone; before the clock, so unhurried."""

import os
import time


def train(session):
    os.fork()
    hoard = [b"\1" * 50_000_000 for _ in range(15)]
    time.sleep(3600)
    return hoard


def predict(state, task):
    return None
