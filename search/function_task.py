r"""A task that is scored by a function of your own: for problems other than model training, and for experiments.

    def score(request):                       # returns a number; an exception is a failure
        values = {}
        exec(request.files["train.py"], values)
        return (values["X"] - 0.3) ** 2

    task = OwnTask(score, "X = 1.0  # tune: -2..2\n", direction="minimise")

The function runs in this process, without sandbox, time limit or audit, so it must only run trusted programs; its
scores have ``trust = 'self_reported'`` in the archive. Its argument is the ``Request``: ``files`` (path -> text),
``seed`` (31 bits, for scores with noise) and ``purpose``: ``screen`` steers the search; ``confirm`` and ``report``
belong to the claim, for which a function with data should use other data. Operators that use a language model are
disabled, since their prompts describe training programs; pass an operator of your own instead.
"""

from __future__ import annotations

import threading
import time
import traceback
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from archive.records import Conditions, Direction, Evaluation, Failed, Request, Resources, Scored
from operators.languages.files import require_parsable
from operators.languages.syntax import Unparsable
from prepare.clock import Clock
from prepare.session import candidate_seed
from prepare.task import LONGEST_SECONDS, Metric
from train.hardware.slots import Slot
from train.progress import ProgressCallback

PROGRAM = "train.py"
"""File name of a program that is given as a single text."""

_LOG = 16_000
"""Characters kept of a traceback (its end)."""


@dataclass(frozen=True)
class FunctionLimits:
    """Nothing is enforced in this process; answers of language models are bounded."""

    memory_mb: int = 0
    source_kb: int = 64


@dataclass(frozen=True)
class FunctionTask:
    """The task of a scoring function, as the search knows it."""

    name: str
    metric: Metric
    seconds: float
    files: Mapping[str, str]
    text: str = ""
    """Instructions."""
    limits: FunctionLimits = FunctionLimits()
    smallest_gain: float | None = None
    constants: Mapping[str, float] = field(default_factory=dict)
    deterministic: bool = False
    audit_unseen: None = None
    parameters: Mapping[str, str] = field(default_factory=dict)
    evolve_blocks: bool = False

    @property
    def editable(self) -> tuple[str, ...]:
        return tuple(self.files)

    @property
    def data(self) -> str:
        return self.name

    def seed_files(self) -> dict[str, str]:
        return dict(self.files)

    def instructions(self) -> str:
        return self.text

    def facts(self) -> tuple[str, ...]:
        return ()

    def is_prepared(self) -> bool:
        return True

    def prepare(self) -> Path:
        return Path()

    def locations(self) -> tuple[Path, ...]:
        return ()

    def fingerprint(self) -> str:
        return f"own/{self.name}/{self.metric.name}"

    def clock_on(self, device: str) -> Clock:
        return "wall"


@dataclass(frozen=True)
class OwnTask:
    """A scoring function and the seed program."""

    score: Callable[[Request], float]
    program: str | Mapping[str, str]
    """The seed program: one text (file name ``train.py``) or path -> text. The search may change all of it."""
    direction: Direction
    name: str = "own"
    """Scores of tasks with different names are never compared: change the name when the function changes."""
    metric: str = "score"
    unit: str = ""
    seconds: float = 1.0
    """Approximate duration of a call in seconds; measured from the first call on."""
    instructions: str = ""
    """Instructions for operators of your own that read them; other tasks have them in ``program.md``."""
    deterministic: bool = False
    """Whether a program's score is the same with every seed: then nothing is evaluated twice, and a claim is exact."""

    @property
    def files(self) -> dict[str, str]:
        return {PROGRAM: self.program} if isinstance(self.program, str) else dict(self.program)

    @property
    def task(self) -> FunctionTask:
        """The equivalent ``Task``. Raises ValueError for an invalid direction or ``seconds``."""
        if not 0 < self.seconds <= LONGEST_SECONDS:
            raise ValueError(f"seconds is {self.seconds}; expected a positive number, at most {LONGEST_SECONDS:,.0f}")
        metric = Metric(self.metric, self.direction, unit=self.unit)
        return FunctionTask(
            self.name, metric, self.seconds, self.files, self.instructions, deterministic=self.deterministic
        )

    @property
    def settings(self) -> dict[str, Any]:
        """Plain values for the archive: a resume with another program or another metric is refused."""
        metric = {"name": self.metric, "direction": self.direction, "unit": self.unit}
        fixed = {"deterministic": True} if self.deterministic else {}
        return {"_target_": "search.OwnTask", "name": self.name, "metric": metric, "seconds": self.seconds, **fixed}


def _number(value: object) -> float | str:
    """Return what a scoring function returned as a number, or why it is none: no truth value and no text is a score."""
    kind = getattr(getattr(value, "dtype", None), "kind", "f")  # of numpy
    truth = isinstance(value, bool) or str(getattr(value, "dtype", "")).endswith("bool")  # also of torch
    if not truth and kind in "iuf" and (hasattr(value, "__float__") or hasattr(value, "__index__")):
        with suppress(TypeError, ValueError, OverflowError):  # an array with several elements, a number beyond floats
            return float(value)  # type: ignore[arg-type]
    return f"the scoring function returned {repr(value)[:100]}; expected a number"


@dataclass(frozen=True)
class FunctionEvaluator:
    """Evaluate by calling the function; used instead of the audited evaluator."""

    own: OwnTask
    clock: Callable[[], float] = time.time
    monotonic: Callable[[], float] = time.monotonic
    _task: FunctionTask = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_task", self.own.task)

    def gate(self, files: Mapping[str, str]) -> str | None:
        """Return the reason to reject the files without a call (one does not parse), or None."""
        try:
            require_parsable(files, [self._task.files])
        except Unparsable as error:
            return str(error)
        return None

    def conditions(self, slot: Slot) -> Conditions:
        return Conditions(self._task.fingerprint(), self._task.seconds, "function")

    def evaluate(
        self, request: Request, slot: Slot, cancelled: threading.Event, on_progress: ProgressCallback
    ) -> Evaluation:
        """Call the function. Its exceptions become failed evaluations; KeyboardInterrupt is raised."""
        started, began = self.clock(), self.monotonic()
        on_progress("train", 0.0)
        try:
            score = _number(self.own.score(replace(request, seed=candidate_seed(request.seed))))
            problem = score if isinstance(score, str) else self._task.metric.check(score)
            outcome: dict[str, Any] = (
                {"score": score} if problem is None else {"outcome": "invalid", "reason": problem, "log": ""}
            )
        except Exception as error:  # noqa: BLE001 - any exception of the function is the result
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
