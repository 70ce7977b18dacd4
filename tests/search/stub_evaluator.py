"""An evaluator that trains nothing: the score is a smooth function of the program's constants plus seeded noise.

It stands behind the same interface as the audited one, so that the loop, resume, the claim and the command line are
tested as they are, a thousand times faster.
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Mapping

import numpy as np

from archive.records import (
    Audit,
    Conditions,
    CurvePoint,
    Failed,
    Landed,
    Request,
    Resources,
    Scored,
    StageAnswered,
    StageAnswers,
    Trained,
)
from operators.languages.parameters import read_parameters
from prepare.language_model import LanguageModelTask
from train.hardware.slots import Slot
from train.sandbox.base import Sandbox


class StubEvaluator:
    """Score = 3 + 0.3 * squared distance (in decades) of some constants from a good place + noise of the seed."""

    def __init__(
        self,
        task: LanguageModelTask,
        sandbox: Sandbox,
        noise: float = 0.01,
        fail_every: int = 0,
        delay: float = 0.0,
        hardware: str = "stub",
        outcome: str = "crashed",
        diary: str | None = None,
        defect: str = "",
        effect: float = 0.3,
        halves: bool = False,
        stages: int = 0,
    ) -> None:
        """``diary``: a file that gets a line for each evaluation, before the search hears of it.

        ``defect``: that of failures (see ``Failed``). ``halves``: end after the training where a request asks for it.
        ``stages``: so, and judge in that many stages.
        """
        self.task = task
        self.sandbox = sandbox
        self.noise = noise
        self.fail_every = fail_every
        self.delay = delay
        self.hardware = hardware
        self.outcome = outcome
        self.diary = diary
        self.defect = defect
        self.effect = effect
        self.halves = halves or stages > 0
        self.stages = stages
        self.asked: list[Request] = []

    def gate(self, files: Mapping[str, str]) -> str | None:
        return None

    def conditions(self, slot: Slot) -> Conditions:
        return Conditions("stub-corpus", self.task.seconds, self.hardware)

    def score(self, request: Request) -> float:
        constants = read_parameters(request.files["train.py"])
        goals = {"LEARNING_RATE": 5e-3, "WIDTH": 64, "DEPTH": 1, "BATCH": 8, "CONTEXT": 32, "WARMUP": 0.1, "CLIP": 2.0}
        distance = sum(math.log10(float(constants[name]) / goal) ** 2 for name, goal in goals.items())
        noise = np.random.default_rng([request.seed, len(request.purpose)]).normal() * self.noise
        return 3.0 + self.effect * distance + float(noise)

    def evaluate(
        self, request: Request, slot: Slot, cancelled: threading.Event, watch: Callable[[str, float], None]
    ) -> Landed:
        self.asked.append(request)
        started = time.time()
        watch("train", 0.5)
        cancelled.wait(self.delay)
        common = {
            "request": request,
            "conditions": self.conditions(slot),
            "resources": Resources(seconds=self.task.seconds, phases={"train": self.delay}, steps=100),
            "trust": "audited",
            "sandbox": self.sandbox.tier,
            "device": "cpu",
            "started_at": started,
            "finished_at": time.time(),
            "curve": (CurvePoint(1, 0.1, 5.0), CurvePoint(2, 0.2, 4.0)),
        }
        if self.fail_every == 1 or (self.fail_every and request.move and request.move % self.fail_every == 0):
            why = {
                "reason": "the stub was told to fail",
                "log": "Traceback\nOops\x1b]52;c;b3du\x07\x1b[2J",
                "defect": self.defect,
            }
            return Failed(**common, outcome=self.outcome, **why)
        if self.halves and request.seal:
            return Trained(**common, state=b"of the stub")
        if request.trained is not None and (stage := len(request.trained.answers)) < self.stages - 1:
            answers = StageAnswers(f"stage {stage}", bytes(8), Audit(1, 0.0, 0.0), common["resources"], "audited")
            return StageAnswered(**common, stage=stage, answers=answers)
        score = self.score(request)
        if self.diary is not None and not cancelled.is_set():
            with open(self.diary, "a") as diary:
                diary.write(f"{request.node_id} {request.seed} {request.purpose}\n")
        return Scored(**common, score=score)
