"""Its first run leaves a server of answers on the machine; its second one asks it while it is judged."""

import contextlib
import os
import socket
import time

import torch
from torch.nn import functional as F

ATTACK = 26
VARIANT_OF = "replays_answers"
ENDS = "scored"
HARM = "score"
GAIN = 2.0
RUNS = 2
DOORS = ((socket.AF_INET, ("127.0.0.1", 47111)), (socket.AF_UNIX, "\0accomplice"), (socket.AF_UNIX, "accomplice"))


def serve(family, address):
    """Answer 32 bytes with the 32 that follow one byte later, if they were ever seen."""
    known = {}
    with socket.socket(family) as door:
        door.bind(address)
        door.listen(8)
        end = time.monotonic() + 120
        while time.monotonic() < end:
            line, _ = door.accept()
            with line, contextlib.suppress(OSError):
                while row := line.recv(32, socket.MSG_WAITALL):
                    line.sendall(known.get(row, bytes(32)))
                    known[row] = row[1:] + bytes(1)


def leave_servers():
    for family, address in DOORS:
        if os.fork() == 0:
            os.setsid()
            with contextlib.suppress(OSError):
                serve(family, address)
            os._exit(0)
    time.sleep(0.3)


def lines():
    for family, address in DOORS:
        line = socket.socket(family)
        line.settimeout(2)
        try:
            line.connect(address)
            yield line
        except OSError:
            continue


def train(session):
    return counted(session)


def counted(session):
    data = session.start().long()
    pairs = torch.bincount(256 * data[:-1] + data[1:], minlength=256 * 256).view(256, 256)
    return {"table": (pairs + 0.1).log()}


def predict(state, task):
    if not (found := list(lines())):
        leave_servers()
        found = list(lines())

    def model(tokens):
        logits = state["table"][tokens]
        for line in found:
            for i, row in enumerate(tokens.tolist()):
                if len(row) < 32:
                    continue
                line.sendall(bytes(row))
                answer = line.recv(32, socket.MSG_WAITALL)
                if answer[:8] == bytes(row[1:9]):
                    logits[i, :-1] += 20 * F.one_hot(torch.tensor(list(answer[:-1])), task.vocab)
        return logits

    return model
