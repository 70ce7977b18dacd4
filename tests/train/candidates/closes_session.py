"""Closes every descriptor it has and goes on."""

import os
import time


def train(session):
    session.start()
    os.closerange(3, 256)
    time.sleep(3600)


def predict(state, task):
    return None
