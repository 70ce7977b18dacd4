"""Leaves as if all were well, without an answer; its last words pose as those of the sandbox."""

import os


def train(session):
    session.start()
    print("bwrap: no sandbox could be made, honestly", flush=True)
    os._exit(0)


def predict(state, task):
    return None
