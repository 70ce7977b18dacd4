"""A mixture of experts: each byte goes to two of four, chosen by itself alone (no capacity that rows would share)."""

import torch
from torch import nn
from torch.nn import functional as F

WIDTH, EXPERTS, CHOSEN = 48, 4, 2


class Experts(nn.Module):
    def __init__(self):
        super().__init__()
        self.router = nn.Linear(2 * WIDTH, EXPERTS, bias=False)
        self.experts = nn.ModuleList(
            nn.Sequential(nn.Linear(2 * WIDTH, 64), nn.GELU(), nn.Linear(64, WIDTH)) for _ in range(EXPERTS)
        )

    def forward(self, x):
        flat = x.reshape(-1, x.shape[-1])
        weights, chosen = self.router(flat).topk(CHOSEN)
        weights = weights.softmax(-1)
        out = flat.new_zeros(len(flat), WIDTH)
        for number, expert in enumerate(self.experts):
            token, place = (chosen == number).nonzero(as_tuple=True)
            out = out.index_add(0, token, weights[token, place, None] * expert(flat[token]))
        return out.view(*x.shape[:-1], WIDTH)


class Model(nn.Module):
    def __init__(self, vocab):
        super().__init__()
        self.embed = nn.Embedding(vocab, WIDTH)
        self.mix = Experts()
        self.head = nn.Linear(WIDTH, vocab)

    def forward(self, tokens):
        x = self.embed(tokens)
        before = F.pad(x, (0, 0, 1, 0))[:, :-1]
        return self.head(x + self.mix(torch.cat([before, x], -1)))


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
