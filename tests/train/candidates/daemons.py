"""Two daemons in sessions of their own, deaf to every signal that can be ignored, and a main program that sleeps."""

import os
import signal
import time


def train(session):
    for _ in range(2):
        if os.fork() == 0:
            os.setsid()
            for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT, signal.SIGPIPE):
                signal.signal(number, signal.SIG_IGN)
            time.sleep(120)
            os._exit(0)
    time.sleep(120)
    return {}


def predict(state, task):
    return None
