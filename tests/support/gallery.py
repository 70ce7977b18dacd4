"""The tasks of conf/task that are folders, judged in this process: scorers with stand-ins for the candidate."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from prepare.compose import CONF
from prepare.load import task_from
from prepare.program import ProgramTask, folder_settings
from prepare.scorer import Attempt, Invalid, Score, Timing
from prepare.values import pack, unpack
from train.program.model import CountedModel, ModelRefused, ScriptedSession
from train.program.scorer_main import Judge

TASKS = CONF / "task"
NAMES = sorted(path.parent.name for path in TASKS.glob("*/task.yaml"))


@dataclass
class StandIn:
    """A candidate in this process: functions by name. Values pass through the same packing as those of a sandbox."""

    functions: Mapping[str, Callable[..., Any]] = field(default_factory=dict)
    files: Mapping[str, bytes] = field(default_factory=dict)
    restarts: int = 0
    scripted: Callable[[str], CountedModel] | None = None
    """The model of an evaluation's key, for a task whose candidates are agents."""
    model: CountedModel | None = None

    def begin(self, split: str, seed: int) -> None:
        self.model = None if self.scripted is None else self.scripted(f"{split}/{seed}")

    def begin_case(self, name: str) -> None:
        if self.model is not None:
            self.model.begin_item(name)

    def call(
        self,
        function: str,
        *args: Any,
        seconds: float | None = None,
        services: Mapping[str, Callable[..., Any]] | None = None,
        **kwargs: Any,
    ) -> Any:
        given = unpack(pack({"args": list(args), "kwargs": kwargs}))
        served = {name: _packing(service) for name, service in (services or {}).items()}
        made = self.functions[function.rpartition(":")[2]](*given["args"], **given["kwargs"], **served)
        try:
            return unpack(pack(made))
        except ValueError as error:
            raise Invalid(f"{function}: {error}") from None

    def attempt(
        self,
        function: str,
        *args: Any,
        seconds: float | None = None,
        services: Mapping[str, Callable[..., Any]] | None = None,
    ) -> Attempt:
        """Call a function for one item; a refused call of the model ends it."""
        try:
            return Attempt(self.call(function, *args, services=services))
        except ModelRefused as refusal:
            return Attempt(None, "budget", str(refusal))

    def llm(self, prompt: str, system: str = "") -> str:
        assert self.model is not None
        return self.model(prompt, system)

    def read(self, path: str) -> bytes:
        return self.files[path]

    def time(self, function: str, inputs: Callable[[int], Any], pairs: int = 5) -> Timing:
        """Return outputs without their times: the ratio is 1."""
        made = [self.call(function, *inputs(pair)) for pair in range(pairs)]
        return Timing(0.001, 0.001, 1.0, 1.0, 1.0, made, [])

    def restart(self) -> None:
        self.restarts += 1


def _packing(service: Callable[..., Any]) -> Callable[..., Any]:
    """Return a service whose arguments and value pass through the packing, too."""
    return lambda *args: unpack(pack(service(*unpack(pack(list(args))))))


def module_of(path: Path) -> ModuleType:
    """Import a file that lies in no package."""
    spec = importlib.util.spec_from_file_location(f"gallery_{path.parent.name}_{path.stem}", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def task_of(name: str) -> ProgramTask:
    task = task_from(folder_settings(TASKS / name))
    assert isinstance(task, ProgramTask)
    return task


def cheats_of(name: str) -> list[Path]:
    """Return the files of a task's own cheats, of which there is one at least."""
    found = sorted((TASKS / name / "cheats").glob("*.*"))
    assert found
    return found


def seed_of(name: str) -> ModuleType:
    return module_of(TASKS / name / task_of(name).editable[0])


def judged(
    name: str,
    functions: Mapping[str, Callable[..., Any]],
    split: str = "val",
    seed: int = 1,
    files: Mapping[str, bytes] | None = None,
) -> list[Score]:
    """Return the score of each case of a split, as the scorer's process computes it. Raises Invalid."""
    judge = Judge(module_of(TASKS / name / "score.py"))
    results = list(judge.score(StandIn(functions, files or {}, scripted=_scripted(name)), split, seed))  # type: ignore[arg-type]
    return [Score(**{key: value for key, value in result.items() if key != "case"}) for result in results]


def _scripted(name: str) -> Callable[[str], CountedModel] | None:
    """Return what makes the scripted model of a task; None without one."""
    service = task_of(name).llm
    if service is None or service.file is None:
        return None
    answer = getattr(module_of(TASKS / name / service.file), service.function)
    return lambda key: CountedModel(service, lambda item: ScriptedSession(answer, f"{key}/{item}"))


def mean(scores: list[Score]) -> float:
    return float(np.mean([score.value for score in scores]))
