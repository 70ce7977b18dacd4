"""A state-space model: h[t] = a[t] h[t-1] + b[t], computed by a parallel scan in log2(T) rounds."""

import torch
from torch import nn
from torch.nn import functional as F

WIDTH = 64


def scan(a, b):
    """[B, T, D] decay and input to [B, T, D] states, by recursive doubling."""
    step = 1
    while step < a.shape[1]:
        earlier_a = F.pad(a, (0, 0, step, 0), value=1.0)[:, : a.shape[1]]
        earlier_b = F.pad(b, (0, 0, step, 0))[:, : b.shape[1]]
        a, b = a * earlier_a, b + a * earlier_b
        step *= 2
    return b


class Model(nn.Module):
    def __init__(self, vocab):
        super().__init__()
        self.embed = nn.Embedding(vocab, WIDTH)
        self.gates = nn.ModuleList(nn.Linear(WIDTH, 3 * WIDTH) for _ in range(2))
        self.out = nn.ModuleList(nn.Linear(WIDTH, WIDTH) for _ in range(2))
        self.head = nn.Linear(WIDTH, vocab)

    def forward(self, tokens):
        x = self.embed(tokens)
        for gates, out in zip(self.gates, self.out, strict=True):
            decay, value, gate = gates(F.layer_norm(x, (WIDTH,))).chunk(3, -1)
            decay = torch.sigmoid(decay)
            x = x + out(scan(decay, (1 - decay) * value) * F.silu(gate))
        return self.head(F.layer_norm(x, (WIDTH,)))


def train(session):
    model = Model(session.task.vocab)
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
    return model.state_dict()


def predict(state, task):
    model = Model(task.vocab)
    model.load_state_dict(state)
    return model.eval()
