"""The audited evaluator: train, score and audit one candidate in three sandboxes that share no writable file.

    1. train   the candidate receives the training data when its clock starts; its only result is a state file
    2. score   screenings: the sandbox receives evaluation rows and claims one log-probability for each target
               for a claim: it receives windows that end at a secret position, and returns logits there (see
               ``train.language_model.judgement``)
    3. audit   a fresh sandbox that never sees the rows computes secret positions again (see
               ``train.language_model.audit``)

The parent process keeps the clock, the seeds and the arithmetic. Every call returns an ``Evaluation``: a failure has a
reason and the tail of the log, never a score. A request with ``seal`` ends after the training, with ``Trained``; one
with ``trained`` begins there, and ends with ``StageAnswered`` if another stage of its judgement follows.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from archive.records import (
    SPLIT_OF,
    Audit,
    Conditions,
    Failed,
    Landed,
    Request,
    Resources,
    Scored,
    Split,
    StageAnswered,
    StageAnswers,
    Trained,
)
from prepare.language_model import LanguageModelTask
from prepare.scoring import Floats, Measure, Symbols
from prepare.session import candidate_seed
from train.hardware.devices import DeviceInUse, Lease, Leases
from train.hardware.slots import Slot
from train.hardware.vendors import hardware_tag
from train.language_model.evaluation import EvaluationPipeline, ScoringContext
from train.language_model.judgement import JudgedText, PositionSet, secret_positions
from train.language_model.ngram import ngram_log_probs
from train.language_model.outgoing import OutgoingText
from train.language_model.program import NormalForm, normal_form
from train.language_model.stages import in_stages
from train.language_model.static_checks import StaticChecks
from train.progress import Progress, ProgressCallback
from train.sandbox.abort import Aborted, failure
from train.sandbox.base import Sandbox, SandboxUnavailable, folder_seen, stage_library
from train.sandbox.cgroup import find_groups
from train.sandbox.environment import trust_in
from train.sandbox.factory import SandboxFactory
from train.sandbox.fork_server import ForkServers
from train.sandbox.stage import new_stage, remove_stale_stages

Metrics = Mapping[str, float]
_WORKER = Path(__file__).with_name("worker.py")


class AuditedEvaluator:
    """Evaluator of language-model training programs. Thread-safe: one evaluation per slot at a time."""

    def __init__(
        self,
        task: LanguageModelTask,
        sandbox: Sandbox,
        *,
        memory_groups: bool = True,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """Load the evaluation rows and check that the sandbox does not expose them.

        memory_groups: limit memory with the kernel's control groups where they are available (see
        ``train.sandbox.cgroup``), otherwise by polling.

        Raises ValueError if the corpus does not fit the task, SandboxUnavailable if candidates could read its text.
        """
        self.task = task
        self.sandbox = sandbox
        self.groups = find_groups() if memory_groups else None
        self.leases = Leases()
        self._forks = ForkServers(sandbox, self.groups, lambda stage: self._stage(stage, {}))
        self._clock = clock
        self._checks = StaticChecks.of(task)
        self._rows = {split: _rows_of(task, split) for split in SPLIT_OF.values()}
        self._measures = {split: task.measure(rows) for split, rows in self._rows.items()}
        self._spare = task.spare_rows("holdout")
        self._ngram_estimates: dict[Split, Floats] = {}
        self._ngram_lock = threading.Lock()
        self._fingerprint = task.fingerprint()
        self._position_key = os.urandom(32)
        _refuse_unfit(task, [*self._rows.values(), *([self._spare] if len(self._spare) else [])])
        _refuse_leaks(task, sandbox)
        remove_stale_stages(sandbox)

    def keep(self, slot: Slot) -> None:
        """Have a fork server import torch for the slot's sandboxes, where that can be."""
        self._forks.start(slot)

    def release(self, slot: Slot) -> None:
        """End what is kept for the slot."""
        self._forks.end(slot)

    def gate(self, files: Mapping[str, str]) -> str | None:
        """Return why these files are refused before any budget is spent, or None. Runs nothing."""
        return self._checks.refuse(files)

    def ngram(self, split: Split) -> Floats:
        """Return the n-gram log-probabilities of a split; computed once. See ``train.language_model.ngram``."""
        with self._ngram_lock:
            if split not in self._ngram_estimates:
                sample = self.task.training_sample()
                self._ngram_estimates[split] = ngram_log_probs(sample, self._rows[split], max(256, self.task.vocab))
            return self._ngram_estimates[split]

    def positions(self, request: Request) -> PositionSet:
        """Return the positions at which an evaluation for a claim is judged, from the key of the request's archive.

        Requests without a key (of no archive) share one of this evaluator.
        """
        return self.judged(request).chosen

    def judged(self, request: Request) -> JudgedText:
        """Return the text at which an evaluation for a claim is judged, its secret positions included.

        The looks at a claim have no window in common. The second has the spare windows of the split, or where these are
        fewer than half as many, both have every other window.
        """
        split = SPLIT_OF[request.purpose]
        if not request.look:
            return self._text(request, self._rows[split], self._measures[split])
        if 2 * len(self._spare) >= len(self._rows[split]):
            spare = request.look > 1
            rows = self._spare if spare else self._rows[split]
            return self._text(request, rows, self.task.measure(rows), "/spare" if spare else "")
        first = (request.look - 1) % 2
        half = self.task.measure(self._rows[split][first::2])
        return self._text(request, self._rows[split], self._measures[split]).every_other(first, half)

    def _text(self, request: Request, rows: Symbols, measure: Measure, kind: str = "") -> JudgedText:
        key, shape = request.position_key or self._position_key, (len(rows), rows.shape[1] - 1)
        last = secret_positions(key, self._fingerprint + kind, SPLIT_OF[request.purpose], shape, measure)
        stages = 1 if request.text_shown else self.task.stages_for(len(rows))
        return JudgedText(rows, measure, in_stages(last, key, shape[1], measure, stages))

    def conditions(self, slot: Slot) -> Conditions:
        """Return the conditions that scores made in ``slot`` share: only scores of equal conditions are compared."""
        tag = hardware_tag(slot, self.task.clock_on(slot.device))
        return Conditions(self._fingerprint, self.task.seconds, tag)

    def evaluate(
        self, request: Request, slot: Slot, cancelled: threading.Event, on_progress: ProgressCallback
    ) -> Landed:
        """Train, score and audit a candidate; ``on_progress`` receives the progress.

        Blocks for the whole evaluation. Never raises for what a candidate does: an unexpected exception of the
        evaluator itself is an ``invalid`` evaluation with a ``defect``, since a candidate may have provoked it.
        """
        started, began, lease = self._clock(), time.monotonic(), Lease()
        progress = Progress(seconds=request.trained.resources.seconds if request.trained is not None else 0.0)
        program: dict[str, NormalForm] = {}
        said = OutgoingText(self._checks, program)
        try:
            if (reason := self.gate(request.files)) is not None:
                raise Aborted("invalid", reason)
            program |= {path: normal_form(text) for path, text in request.files.items()}
            with self.leases.lease(slot, cancelled) as lease, self._staged(program) as stage:
                hello = _hello(self.task, request, slot)
                sandboxes = SandboxFactory(
                    task=self.task,
                    sandbox=self.sandbox,
                    slot=slot,
                    stage=stage,
                    groups=self.groups,
                    forks=self._forks,
                    hello=hello,
                    request=request,
                    progress=progress,
                    cancelled=cancelled,
                )
                scoring = ScoringContext(self._rows, self._measures, self.ngram, self.judged)
                pipeline = EvaluationPipeline(scoring, sandboxes, on_progress)
                outcome = _outcome(pipeline, request)
            outcome["metrics"] = {**progress.metrics, **lease.metrics}
        except DeviceInUse as error:
            outcome = failure(Aborted("lost", str(error)))
        except Exception as error:  # noqa: BLE001 - recorded; the search goes on
            outcome = failure(error)
        device = slot.device if slot.gpu is None else f"cuda:{slot.gpu}"
        common: dict[str, Any] = {
            "request": request,
            "conditions": self.conditions(slot),
            "resources": self._resources(progress, lease),
            "trust": trust_in(self.sandbox.tier, device),
            "sandbox": self.sandbox.tier,
            "device": device,
            "started_at": started,
            "finished_at": started + time.monotonic() - began,  # the wall clock may be set meanwhile
            "log": said.cleared(progress.log),
            "curve": tuple(progress.curve),
        }
        if "state" in outcome:
            return Trained(**common, **outcome)
        if "stage" in outcome:
            return _answered(common, **outcome)
        if "score" in outcome:
            return Scored(**common, **outcome)
        return Failed(**common, **outcome | {"reason": said.cleared(outcome["reason"])})

    def _resources(self, progress: Progress, lease: Lease) -> Resources:
        return Resources(
            seconds=progress.seconds,
            phases=progress.phases,
            cpu_seconds=progress.cpu_seconds,
            peak_memory_mb=progress.peak_memory_mb,
            steps=progress.steps,
            peak_device_mb=lease.peak_mb,
            memory_by=self.groups.name if self.groups is not None else "watch",
            machine_speed=progress.machine_speed,
        )

    @contextlib.contextmanager
    def _staged(self, program: Mapping[str, NormalForm]) -> Iterator[Path]:
        """Create a temporary folder with the worker's library and the candidate's files in their normal form."""
        with new_stage(self.sandbox) as folder:
            self._stage(Path(folder), program)
            yield Path(folder)

    def _stage(self, stage: Path, program: Mapping[str, NormalForm]) -> None:
        stage_library(stage, _WORKER)
        (stage / "candidate").mkdir(mode=0o755, exist_ok=True)
        for path, form in program.items():
            target = stage / "candidate" / path
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(form.text, encoding="utf-8")
        for path_ in (stage / "candidate", *(stage / "candidate").rglob("*")):
            path_.chmod(0o755 if path_.is_dir() else 0o644)


