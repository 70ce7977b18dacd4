"""The evaluator of programs of any kind: a scorer judges a candidate in a sandbox, case by case.

    scorer process    trusted: score.py, hidden data; one per slot, kept between evaluations
    this process      passes requests on; clock, limits and reasons
    sandbox           fresh for each evaluation, started ahead: the candidate's files are sent to it, nothing else

Every call returns an ``Evaluation``, except when the scorer itself fails: that is an error of the task (``TaskError``),
which stops the search and blames no candidate.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from archive.records import (
    SPLIT_OF,
    CaseScore,
    Conditions,
    Evaluation,
    Failed,
    Request,
    Resources,
    Scored,
    Split,
    Trust,
    WindowScores,
)
from prepare.known import TaskError
from prepare.program import ProgramTask
from train.hardware.slots import Slot
from train.hardware.vendors import hardware_tag
from train.program.candidate import CandidateHost, Candidates
from train.program.gate import refuse
from train.program.model import ModelService
from train.program.scorer_process import CaseResults, CaseSet, ScorerProcess
from train.progress import Progress, ProgressCallback
from train.sandbox.abort import Aborted, failure
from train.sandbox.base import Sandbox
from train.sandbox.cgroup import find_groups


class Scorers:
    """The scorers of this process, one for each slot."""

    def __init__(self, task: ProgramTask) -> None:
        self._task = task
        self.live = False
        """Whether the driver's language model answers candidates."""
        self._running: dict[int, ScorerProcess] = {}
        self._sets: dict[tuple[Split, bytes], CaseSet] = {}
        self._lock = threading.Lock()

    @contextlib.contextmanager
    def of(self, slot: Slot) -> Iterator[ScorerProcess]:
        """Yield the slot's scorer, started if none is running."""
        scorer = self._running.pop(slot.index, None)
        if scorer is None or not scorer.alive:
            scorer = ScorerProcess(self._task, live=self.live)
        try:
            yield scorer
        finally:
            if scorer.alive:
                self._running[slot.index] = scorer

    def start(self, slot: Slot) -> None:
        """Start the slot's scorer, if none is running, and return without waiting for it."""
        with self._lock:
            if slot.index not in self._running:
                self._running[slot.index] = ScorerProcess(self._task, live=self.live)

    def close(self, slot: Slot) -> None:
        """End the slot's scorer, if one is running."""
        if (scorer := self._running.pop(slot.index, None)) is not None:
            scorer.close()

    def case_set(self, slot: Slot, split: Split, key: bytes = b"") -> CaseSet:
        """Return digest and number of a split's cases. Raises TaskError if two calls of ``cases`` differ."""
        with self._lock:
            if (split, key) not in self._sets:
                with self.of(slot) as scorer:
                    once, again = scorer.cases(split, key), scorer.cases(split, key)
                if once != again:
                    raise TaskError(
                        f"cases({split!r}, rng) of task {self._task.name!r} gives other data each time, so scores "
                        "could not be compared; draw random numbers from its argument rng only"
                    )
                self._sets[split, key] = once
            return self._sets[split, key]


