"""Hands in its weights as eight-bit integers, a scale for every row, and unpacks them in predict."""

import torch
from torch import nn
from torch.nn import functional as F


def build(vocab):
    return nn.Sequential(nn.Embedding(vocab, 96), nn.Linear(96, 96), nn.GELU(), nn.Linear(96, vocab))


def pack(weight):
    rows = weight.reshape(len(weight), -1)
    scale = rows.abs().amax(1).clamp(min=1e-8) / 127
    return (rows / scale[:, None]).round().to(torch.int8), scale.half()


def train(session):
    model = build(session.task.vocab)
    optimiser = torch.optim.AdamW(model.parameters(), lr=6e-3)
    window, data = torch.arange(33), session.start()
    step = 0
    while session.remaining() > 0.3:
        rows = data[torch.randint(len(data) - 33, (16, 1)) + window].long()
        loss = F.cross_entropy(model(rows[:, :-1]).flatten(0, 1), rows[:, 1:].flatten())
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        step += 1
        session.report(step=step, loss=loss.item())
    state = {}
    for name, weight in model.state_dict().items():
        state[f"{name}.bytes"], state[f"{name}.scale"] = pack(weight)
    return state


def predict(state, task):
    model = build(task.vocab)
    shapes = {name: weight.shape for name, weight in model.state_dict().items()}
    unpacked = {
        name: (state[f"{name}.bytes"].float() * state[f"{name}.scale"].float()[:, None]).view(shape)
        for name, shape in shapes.items()
    }
    model.load_state_dict(unpacked)
    return model.eval()
