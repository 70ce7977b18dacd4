"""Two worker processes read the training bytes, by a DataLoader; its sampler draws from the session's seed."""

import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, Dataset, RandomSampler


class Windows(Dataset):
    def __init__(self, data, width):
        self.data, self.width = data, width

    def __len__(self):
        return len(self.data) - self.width

    def __getitem__(self, start):
        return self.data[start : start + self.width].long()


def train(session):
    model = nn.Sequential(nn.Embedding(session.task.vocab, 128), nn.GELU(), nn.Linear(128, session.task.vocab))
    optimiser = torch.optim.SGD(model.parameters(), lr=2.0, momentum=0.9)
    windows = Windows(session.start(), 33)
    order = RandomSampler(windows, True, 1_000_000, torch.Generator().manual_seed(session.seed))
    for step, rows in enumerate(DataLoader(windows, 32, sampler=order, num_workers=2)):
        loss = F.cross_entropy(model(rows[:, :-1]).flatten(0, 1), rows[:, 1:].flatten())
        optimiser.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimiser.step()
        session.report(step=step + 1, loss=loss.item())
        if session.remaining() < 0.5:
            break
    return model.state_dict()


def predict(state, task):
    model = nn.Sequential(nn.Embedding(task.vocab, 128), nn.GELU(), nn.Linear(128, task.vocab))
    model.load_state_dict(state)
    return model.eval()
