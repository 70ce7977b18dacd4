"""Sends messages of its own: a score, a verdict, an end. On the session's socket, and as the file of results."""

import contextlib
import json
from pathlib import Path

import torch

ATTACK = 0
ENDS = "invalid"
REASON = "train() sent an unexpected message, 'claims'"
HARM = "score"
GAIN = 2.0


def train(session):
    session.start()
    with contextlib.suppress(OSError):
        Path("results.json").write_text(json.dumps({"val_bpb": 0.0001}))
    for cell in session._tell.__closure__ or ():
        if hasattr(channel := cell.cell_contents, "send"):
            channel.send({"type": "claims", "score": 0.0001, "outcome": "scored"}, bytes(8 * 32 * 32))
            channel.send({"type": "checked"})
    return {"table": torch.zeros(256, 256)}


def predict(state, task):
    return lambda tokens: state["table"][tokens]
