"""Weights in bfloat16, trained with stochastic sign steps on them, and logits in bfloat16: three digits, no more."""

import torch
from torch import nn
from torch.nn import functional as F


def build(vocab):
    layers = [nn.Embedding(vocab, 64), nn.Linear(64, 128), nn.GELU(), nn.Linear(128, 64), nn.Linear(64, vocab)]
    return nn.Sequential(*layers).bfloat16()


def train(session):
    model = build(session.task.vocab)
    average = [torch.zeros_like(p) for p in model.parameters()]
    window, data = torch.arange(33), session.start()
    step = 0
    while session.remaining() > 0.3:
        rows = data[torch.randint(len(data) - 33, (32, 1)) + window].long()
        loss = F.cross_entropy(model(rows[:, :-1]).flatten(0, 1).float(), rows[:, 1:].flatten())
        gradients = torch.autograd.grad(loss, list(model.parameters()))
        with torch.no_grad():
            for weight, gradient, mean in zip(model.parameters(), gradients, average, strict=True):
                mean.mul_(0.9).add_(gradient)
                weight.add_(mean.sign(), alpha=-0.004 * (1 - session.progress()))
        step += 1
        session.report(step=step, loss=loss.item())
    return model.state_dict()


def predict(state, task):
    model = build(task.vocab)
    model.load_state_dict(state)
    return model.eval()
