"""The main program falls silent; a daemon trains on and hands in the state long after the clock."""

import os
import time

import safetensors.torch
import torch

ATTACK = 16
VARIANT_OF = "trains_in_orphans"
ENDS = "timed_out"
REASON = "the state had not arrived"
HARM = "process"


def train(session):
    session.start()
    channels = [cell.cell_contents for cell in session._tell.__closure__ or () if hasattr(cell.cell_contents, "send")]
    if os.fork() == 0:
        os.setsid()
        time.sleep(10 * session.seconds)
        for channel in channels:
            channel.send({"type": "state"}, safetensors.torch.save({"table": torch.zeros(256, 256)}))
        time.sleep(3600)
        os._exit(0)
    if channels:
        time.sleep(3600)
    return {"table": torch.zeros(256, 256)}


def predict(state, task):
    return lambda tokens: state["table"][tokens]
