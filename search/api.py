"""Ask-and-tell interface of a search: ``ask`` returns the next evaluation to make, ``tell`` records its result.

    import search

    with search.Search("shakespeare", "ucb", operators="numeric", archive="notes.duckdb", seed=1) as s:
        while (request := s.ask()) is not None:         # or s.run(slots=2, progress=True)
            s.tell(s.evaluate(request))
        print(s.summary())

``python -m search`` uses the same class: budgets, moves, claim and archive rows are the same, so that a run started
with one can be resumed with the other. Task, policy and operators are names of files under ``conf/``, or objects of
your own; a task can be a function (``search.OwnTask``). One thread may call ``ask`` several times before it calls
``tell``; ``ask`` then returns None when it needs a result first. ``evaluate`` may be called from several threads.
"""

from __future__ import annotations

import queue
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, fields, is_dataclass, replace
from pathlib import Path
from typing import Any, Self

from archive.records import EvaluationPart, Landed, Node, Request
from archive.storage.store import Archive
from archive.tree import Tree
from operators.base import Operator
from prepare.config import SettingsError
from prepare.known import TaskError
from prepare.load import task_from
from prepare.task import Task
from search import factory, settings
from search.config import Budget, Config
from search.display.live import SilentDisplay, make_display
from search.factory import Llm, Overrides
from search.function_task import FunctionEvaluator, OwnTask
from search.observers.factory import observers_of
from search.policies.base import Policy
from search.run import engine
from search.run.controller import RunController, RunResult
from search.run.loop import SlotLoop
from search.run.resume import Opened, catch_up, open_run
from search.run.session import interruptible
from search.run.steering import with_extra
from train.executors.base import Evaluator, KeepsProcesses, Scorer
from train.executors.local import LocalExecutor
from train.hardware.slots import Slot, shared_cores_warning


@dataclass(frozen=True)
class SearchComponents:
    """The objects that a search needs besides its configuration."""

    task: Task
    files: Mapping[str, str]
    """The root's files: path -> text."""
    evaluator: Scorer
    slots: tuple[Slot, ...]
    given: Overrides = field(default_factory=Overrides)