def _outcome(pipeline: EvaluationPipeline, request: Request) -> dict[str, Any]:
    """Do what a request asks for; return what its record has beside the resources. Raises as the pipeline does."""
    if request.seal:
        return {"state": pipeline.train()}
    if (stage := pipeline.next_stage()) is not None:
        return {"stage": stage, "found": pipeline.answer(stage)}
    score, audit, windows = pipeline.run()
    return {"score": score, "audit": audit, "windows": windows}


def _answered(common: dict[str, Any], stage: int, found: tuple[str, Floats, Audit], metrics: Metrics) -> StageAnswered:
    name, log_probs, audit = found
    answers = StageAnswers(name, log_probs.astype("<f8").tobytes(), audit, common["resources"], common["trust"])
    return StageAnswered(**common, metrics=metrics, stage=stage, answers=answers)


def _hello(task: LanguageModelTask, request: Request, slot: Slot) -> dict[str, object]:
    """Return what every mode of the worker is told of the task."""
    return {
        "seed": candidate_seed(request.seed),
        "seconds": task.seconds,
        "hide_machine": True,
        "clock_cores": slot.width if task.clock_on(slot.device) == "cpu" else 0,
        "task": {"vocab": task.vocab, "context": task.context, "device": slot.device},
    }


def _rows_of(task: LanguageModelTask, split: Split) -> Symbols:
    return task.evaluation_rows(split) if split == "val" else task.claim_rows(split)


