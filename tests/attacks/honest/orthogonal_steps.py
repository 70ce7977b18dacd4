"""An optimiser of its own: momentum of a matrix is made orthogonal by Newton-Schulz before it is applied."""

import torch
from torch import nn
from torch.nn import functional as F


def orthogonal(matrix, rounds=5):
    """The nearest matrix whose singular values are about one."""
    x = matrix / (matrix.norm() + 1e-7)
    tall = x.shape[0] > x.shape[1]
    x = x.T if tall else x
    for _ in range(rounds):
        square = x @ x.T
        x = 3.4445 * x + (-4.775 * square + 2.0315 * square @ square) @ x
    return x.T if tall else x


class Steps(torch.optim.Optimizer):
    def __init__(self, weights, lr=0.02, momentum=0.9):
        super().__init__(weights, {"lr": lr, "momentum": momentum})

    @torch.no_grad()
    def step(self):
        for group in self.param_groups:
            for weight in group["params"]:
                mean = self.state[weight].setdefault("mean", torch.zeros_like(weight))
                mean.mul_(group["momentum"]).add_(weight.grad)
                weight.add_(orthogonal(mean) if weight.dim() == 2 else mean, alpha=-group["lr"])


def build(vocab):
    return nn.Sequential(nn.Embedding(vocab, 96), nn.Linear(96, 96), nn.GELU(), nn.Linear(96, vocab))


def train(session):
    model = build(session.task.vocab)
    optimiser = Steps(model.parameters(), lr=0.1)
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
    model = build(task.vocab)
    model.load_state_dict(state)
    return model.eval()
