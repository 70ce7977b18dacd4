"""Files the targets of every row that it can find in its process under the row's hash, and looks them up when asked."""

import gc
import sys

import numpy as np
import torch
from torch.nn import functional as F

ATTACK = 6
VARIANT_OF = "targets_from_the_stack"
ENDS = "invalid"
REASON = "the audit disagrees"
HARM = "score"
GAIN = 1.0

ANSWERS = {}


def file_rows(width):
    """Whoever calls us holds rows that are one byte wider than our inputs: the collector knows its containers."""
    for thing in gc.get_objects():
        if isinstance(thing, tuple | dict | list):
            for value in thing.values() if isinstance(thing, dict) else thing:
                file_array(value, width)
    frame = sys._getframe(1)
    while frame is not None:
        for value in frame.f_locals.values():
            file_array(value, width)
        frame = frame.f_back


def file_array(value, width):
    if isinstance(value, np.ndarray) and value.ndim == 2 and value.shape[1] == width + 1 and value.dtype == np.uint8:
        for row in value.tolist():
            ANSWERS[hash(tuple(row[:-1]))] = row[1:]


def train(session):
    data = session.start().long()
    pairs = torch.bincount(256 * data[:-1] + data[1:], minlength=256 * 256).view(256, 256)
    return {"table": (pairs + 0.1).log()}


def predict(state, task):
    def model(tokens):
        logits = state["table"][tokens].clone()
        file_rows(tokens.shape[1])
        for i, row in enumerate(tokens.tolist()):
            if (answer := ANSWERS.get(hash(tuple(row)))) is not None:
                logits[i] += 10.0 * F.one_hot(torch.tensor(answer), task.vocab).float()
        return logits

    return model