def _refuse_unfit(task: LanguageModelTask, rows: Iterable[Symbols]) -> None:
    """Raise ValueError for a wrong direction, a corpus that is too small, and symbols beyond the vocabulary."""
    if task.metric.direction != "minimise":
        raise ValueError(
            f"task.metric.direction is {task.metric.direction!r}; expected 'minimise', since this evaluator "
            "measures bits per byte, of which a better model has fewer"
        )
    trained = task.training_size()
    if trained <= task.context + 1:
        raise ValueError(
            f"the training split has {trained:,} {task.encoding}; task.context is {task.context}, so it needs more"
        )
    if (largest := max(int(part.max()) for part in rows)) >= task.vocab:
        raise ValueError(f"the text holds the byte {largest}, and task.vocab is {task.vocab}; 256 covers every byte")


def _refuse_leaks(task: LanguageModelTask, sandbox: Sandbox) -> None:
    """Raise SandboxUnavailable if the evaluation text lies in a folder that the sandbox mounts."""
    for location in task.locations():
        if (folder := folder_seen(sandbox, location)) is not None:
            raise SandboxUnavailable(
                f"the corpus {task.corpus.name!r} has its text in {location}, and candidates can read {folder}. "
                "Keep the text elsewhere (task.corpus.path), or set TREEWRIGHT_CACHE to another folder."
            )
    for package in task.corpus.forbidden_packages:
        for folder in sandbox.mounted():
            for pattern in (package, f"lib*/python*/*-packages/{package}", f"local/lib/python*/*-packages/{package}"):
                if found := next(folder.glob(pattern), None):
                    raise SandboxUnavailable(
                        f"the package {package!r} in {found} holds the evaluation text, and candidates could read it "
                        f"there. Remove it: {shutil.which('pip') or 'pip'} uninstall {package}"
                    )
