r"""A task that is scored by a function of yours: for problems that are no training, and for trying things out.

    def score(request):                       # any number; an exception is a failure
        values = {}
        exec(request.files["train.py"], values)
        return (values["X"] - 0.3) ** 2

    task = OwnTask(score, "X = 1.0  # tune: -2..2\n", direction="minimise")

The function runs in this process, without a sandbox, a time limit or an audit: it must trust what it runs, and its
scores carry ``trust = 'self_reported'`` in the archive. It is called with the ``Request``: ``files`` (path -> text),
``seed`` (to be used where the score has noise), and ``purpose``: ``screen`` steers the search, ``confirm`` and
``report`` belong to the claim, where a function that has data should use other data. Operators that ask a language
model are left out, since their prompts speak of training programs; bring one of your own.
"""

from __future__ import annotations

import threading
import time
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np

from archive.records import Conditions, Direction, Evaluation, Failed, Request, Resources, Scored
from prepare import syntax
from prepare.scoring import Bytes
from prepare.task import Metric, Task
from train.hardware.slots import Slot
from train.progress import ProgressCallback

PROGRAM = "train.py"
"""The name of a program that is given as one text."""

_LOG = 16_000
"""Characters of a traceback that are kept."""


@dataclass
class _NoCorpus:
    """The data of a task that has none of ours."""

    name: str
    forbidden_packages: tuple[str, ...] = ()

    def prepare(self) -> Path:
        return Path()

    def is_prepared(self) -> bool:
        return True

    def locations(self) -> tuple[Path, ...]:
        return ()

    def fingerprint(self) -> str:
        return f"own/{self.name}"

    def documents(self) -> tuple[Bytes, ...]:
        return ()

    def evaluation(self, split: Literal["val", "select", "holdout"]) -> Bytes:
        return np.empty(0, dtype=np.uint8)


@dataclass(frozen=True)
class OwnTask:
    """A function that scores a program, and the program to start from."""

    score: Callable[[Request], float]
    program: str | Mapping[str, str]
    """The seed program: a text, which is then called ``train.py``, or path -> text. All of it may change."""
    direction: Direction
    name: str = "own"
    """Scores of tasks of different names are never compared: give it another one when the function changes."""
    metric: str = "score"
    unit: str = ""
    seconds: float = 1.0
    """What a call takes, about; it is measured from the first call on."""
    instructions: str = ""
    """What stands in ``program.md`` elsewhere, for operators of your own that read it."""

    @property
    def files(self) -> dict[str, str]:
        return {PROGRAM: self.program} if isinstance(self.program, str) else dict(self.program)

    @property
    def task(self) -> Task:
        """The same as a task. Raises ValueError for a direction or seconds that make no sense."""
        metric = Metric(self.metric, self.direction, unit=self.unit)
        files = tuple(self.files)
        return Task(self.name, _NoCorpus(self.name), metric, files[0], "", self.seconds, context=1, editable=files)

    @property
    def settings(self) -> dict[str, Any]:
        """Plain values for the archive: a resume with another program or another metric is refused."""
        metric = {"name": self.metric, "direction": self.direction, "unit": self.unit}
        return {"_target_": "search.OwnTask", "name": self.name, "metric": metric, "seconds": self.seconds}


@dataclass(frozen=True)
class FunctionEvaluator:
    """Calls the function. It stands where the audited evaluator does elsewhere."""

    own: OwnTask
    clock: Callable[[], float] = time.time
    monotonic: Callable[[], float] = time.monotonic
    _task: Task = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_task", self.own.task)

    def gate(self, files: Mapping[str, str]) -> str | None:
        """Why these files are not worth a call, or None: Python that does not parse."""
        for path, text in files.items():
            if path.endswith(".py"):
                try:
                    syntax.parse(text)
                except syntax.PARSE_ERRORS as error:
                    return f"{path} does not parse: {error}"
        return None

    def conditions(self, slot: Slot) -> Conditions:
        return Conditions(self._task.fingerprint(), self._task.seconds, "function")

    def evaluate(
        self, request: Request, slot: Slot, cancelled: threading.Event, on_progress: ProgressCallback
    ) -> Evaluation:
        """Never raises for what the function does; Ctrl-C goes through."""
        started, began = self.clock(), self.monotonic()
        on_progress("train", 0.0)
        try:
            score = float(self.own.score(request))
            problem = self._task.metric.check(score)
            outcome: dict[str, Any] = (
                {"score": score} if problem is None else {"outcome": "invalid", "reason": problem, "log": ""}
            )
        except Exception as error:  # noqa: BLE001 - whatever it is, it is the answer to this request
            reason = f"{type(error).__name__}: {str(error)[:300]}"
            outcome = {"outcome": "crashed", "reason": reason, "log": traceback.format_exc()[-_LOG:]}
        seconds = self.monotonic() - began
        common: dict[str, Any] = {
            "request": request,
            "conditions": self.conditions(slot),
            "resources": Resources(seconds=seconds, phases={"train": seconds}),
            "trust": "self_reported",
            "sandbox": "none",
            "device": "cpu",
            "started_at": started,
            "finished_at": started + seconds,
        }
        return Scored(**common, **outcome) if "score" in outcome else Failed(**common, **outcome)