class Search(RunController):
    """One run with ``ask`` and ``tell``. Not thread-safe: call both from one thread. Close it, or use ``with``."""

    def __init__(
        self,
        task: str | Task | OwnTask = "shakespeare",
        policy: str | Policy = "ucb",
        *,
        operators: str | Mapping[str, Operator] | Sequence[Operator] = "auto",
        archive: Archive | Path | str | None = None,
        seed: int = 0,
        run: str | None = None,
        budget: Budget | Mapping[str, Any] | int | None = None,
        claim: bool = True,
        overrides: Sequence[str] = (),
    ) -> None:
        """Start a new run, or resume the run named ``run`` if it exists.

        ``archive``: a file, an open archive, or None for one in memory. ``budget``: a number of evaluations, a
        ``search.Budget`` or its fields (``{"hours": 8}``); None: the default of the settings, 29 evaluations.
        ``claim``: whether the winner is tested on fresh seeds at the end, from the same budget. ``overrides``: further
        settings, as for ``python -m search``: ``["task.seconds=3", "sandbox=none"]``.

        Raises SettingsError, RunChanged, ArchiveError, TaskError, SandboxUnavailable, PreparationError or LlmError,
        with a message that states the remedy.
        """
        sections: dict[str, Any] = {"seed": seed, "run": run}
        if budget is not None:
            sections["budget"] = _limits(budget)
        if not claim:
            sections["claim"] = None
        config = _configured(task, policy, operators, overrides, sections).described(archive=str(archive))
        components = _components(task, config, _given(task, policy, operators))
        owned = None if isinstance(archive, Archive) else _opened(archive)
        try:
            self._open(config, components, owned or archive)  # type: ignore[arg-type]
        except BaseException:
            if owned is not None:
                owned.close()
            raise
        self._owned = owned

    @classmethod
    def of(
        cls, config: Config, components: SearchComponents, archive: Archive, stop: threading.Event | None = None
    ) -> Search:
        """Make a search from a typed configuration. Raises SettingsError, RunChanged or LlmError.

        ``stop``: set from outside when nothing is to be sent to a language model any more.
        """
        new = cls.__new__(cls)
        new._owned = None
        new._open(config, components, archive, stop)
        return new

    def _open(
        self, config: Config, components: SearchComponents, archive: Archive, stop: threading.Event | None = None
    ) -> None:
        task, slots, given = components.task, components.slots, components.given
        conditions = components.evaluator.conditions(slots[0])
        self._components = components
        self._free: queue.LifoQueue[Slot] = queue.LifoQueue()
        for slot in reversed(slots):
            self._free.put(slot)
        own = components.files if given.program is not None else None
        self._opened = open_run(archive, config, task, conditions, time.time(), own, start=False)
        run = self._opened.run
        agents = factory.live_model(config, task) is not None
        asked = given.operators is None or agents
        self._llm = factory.build_llm(config, archive, run.run, stop, agents=agents) if asked else Llm(None, "")
        factory.lend_model(config, task, components.evaluator, self._llm.meter, archive.agent_calls)
        if self._llm.meter is None and (useless := config.budget.needs_model()) is not None:
            raise SettingsError(useless)
        parts = factory.build_search(config, task, components.evaluator, self._llm, given)
        lookahead = factory.build_lookahead(parts, self._llm, len(slots))
        core = engine.Engine(parts, archive, run, self._opened.tree, lookahead)
        used = archive.seconds_used(run.run)
        budget = with_extra(config.budget, self._opened.tree.steering.extra)
        super().__init__(core, budget, config.claim, slots=len(slots), used=used)
        self._begun = False
        self._observers = observers_of(config, self, self._opened.resumed, self._llm.meter)

    # ------------------------------------------------------------ properties

    @property
    def opened(self) -> Opened:
        """The run, and whether it was resumed."""
        return self._opened

    @property
    def llm(self) -> Llm:
        """The language model, with a line that describes it."""
        return self._llm

    @property
    def archive(self) -> Archive:
        return self.engine.archive

    @property
    def tree(self) -> Tree:
        return self.engine.tree

    @property
    def best(self) -> Node | None:
        """The champion if there is one; else the leader, whose improvement is not confirmed; None without either."""
        verdict = (self.result.verdict or self.result.standing) if self.result is not None else None
        found = verdict.node_id if verdict is not None and verdict.kind == "champion" else self.tree.leader()
        return None if found is None else self.tree[found]

    # ------------------------------------------------------------ methods

    def begin(self) -> None:
        """Start the run with the root, or resume unfinished work. Called by the first ``ask`` if not called before."""
        if self._begun:
            return
        self._begun = True
        core, slots = self.engine, self._components.slots
        if not self._opened.resumed:
            self.archive.start_run(self._opened.run)
        core.journal.note("session", f"{'resumed' if self._opened.resumed else 'started'} with {len(slots)} slots")
        if (shared := shared_cores_warning(slots)) is not None:
            core.journal.note("sharing", shared)
        core.start(self._components.files)
        if self._opened.other_hardware is not None and self.remaining > 0:
            catch_up(core, self._opened.other_hardware)

    def ask(self, free: int = 1, *, patient: bool = True) -> Request | None:
        """Return the next evaluation; None if the run has ended (see ``result``) or a result must be told first."""
        self.begin()
        return super().ask(free, patient=patient)

    def tell(self, landed: Landed) -> None:
        """Record a result, as ``RunController.tell`` does, and let observers know."""
        super().tell(landed)
        if not isinstance(landed, EvaluationPart):
            for observer in self._observers:
                observer.landed(self, landed)

    def tell_end(self, error: Exception | None = None) -> None:
        """Let observers know that the session is over, once, and wait for what they do. ``error``: what ended it."""
        observers, self._observers = self._observers, ()
        words = "stopped by you" if error is None else str(error)
        for observer in observers:
            result = self.result if error is None else None
            observer.ended(self, result or RunResult(words, None, finished=False), error is not None)

    def evaluate(self, request: Request) -> Landed:
        """Evaluate in a free slot of this process and wait: in a sandbox, or by the function of an ``OwnTask``.

        Threads of your own may call it at the same time. While all slots are taken, it waits; functions need no slot.
        Of an evaluation for a claim, each call makes one part (see ``search/run/sealing.py``).

        Raises TypeError if the executor evaluates elsewhere.
        """
        evaluator = self._components.evaluator
        if not isinstance(evaluator, Evaluator):
            raise TypeError("this search has no slots in this process: its executor makes the evaluations")
        with self._slot() as slot:
            return evaluator.evaluate(request, slot, threading.Event(), _no_progress)

    @contextmanager
    def _slot(self) -> Iterator[Slot]:
        """Take a free slot for the time of the context; of a function task, always the one that it has."""
        if isinstance(self._components.evaluator, FunctionEvaluator):
            yield self._components.slots[0]
            return
        slot = self._free.get()
        try:
            yield slot
        finally:
            self._free.put(slot)

    def run(self, slots: int | None = None, progress: bool = False) -> RunResult:
        """Make all evaluations, several at a time, until the run has ended. Return its result.

        ``slots``: evaluations at a time; None: one for the function of an ``OwnTask``, else all slots of this machine.
        ``progress``: print a line for each evaluation, or a live display on a terminal. Ctrl-C, or the interrupt of a
        notebook, ends it when the running evaluations have ended: call it again to continue.

        Raises SettingsError for more slots than there are, SearchStopped if the search cannot continue, and TypeError
        if the executor evaluates elsewhere.
        """
        evaluator, places = self._components.evaluator, self._places(slots)
        if not isinstance(evaluator, Evaluator):
            raise TypeError("this search has no slots in this process: its executor makes the evaluations")
        self.begin()
        stop = threading.Event()
        display = make_display(sys.stdout) if progress else SilentDisplay()
        with interruptible(stop), display, LocalExecutor(evaluator, places) as executor:
            loop = SlotLoop(self, executor, display, stop)
            display.follow(loop.forecast, self._llm.meter)
            try:
                return loop.run()
            finally:
                executor.close()
                loop.drain()

    def _places(self, count: int | None) -> tuple[Slot, ...]:
        """Return the slots of ``run``. A function has as many as are wanted, since it needs no core of its own."""
        slots = self._components.slots
        if count is not None and (isinstance(count, bool) or not isinstance(count, int) or count < 1):
            raise SettingsError(f"slots={count!r}; expected a whole number of at least 1, or None")
        if isinstance(self._components.evaluator, FunctionEvaluator):
            return tuple(replace(slots[0], index=index) for index in range(count or 1))
        if count is not None and count > len(slots):
            raise SettingsError(
                f"slots={count}, and there are {len(slots)}; more come with overrides=['executor.slots={count}']"
            )
        return slots[:count]

    def summary(self) -> str:
        """Return the result as text, as ``python -m search`` prints it."""
        from search.display.summary import summarise

        result = self.result or RunResult("not finished", None, finished=False)
        path = str(self.archive.path)
        return summarise(self.engine, result, self.archive, None if path == ":memory:" else path)

    def close(self) -> None:
        """Wait for answers of the language model that are already paid for; close the archive if opened here."""
        self.engine.close()
        self.tell_end()
        if isinstance(self._components.evaluator, KeepsProcesses):
            for slot in self._components.slots:
                self._components.evaluator.release(slot)
        if self._owned is not None:
            self._owned.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: object, error: object, *_: object) -> None:
        if isinstance(error, Exception):
            self.tell_end(error)
        self.close()


