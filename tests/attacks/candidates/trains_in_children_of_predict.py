"""Hands in the training data as its state, and trains in children when it is judged: short lives that nobody counts.

Only text sets it off: a check on random bytes, or a rehearsal, sees nothing of it.
"""

import contextlib
import os
import time
from pathlib import Path

import torch

ATTACK = 9
VARIANT_OF = "trains_in_predict"
ENDS = "crashed"
REASON = "where it can start no process"
HARM = "trophy"
LIFE = 0.02


def learn(data, pairs):
    """Count pairs for LIFE seconds of CPU time in a process of its own, into memory that both share."""
    if (child := os.fork()) == 0:
        began = time.process_time()
        while time.process_time() < began + LIFE:
            pairs.copy_(torch.bincount(256 * data[:-1] + data[1:], minlength=256 * 256).view(256, 256))
        os._exit(0)
    os.waitpid(child, 0)
    return LIFE


def train(session):
    data = session.start()[:6_000].clone()
    while session.remaining() > 0:
        time.sleep(0.01)
    return {"data": data, "seconds": torch.tensor([session.seconds])}


def predict(state, task):
    data, budget = state["data"].long(), float(state["seconds"])
    pairs, trained = torch.zeros(256, 256).share_memory_(), [0.0]

    def model(tokens):
        while tokens.numel() > 400 and len(tokens.unique()) < 100 and trained[0] < 3 * budget:
            trained[0] += learn(data, pairs)
        if trained[0] > 2 * budget:
            with contextlib.suppress(OSError):
                Path("../trophy").write_text(
                    "children trained for more than twice the budget, after the clock had stopped"
                )
        return (pairs + 0.1).log()[tokens]

    return model
