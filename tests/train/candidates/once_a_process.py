"""Can run once in a process and no more, as programs are that register something for the whole of it."""

import torch
from torch import multiprocessing


def train(session):
    multiprocessing.set_start_method("spawn")
    session.start()
    print("this is the real training")
    session.report(step=1, loss=1.0)
    return {"table": torch.zeros(256, 256)}


def predict(state, task):
    return lambda tokens: state["table"][tokens]
