"""Everything in double precision, which is set as the default for the whole process."""

import torch
from torch import nn
from torch.nn import functional as F


def train(session):
    torch.set_default_dtype(torch.float64)
    model = nn.Sequential(nn.Embedding(session.task.vocab, 64), nn.Tanh(), nn.Linear(64, session.task.vocab))
    optimiser = torch.optim.AdamW(model.parameters(), lr=1e-2)
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
    return model.state_dict()


def predict(state, task):
    model = nn.Sequential(nn.Embedding(task.vocab, 64), nn.Tanh(), nn.Linear(64, task.vocab)).double()
    model.load_state_dict(state)
    return model.eval()
