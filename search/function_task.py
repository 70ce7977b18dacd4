r"""A task that is scored by a function of your own, in this process: for notebooks and experiments.

    def score(request):                       # returns a score; an exception is a failure
        values = {}
        exec(request.files["train.py"], values)
        return (values["X"] - 0.3) ** 2

    task = OwnTask(score, "X = 1.0  # tune: -2..2\n", direction="minimise")

The function runs in this process, without sandbox, time limit or audit, so it must only run trusted programs; its
scores have ``trust = 'self_reported'`` in the archive. Its argument is the ``Request``: ``files`` (path -> text),
``seed`` (31 bits, for scores with noise) and ``purpose``: ``screen`` steers the search; ``confirm`` and ``report``
belong to the claim, for which a function with data should use other data.

It returns a number; or a mapping with ``score``, further metrics by name, and ``feedback``, a text for language models;
or a ``prepare.Score``. It raises ``prepare.Invalid`` for a result that breaks the rules of the task.
"""

from __future__ import annotations

import threading
import time
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from archive.records import CaseScore, Conditions, Evaluation, Failed, Request, Resources, Scored
from operators.languages.files import require_parsable
from operators.languages.syntax import Unparsable
from prepare.clock import Clock
from prepare.files import require_python
from prepare.scorer import Invalid, Score, certificate_text, finite_number
from prepare.session import candidate_seed
from prepare.task import Metric, PromptInfo, require_seconds
from train.hardware.slots import Slot
from train.progress import ProgressCallback

PROGRAM = "train.py"
"""File name of a program that is given as a single text."""

_REASON = 1000
"""Characters kept of a failure's reason."""
_LOG = 16_000
"""Characters kept of a traceback (its end)."""
_SPELLINGS: Mapping[str, Literal["minimise", "maximise"]] = {
    "minimise": "minimise",
    "minimize": "minimise",
    "maximise": "maximise",
    "maximize": "maximise",
}
_CONTRACT = """\
A function of the person who runs this search gets the texts of the files, runs them and returns the score. Keep what it
relies on: names, arguments and kinds of results as the first program has them, and what the instructions say of them.
"""


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
        """Return the files. Raises TaskError for Python that does not parse."""
        for path, text in self.files.items():
            require_python(path, text)
        return dict(self.files)

    def instructions(self) -> str:
        return self.text

    def facts(self) -> tuple[str, ...]:
        return ()

    @property
    def prompt_info(self) -> PromptInfo:
        return PromptInfo(_CONTRACT)

    def readonly_files(self) -> dict[str, bytes]:
        return {}

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

    score: Callable[[Request], float | Mapping[str, Any] | Score]
    """Scores the files of a request; see this module for what it may return. With data, it should use other data where
    ``request.purpose`` is ``confirm`` or ``report`` than where it is ``screen``."""
    program: str | Mapping[str, str]
    """The seed program: one text (file name ``train.py``) or path -> text. The search may change all of it."""
    direction: str
    """``minimise`` or ``maximise`` (or with z)."""
    name: str = "own"
    """Scores of tasks with different names are never compared: change the name when the function changes."""
    metric: str = "score"
    unit: str = ""
    seconds: float = 1.0
    """Approximate duration of a call in seconds; measured from the first call on."""
    instructions: str = ""
    """Goal and constraints for language models, and how ``score`` uses the files."""
    deterministic: bool = False
    """Whether a program's score is the same with every seed: then nothing is evaluated twice, and a claim is exact."""

    @property
    def files(self) -> dict[str, str]:
        return {PROGRAM: self.program} if isinstance(self.program, str) else dict(self.program)

    @property
    def task(self) -> FunctionTask:
        """The equivalent ``Task``. Raises ValueError for an invalid direction or ``seconds``."""
        require_seconds(self.seconds, "seconds")
        if self.direction not in _SPELLINGS:
            raise ValueError(f"direction is {self.direction!r}; expected 'minimise' or 'maximise'")
        metric = Metric(self.metric, _SPELLINGS[self.direction], unit=self.unit)
        files, text = self.files, self.instructions
        return FunctionTask(self.name, metric, self.seconds, files, text, deterministic=self.deterministic)

    @property
    def settings(self) -> dict[str, Any]:
        """Plain values for the archive: a resume with another program or another metric is refused."""
        direction = _SPELLINGS.get(self.direction, self.direction)
        metric = {"name": self.metric, "direction": direction, "unit": self.unit}
        settings = {"_target_": "search.OwnTask", "name": self.name, "metric": metric, "seconds": self.seconds}
        return {**settings, "deterministic": True} if self.deterministic else settings


def _number(value: object, what: str = "") -> float:
    """Return a finite number that a scoring function returned. Raises Invalid: no truth value and no text is one."""
    if (number := finite_number(value)) is None:
        raise Invalid(f"the scoring function returned {repr(value)[:100]}{what}; expected a finite number")
    return number


def read_score(returned: object, metric: Metric) -> Score:
    """Return what a scoring function returned as a ``Score``. Raises Invalid if it is none."""
    made = _of_mapping(returned, metric.name) if isinstance(returned, Mapping) else returned
    score = made if isinstance(made, Score) else Score(made)  # type: ignore[arg-type]
    value = _number(score.value)
    if (problem := metric.check(value)) is not None:
        raise Invalid(problem)
    metrics = {str(name): _number(each, f" as metric {str(name)!r}") for name, each in score.metrics.items()}
    return replace(score, value=value, metrics=metrics, feedback=str(score.feedback))


def _of_mapping(values: Mapping[Any, Any], metric: str) -> Score:
    """Return a score by the keys ``score`` (or the metric's name), ``feedback`` and further metrics."""
    named = [key for key in dict.fromkeys((metric, "score")) if key in values]
    if len(named) != 1:
        found = ", ".join(repr(key)[:40] for key in list(values)[:8]) or "nothing"
        expected = " or ".join(repr(key) for key in dict.fromkeys((metric, "score")))
        raise Invalid(f"the scoring function returned a mapping with {found}; expected the score as {expected}, once")
    rest = {key: value for key, value in values.items() if key not in (*named, "feedback")}
    return Score(values[named[0]], rest, values.get("feedback") or "")


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
        """Call the function. Its exceptions, SystemExit too, become failed evaluations; KeyboardInterrupt is raised."""
        started, began = self.clock(), self.monotonic()
        on_progress("train", 0.0)
        outcome = self._outcome(request)
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

    def _outcome(self, request: Request) -> dict[str, Any]:
        """Return the fields of a score or of a failure."""
        try:
            shown = replace(request, seed=candidate_seed(request.seed))
            score = read_score(self.own.score(shown), self._task.metric)
            return {"score": score.value, "metrics": score.metrics, "cases": _cases(score, request),
                    "certificate": _certificate(score)}  # fmt: skip
        except Invalid as error:
            return {"outcome": "invalid", "reason": str(error)[:_REASON]}
        except (Exception, SystemExit) as error:  # noqa: BLE001 - any exception of the function is the result
            reason = f"{type(error).__name__}: {str(error)[:_REASON]}"
            return {"outcome": "crashed", "reason": reason, "log": traceback.format_exc()[-_LOG:]}


def _cases(score: Score, request: Request) -> tuple[CaseScore, ...]:
    """Return the feedback as that of one case; none for a claim, whose feedback nobody may see."""
    if not score.feedback or request.purpose != "screen":
        return ()
    return (CaseScore("all", score.value, {}, score.feedback[:_LOG]),)


def _certificate(score: Score) -> str | None:
    try:
        return certificate_text(score.certificate)
    except ValueError as error:
        raise Invalid(str(error)) from None