def _no_progress(phase: str, share: float, loss: float | None = None, /) -> None:
    """Ignore the progress of an evaluation."""


def _opened(archive: Path | str | None) -> Archive:
    return Archive.in_memory() if archive is None else Archive.open(archive)


# ---------------------------------------------------------------- names and objects


def _limits(budget: Budget | Mapping[str, Any] | int) -> dict[str, Any]:
    """Return all fields of a budget. Raises SettingsError for an unknown field or an invalid value."""
    try:
        if not isinstance(budget, Budget):
            budget = Budget(evaluations=budget) if isinstance(budget, int) else Budget(**budget)
    except (TypeError, ValueError) as error:
        names = ", ".join(part.name for part in fields(Budget))
        raise SettingsError(
            f"budget={budget!r}: {error}. A budget is a number of evaluations, or has {names}"
        ) from error
    return {part.name: getattr(budget, part.name) for part in fields(budget)}


def _configured(
    task: object, policy: object, operators: object, overrides: Sequence[str], sections: Mapping[str, Any]
) -> Config:
    """Return the typed configuration: names are choices of ``conf/``, objects are recorded as plain values."""
    asked = {"task": task, "policy": policy, "operators": operators}
    names = {group: name for group, name in asked.items() if isinstance(name, str)}
    words = [*(f"{group}={name}" for group, name in names.items()), *overrides]
    chosen = {group: names.get(group) or _title(value) for group, value in asked.items()}
    config = settings.config_for(words, factory.device_for, chosen=chosen, **sections)
    objects: dict[str, Any] = {}
    if isinstance(task, OwnTask):
        objects["task"] = task.settings
    elif isinstance(task, Task):
        objects["task"] = _described(task)
    if not isinstance(policy, str):
        objects["policy"] = _described(policy)
    if not isinstance(operators, str):
        objects["operators"] = {name: _described(each) for name, each in _by_name(operators).items()}
    return config.described(**objects)


