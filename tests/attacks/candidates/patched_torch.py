"""Replaces the library under the scorer: every log-probability that it picks is 0."""

import torch

ATTACK = 2
VARIANT_OF = "false_claims"
ENDS = "invalid"
REASON = "the audit disagrees"
HARM = "score"
GAIN = 2.0

log_softmax = torch.Tensor.log_softmax


def certain(self, *arguments):
    return torch.zeros_like(log_softmax(self, *arguments))


def train(session):
    data = session.start().long()
    pairs = torch.bincount(256 * data[:-1] + data[1:], minlength=256 * 256).view(256, 256)
    torch.Tensor.log_softmax = certain
    return {"table": (pairs + 0.1).log()}


def predict(state, task):
    torch.Tensor.log_softmax = certain
    return lambda tokens: state["table"][tokens]