class ProgramEvaluator:
    """Evaluator of tasks that are folders. Thread-safe: one evaluation per slot at a time."""

    def __init__(
        self,
        task: ProgramTask,
        sandbox: Sandbox,
        *,
        memory_groups: bool = True,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """Read the seed. Raises ValueError for a task of another kind, TaskError for unusable files.

        memory_groups: limit memory with the kernel's control groups where they are available.
        """
        if not isinstance(task, ProgramTask):
            raise ValueError(f"task {task.name!r} trains a language model; expected evaluator=audited")
        self.task = task
        self.sandbox = sandbox
        self.groups = find_groups() if memory_groups else None
        self._seed = task.seed_files()
        self._scorers = Scorers(task)
        self._host = CandidateHost(task, sandbox, self.groups)
        self._clock = clock
        self._fingerprint = task.fingerprint()
        self._model: ModelService | None = None

    def name_model(self, name: str) -> None:
        """Have candidates ask the driver's model of this name instead of a scripted one: part of the conditions.

        Call it before the first evaluation, and ``lend_model`` before the first one that is not ``conditions``.
        """
        self._scorers.live = True
        self._fingerprint = f"{self.task.fingerprint()}/{name}"

    def lend_model(self, model: ModelService) -> None:
        """Set what answers candidates, of the name that ``name_model`` was given."""
        self._model = model

    def gate(self, files: Mapping[str, str]) -> str | None:
        """Return why these files are refused before any budget is spent, or None. Runs nothing."""
        return refuse(self.task, self._seed, files)

    def conditions(self, slot: Slot) -> Conditions:
        """Return the conditions of scores made on this slot. Raises TaskError if the task has no usable cases."""
        digest = self._scorers.case_set(slot, "val").digest
        tag = hardware_tag(slot, self.task.clock_on(slot.device))
        return Conditions(f"{self._fingerprint}/{digest}", self.task.seconds, tag)

    def count_cases(self, slot: Slot, split: Split) -> int:
        """Return how many cases of a split are used; no candidate is judged. Raises TaskError."""
        return self._scorers.case_set(slot, split).size

    def evaluate(
        self, request: Request, slot: Slot, cancelled: threading.Event, on_progress: ProgressCallback
    ) -> Evaluation:
        """Judge a candidate on the cases of the request's split. Raises TaskError for a failure of the scorer."""
        started, began, progress, results = self._clock(), time.monotonic(), Progress(), CaseResults()
        split = SPLIT_OF[request.purpose]
        try:
            if (reason := self.gate(request.files)) is not None:
                raise Aborted("invalid", reason)
            self._judge(request, slot, cancelled, on_progress, progress, results)
            outcome = self._outcome(results, request, slot)
        except TaskError:
            raise
        except Exception as error:  # noqa: BLE001 - recorded; the search goes on
            outcome = failure(error)
        shown = results.cases if split == "val" else [replace(case, feedback="") for case in results.cases]
        common: dict[str, Any] = {
            "request": replace(request, parent_cases={}),  # it would stay in memory with every node
            "conditions": self.conditions(slot),
            "resources": self._resources(progress),
            "trust": self._trust,
            "sandbox": self.sandbox.tier,
            "device": slot.device,
            "started_at": started,
            "finished_at": started + time.monotonic() - began,
            "log": progress.log if split == "val" else "",
            "cases": tuple(shown),
            "metrics": _means(results),
        } | outcome
        return Scored(**common) if "score" in outcome else Failed(**common)

    def keep(self, slot: Slot) -> None:
        """Start the scorer and a sandbox now, and another sandbox as one ends, in the thread that serves the slot."""
        self._host.keep_spare(slot)
        with contextlib.suppress(OSError):  # each is started when it is needed, which says why it cannot be
            self._scorers.start(slot)
            self._host.start_ahead(slot)

    def release(self, slot: Slot) -> None:
        """End what is kept between the slot's evaluations: its scorer, and the sandbox started ahead."""
        self._host.remove_spare(slot)
        self._scorers.close(slot)

    def _judge(
        self,
        request: Request,
        slot: Slot,
        cancelled: threading.Event,
        on_progress: ProgressCallback,
        progress: Progress,
        results: CaseResults,
    ) -> None:
        on_progress("score", 0.0)
        with (
            self._scorers.of(slot) as scorer,
            self._candidates(request, slot, progress, cancelled) as candidates,
            progress.phase("score"),
        ):
            model = None if self._model is None else self._model.session(request)
            split, key, parent = SPLIT_OF[request.purpose], request.case_key, request.parent_cases
            scorer.judge(split, request.seed, candidates, results, cancelled, model, key, parent)

    def _candidates(self, request: Request, slot: Slot, progress: Progress, cancelled: threading.Event) -> Candidates:
        """Return the factories of sandboxes for an evaluation: of the candidate, and of the seed."""
        seed = replace(request, files=self._seed)
        own = self._host.sandboxes(request, slot, progress, cancelled)
        baseline = self._host.sandboxes(seed, slot, Progress(), cancelled)
        return Candidates(own, baseline, lambda: None if cancelled.is_set() else self._host.start_ahead(slot))

    def _outcome(self, results: CaseResults, request: Request, slot: Slot) -> dict[str, Any]:
        """Return the fields of the scored or failed evaluation. Raises TaskError for metrics that contradict."""
        metrics, metric = _means(results), self.task.metric
        score = float(np.mean([case.value for case in results.cases]))
        if metrics.get(metric.name, score) != score:
            raise TaskError(
                f"the scorer of task {self.task.name!r} gave two values for {metric.name}: the score {score:.6g} and "
                f"the metric {metrics[metric.name]:.6g}; expected one"
            )
        if (nothing := _nothing_right(results.cases)) is not None:
            return {"outcome": "invalid", "reason": nothing}
        if broken := [reason for each in self.task.constraints if (reason := each.broken_by(metrics)) is not None]:
            return {"outcome": "infeasible", "reason": "; ".join(broken), "metrics": {**metrics, metric.name: score}}
        if (problem := metric.check(score)) is not None:
            return {"outcome": "invalid", "reason": problem}
        values = np.array([case.value for case in results.cases])
        used = self._scorers.case_set(slot, SPLIT_OF[request.purpose], request.case_key)
        by_case = WindowScores.of(used.digest, values)
        return {"score": score, "windows": by_case, "certificate": results.certificate}

    @property
    def _trust(self) -> Trust:
        return self.task.trust if self.sandbox.tier != "none" else "self_reported"

    def _resources(self, progress: Progress) -> Resources:
        return Resources(
            seconds=progress.seconds,
            phases=progress.phases,
            cpu_seconds=progress.cpu_seconds,
            peak_memory_mb=progress.peak_memory_mb,
            memory_by=self.groups.name if self.groups is not None else "watch",
        )


def _nothing_right(cases: Sequence[CaseScore]) -> str | None:
    """Return why items without a right one are no score: such an agent is to be debugged; None for other cases."""
    endings = [case.ending for case in cases if case.ending is not None]
    if not endings or "right" in endings:
        return None
    counted = ", ".join(f"{endings.count(code)} {code}" for code in dict.fromkeys(endings))
    return f"none of its {len(endings)} items ended right: {counted}"


def _means(results: CaseResults) -> dict[str, float]:
    """Return the mean of each metric over the cases that have it."""
    names = dict.fromkeys(name for case in results.cases for name in case.metrics)
    return {
        name: float(np.mean([case.metrics[name] for case in results.cases if name in case.metrics])) for name in names
    }
