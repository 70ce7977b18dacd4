"""A program as large ones are written: annotations as strings, dataclasses, an abstract base, an enumeration, slots."""

from __future__ import annotations

import abc
import enum
import functools
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field, replace
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class Kind(enum.Enum):
    GELU = "gelu"
    SILU = "silu"


@dataclass(frozen=True, slots=True)
class Shape:
    vocab: int = 256
    width: int = 64
    kind: Kind = Kind.GELU


@dataclass
class Plan:
    shape: Shape = field(default_factory=Shape)
    batch: int = 16
    rate: float = 6e-3


class Batch(NamedTuple):
    inputs: Tensor
    targets: Tensor


class Part(nn.Module, abc.ABC):
    @abc.abstractmethod
    def forward(self, x: Tensor) -> Tensor: ...


class Mixer(Part):
    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.conv = nn.Conv1d(shape.width, shape.width, 4)
        self.act: Callable[[Tensor], Tensor] = getattr(F, shape.kind.value)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.act(self.conv(F.pad(x.transpose(1, 2), (3, 0)))).transpose(1, 2)


class Model(Part):
    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.embed, self.mixer = nn.Embedding(shape.vocab, shape.width), Mixer(shape)
        self.head = nn.Linear(shape.width, shape.vocab)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.mixer(self.embed(x)))


@functools.cache
def plan_for(vocab: int) -> Plan:
    plan = Plan()
    return replace(plan, shape=Shape(**{**asdict(plan.shape), "vocab": vocab}))


def batches(data: Tensor, size: int) -> Iterator[Batch]:
    window = torch.arange(33)
    while True:
        rows = data[torch.randint(len(data) - 33, (size, 1)) + window].long()
        yield Batch(rows[:, :-1], rows[:, 1:])


def train(session):
    plan = plan_for(session.task.vocab)
    model = Model(plan.shape)
    optimiser = torch.optim.AdamW(model.parameters(), lr=plan.rate)
    for step, batch in enumerate(batches(session.start(), plan.batch)):
        loss = F.cross_entropy(model(batch.inputs).flatten(0, 1), batch.targets.flatten())
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        session.report(step=step + 1, loss=loss.item())
        if session.remaining() < 0.3:
            return model.state_dict()


def predict(state, task):
    model = Model(plan_for(task.vocab).shape)
    model.load_state_dict(state)
    return model.eval()
