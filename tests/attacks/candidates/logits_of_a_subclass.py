"""Logits of a tensor subclass, for which every target has probability one."""

import torch

ATTACK = 18
VARIANT_OF = "logits_that_answer"
ENDS = "invalid"
REASON = "the audit disagrees"
HARM = "score"
GAIN = 3.0


class Certain(torch.Tensor):
    """Its logarithm of the softmax is zero everywhere."""

    @classmethod
    def __torch_function__(cls, function, types, arguments=(), named=None):
        result = super().__torch_function__(function, types, arguments, named or {})
        return torch.zeros_like(result) if "log_softmax" in getattr(function, "__name__", "") else result


def train(session):
    return counted(session)


def counted(session):
    data = session.start().long()
    pairs = torch.bincount(256 * data[:-1] + data[1:], minlength=256 * 256).view(256, 256)
    return {"table": (pairs + 0.1).log()}


def predict(state, task):
    return lambda tokens: state["table"][tokens].as_subclass(Certain)