def _title(value: object) -> str:
    return value.name if isinstance(value, Task | OwnTask) else type(value).__name__


def _by_name(operators: Any) -> dict[str, Operator]:
    return dict(operators) if isinstance(operators, Mapping) else {each.name: each for each in operators}


def _given(task: object, policy: Any, operators: object) -> Overrides:
    return Overrides(
        program=task.instructions if isinstance(task, OwnTask) else None,
        policy=None if isinstance(policy, str) else policy,
        operators=None if isinstance(operators, str) else _by_name(operators),
    )


def _components(task: object, config: Config, given: Overrides) -> SearchComponents:
    """Return the task with its evaluator and slots. Raises SettingsError, and the errors of ``build_evaluation``."""
    if isinstance(task, OwnTask):
        slot = Slot(index=0, device="cpu", gpu=None, cores=(), threads=1)
        try:
            own = task.task
            return SearchComponents(own, factory.seed_files(own), FunctionEvaluator(task), (slot,), given)
        except (ValueError, TaskError) as error:
            raise SettingsError(str(error)) from error
    if factory.executor_kind(config.executor) is not LocalExecutor:
        raise SettingsError(
            "search.Search evaluates in this process: omit executor=, or use `python -m search`, which can use the "
            "slots of a cluster"
        )
    real = task if isinstance(task, Task) else task_from(config.task)
    files = factory.seed_files(real)
    local = factory.build_evaluation(config, real)
    return SearchComponents(real, files, local.evaluator, local.slots, given)


def _described(value: Any) -> dict[str, Any]:
    """Return an object as plain values: its class, and the fields of a dataclass. Part of a run's identity."""
    kind = type(value)
    described: dict[str, Any] = {"_target_": f"{kind.__module__}.{kind.__qualname__}"}
    if is_dataclass(value):
        for part in fields(value):
            described[part.name] = _plain(getattr(value, part.name))
    return described


def _plain(value: Any) -> Any:
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return _described(value)
