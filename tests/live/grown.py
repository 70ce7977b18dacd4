"""A small tree that is the same every time, for a model to make proposals from: scores are given, nothing is trained.

Its programs are real: the seed of ``shakespeare``, and it with a few edits each. Those that fail here do fail, with
these words (from runs on 2 cores of a CPU); the scores are what such programs got there, rounded.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

sys.path.append(str(Path(__file__).resolve().parents[1] / "operators"))

from garden import Garden

from archive.records import CurvePoint, Outcome, Resources
from prepare.language_model import LanguageModelTask

Edits = tuple[tuple[str, str], ...]
SIGMA = 0.02
LOGS = Path(__file__).with_name("failures")
"""What the programs that fail wrote, by name: not all write something."""


@dataclass(frozen=True)
class Step:
    """How a node came from its parent, and what became of it: a score, or an outcome with its reason and log."""

    name: str
    parent: str
    operator: str
    idea: str
    edits: Edits
    score: float | None = None
    aim: str | None = None
    outcome: Outcome = "crashed"
    reason: str = ""


_TUNED = (
    ("WIDTH = 128 ", "WIDTH = 96 "),
    ("DEPTH = 4", "DEPTH = 2"),
    ("CONTEXT = 64 ", "CONTEXT = 32 "),
    ("BATCH = 12", "BATCH = 8"),
    ("LEARNING_RATE = 1e-3", "LEARNING_RATE = 0.0042"),
)
_MLP = "        return x + F.dropout(self.down(F.gelu(self.up(self.norm2(x)))), DROPOUT, self.training)\n"
_RATE = "    return LEARNING_RATE * (FINAL_RATE + (1 - FINAL_RATE) * cosine)\n"
_COSINE = "    cosine = 0.5 * (1 + math.cos(math.pi * (progress - WARMUP) / (1 - WARMUP)))\n"

STEPS = (
    Step("tuned", "root", "tune", "WIDTH 96, DEPTH 2, CONTEXT 32, BATCH 8, LEARNING_RATE 0.0042", _TUNED, 2.98),
    Step(
        "squared", "tuned", "improve", "square the ReLU in the MLP, which is cheaper than GELU and sparser",
        ((_MLP, _MLP.replace("F.gelu(self.up(self.norm2(x)))", "F.relu(self.up(self.norm2(x))).square()")),),
        2.95, "architecture",
    ),
    Step(
        "gated", "tuned", "improve", "gate the MLP's hidden layer with SiLU, as in SwiGLU",
        (
            ("        self.up = nn.Linear(width, MLP_RATIO * width, bias=False)\n",
             "        self.up = nn.Linear(width, 2 * MLP_RATIO * width, bias=False)\n"),
            (_MLP, "        gate, value = self.up(self.norm2(x)).chunk(2, dim=-1)\n"
                   + _MLP.replace("F.gelu(self.up(self.norm2(x)))", "F.silu(gate) * value")),
        ),
        2.99, "architecture",
    ),
    Step(
        "linear", "tuned", "improve", "decay the rate in a straight line, which keeps it high for longer",
        ((_COSINE, "    falling = (1 - progress) / (1 - WARMUP)\n"), (_RATE, _RATE.replace("cosine", "falling"))),
        2.96, "schedule",
    ),
    Step(
        "plateau", "tuned", "improve", "hold the rate for two thirds of the budget, then let it fall",
        ((_COSINE, "    falling = min(1.0, 3 * (1 - progress))\n"), (_RATE, _RATE.replace("cosine", "falling"))),
        2.97, "schedule",
    ),
    Step(
        "plain", "root", "improve", "SGD with momentum is cheaper a step than AdamW",
        (("torch.optim.AdamW(groups, lr=LEARNING_RATE, betas=(BETA1, BETA2))",
          "torch.optim.SGD(groups, lr=LEARNING_RATE, momentum=BETA1)"),),
        4.71, "optimiser",
    ),
    Step(
        "dropped", "tuned", "improve", "dropout of 0.1 keeps the small model from fitting too closely",
        (("DROPOUT = 0.0", "DROPOUT = 0.1"),), 3.06, "regularisation",
    ),
    Step(
        "lion", "tuned", "improve", "the sign of the momentum as the step, as in Lion",
        (("    optimiser = torch.optim.AdamW(groups, lr=LEARNING_RATE, betas=(BETA1, BETA2))\n",
          "    optimiser = torch.optim.Lion(groups, lr=LEARNING_RATE / 5, betas=(BETA1, BETA2))\n"),),
        aim="optimiser",
        reason="training: AttributeError: module 'torch.optim' has no attribute 'Lion' (found in the rehearsal, before "
        "any training time was spent)",
    ),
    Step(
        "untied", "tuned", "improve", "an output layer of its own, no longer tied to the embedding",
        (
            ("        self.norm = nn.LayerNorm(width)\n        for",
             "        self.norm = nn.LayerNorm(width)\n        self.head = nn.Linear(vocab, width, bias=False)\n"
             "        for"),
            ("        return self.norm(x) @ self.tokens.weight.T\n", "        return self.head(self.norm(x))\n"),
        ),
        aim="architecture",
        reason="training: RuntimeError: mat1 and mat2 shapes cannot be multiplied (256x96 and 256x96)",
    ),
    Step(
        "huge", "tuned", "improve", "a wider model learns more from each byte",
        (("WIDTH = 96 ", "WIDTH = 512 "),),
        aim="hyperparameters", outcome="invalid",
        reason="the state has 6,444,032 elements; 1,000,000 are allowed (found in the rehearsal, before any training "
        "time was spent)",
    ),
    Step(
        "cast", "tuned", "improve", "bytes need no conversion to 64 bits",
        (("data[starts + window].long().to(session.device)", "data[starts + window].to(session.device)"),),
        aim="speed",
        reason="training: RuntimeError: Expected tensor for argument #1 'indices' to have one of the following scalar "
        "types: Long, Int; but got torch.ByteTensor instead (while checking arguments for embedding)",
    ),
)  # fmt: skip


def edited(source: str, edits: Edits) -> str:
    """Raises ValueError where the seed program is no longer the one that these edits were written for."""
    for old, new in edits:
        if source.count(old) != 1:
            raise ValueError(f"the seed program holds {source.count(old)} times {old!r}; mend tests/live/grown.py")
        source = source.replace(old, new)
    return source


def grown(task: LanguageModelTask, seed: Mapping[str, str]) -> tuple[Garden, dict[str, str]]:
    """The tree of ``task`` whose root is ``seed``, and the ids of its nodes by name."""
    garden = Garden(task.metric.direction)
    garden.task = task
    names = {"root": garden.plant(seed["train.py"]).node_id}
    root = garden.tree[names["root"]]
    for number, score in enumerate((3.61, 3.65, 3.63)):
        garden.score(root, score, seed=number, **_trained(score, 470))
    for step in STEPS:
        parent = garden.tree[names[step.parent]]
        source = edited(parent.candidate.files["train.py"], step.edits)
        node = garden.grow(source, (parent.node_id,), step.operator, step.idea, aim=step.aim)
        names[step.name] = node.node_id
        if step.score is not None:
            garden.score(node, step.score, **_trained(step.score, 1480))
        else:
            log = LOGS / f"{step.name}.txt"
            words = log.read_text(encoding="utf-8") if log.exists() else ""
            garden.fail(node, step.outcome, step.reason, log=words, resources=Resources(0.0))
    return garden, names


def _trained(score: float, steps: int) -> dict[str, Any]:
    """A curve that ends where such a score has it end."""
    loss = 0.69 * score
    shape = ((0.0, 5.55), (0.1, loss + 0.9), (0.3, loss + 0.4), (0.6, loss + 0.15), (1.0, loss))
    curve = tuple(CurvePoint(round(share * steps), 10 * share, round(at, 3)) for share, at in shape)
    return {"curve": curve, "resources": Resources(10.0, steps=steps)}
