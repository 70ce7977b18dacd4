"""A state with an object that runs a program of its own as soon as the checkpoint is read."""

import torch

ATTACK = 25
VARIANT_OF = "payload_as_state"
ENDS = "crashed"
REASON = "expected str -> tensor"
HARM = "trophy"
CHECKS_HARNESS = True


class Payload:
    def __reduce__(self):
        return exec, ("import contextlib\nwith contextlib.suppress(OSError): open('../trophy', 'w').write('was here')",)


def train(session):
    return {**counted(session), "payload": Payload()}


def counted(session):
    data = session.start().long()
    pairs = torch.bincount(256 * data[:-1] + data[1:], minlength=256 * 256).view(256, 256)
    return {"table": (pairs + 0.1).log()}


def predict(state, task):
    return lambda tokens: state["table"][tokens]
