"""The audited evaluator: train, score and audit one candidate in three sandboxes that share nothing writable.

    1. train   the candidate gets the training bytes when its clock starts; a state file comes out, nothing else counts
    2. score   code and state, and the evaluation rows: one log-probability for each target is claimed
    3. audit   a fresh sandbox that never sees the rows; secret positions are computed again (see ``train.audit``)

The parent keeps the clock, the seeds and the arithmetic. An ``Evaluation`` always comes back: a failure is a row
with a reason and the tail of the log, never a number.
"""

from __future__ import annotations

import contextlib
import fcntl
import math
import os
import shutil
import socket
import tempfile
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import safetensors

from archive.records import (
    SPLIT_OF,
    Audit,
    Conditions,
    CurvePoint,
    Evaluation,
    Failed,
    Request,
    Resources,
    Scored,
    Split,
)
from prepare.scoring import Bytes, Floats, bits_per_byte
from prepare.task import Task
from train import audit
from train.cell import Cell, Ended
from train.gates import Gates
from train.reference import ngram_log_probs
from train.sandbox import Sandbox, SandboxUnavailable, stage_library
from train.slots import Slot, hardware_tag

_STAGE = "treewright-"
_GRACE = 0.02
"""Share of the budget by which a state may be late."""
_CURVE_POINTS = 2000
_REPORT_BYTES = 4096
_REPORTS_PER_SECOND = 200  # ten times what a session sends
_STRAY_FRAMES = 1000  # a thread of the candidate's may still report while predict is checked
_LAUNCH_SECONDS = 120.0  # for a sandbox to import its packages, from a cold disk too


@dataclass
class _Progress:
    """What is known of a running evaluation; it becomes part of the record however the evaluation ends."""

    phases: dict[str, float] = field(default_factory=dict)
    seconds: float = 0.0
    cpu_seconds: float = 0.0
    peak_memory_mb: float = 0.0
    curve: list[CurvePoint] = field(default_factory=list)
    steps: int | None = None
    log: str = ""
    metrics: dict[str, float] = field(default_factory=dict)

    @contextlib.contextmanager
    def phase(self, name: str) -> Iterator[None]:
        began = time.monotonic()
        try:
            yield
        finally:
            self.phases[name] = self.phases.get(name, 0.0) + time.monotonic() - began


class AuditedEvaluator:
    """Scores candidates of one task. Thread-safe: one evaluation per slot runs at a time, each in its own thread."""

    def __init__(self, task: Task, sandbox: Sandbox, *, clock: Callable[[], float] = time.time) -> None:
        self.task = task
        self.sandbox = sandbox
        self._clock = clock
        self._gates = Gates.of(task)
        self._rows = {split: task.evaluation_rows(split) for split in SPLIT_OF.values()}
        self._references: dict[Split, Floats] = {}
        self._referring = threading.Lock()
        self._fingerprint = task.fingerprint()
        _refuse_unfit(task, self._rows.values())
        _refuse_leaks(task, sandbox)
        _sweep()

    def gate(self, files: Mapping[str, str]) -> str | None:
        """The reason why these files are not worth a training, or None. Costs no budget; runs nothing."""
        return self._gates.refuse(files)

    def reference(self, split: Split) -> Floats:
        """The yardstick for claims about a split, made when it is first asked for; see ``train.reference``."""
        with self._referring:
            if split not in self._references:
                self._references[split] = ngram_log_probs(self.task.corpus.documents(), self._rows[split])
            return self._references[split]

    def conditions(self, slot: Slot) -> Conditions:
        """What a score made in ``slot`` may be compared with."""
        return Conditions(self._fingerprint, self.task.seconds, hardware_tag(slot))

    def evaluate(
        self, request: Request, slot: Slot, cancelled: threading.Event, watch: Callable[[str, float], None]
    ) -> Evaluation:
        """Train, score and audit. ``watch(phase, share of the training budget used)`` is told now and then.

        Blocks for the whole evaluation. Never raises for what a candidate does.
        """
        started, progress = self._clock(), _Progress()
        try:
            if (reason := self.gate(request.files)) is not None:
                raise Ended("invalid", reason)
            with tempfile.TemporaryDirectory(prefix=f"{_STAGE}{os.getpid()}-", ignore_cleanup_errors=True) as folder:
                stage = Path(folder)
                stage.chmod(0o711)  # the sandbox's user passes through it
                self._stage(stage, request.files)
                trial = _Trial(self, request, slot, stage, progress, cancelled, watch)
                score, audited = trial.run()
            outcome: dict[str, Any] = {"score": score, "audit": audited, "metrics": progress.metrics}
        except Ended as ended:
            outcome = {"outcome": ended.outcome, "reason": ended.reason}
        except OSError as error:  # the machine's failure (a full disk, no process to be had), not the candidate's
            outcome = {"outcome": "lost", "reason": f"the machine could not run it: {error}"}
        common: dict[str, Any] = {
            "request": request,
            "conditions": self.conditions(slot),
            "resources": Resources(
                seconds=progress.seconds,
                phases=progress.phases,
                cpu_seconds=progress.cpu_seconds,
                peak_memory_mb=progress.peak_memory_mb,
                steps=progress.steps,
            ),
            "trust": "audited",
            "sandbox": self.sandbox.tier,
            "device": slot.device if slot.gpu is None else f"cuda:{slot.gpu}",
            "started_at": started,
            "finished_at": self._clock(),
            "log": progress.log,
            "curve": tuple(progress.curve),
        }
        return Scored(**common, **outcome) if "score" in outcome else Failed(**common, **outcome)

    def _stage(self, stage: Path, files: Mapping[str, str]) -> None:
        stage_library(stage)
        for path, text in files.items():
            target = stage / "candidate" / path
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(text, encoding="utf-8", errors="surrogatepass")
        for path_ in (stage / "candidate", *(stage / "candidate").rglob("*")):
            path_.chmod(0o755 if path_.is_dir() else 0o644)


@dataclass
class _Trial:
    """One evaluation on its way through the three sandboxes."""

    evaluator: AuditedEvaluator
    request: Request
    slot: Slot
    stage: Path
    progress: _Progress
    cancelled: threading.Event
    watch: Callable[[str, float], None]

    @property
    def task(self) -> Task:
        return self.evaluator.task

    def run(self) -> tuple[float, Audit]:
        stream = self.task.training_stream(self.request.seed)
        state = self._train(stream)
        rows = self.evaluator._rows[SPLIT_OF[self.request.purpose]]
        self.watch("score", 1.0)
        claims = self._claims(state, rows)
        suspicion = self._suspicion(claims)
        self.progress.metrics["unseen_bpb"] = suspicion.unseen
        plan = audit.draw(rows, stream, suspicion, min(self.task.batch, len(rows)))
        self.watch("audit", 1.0)
        audited = self._audited(state, plan)
        result, reason = audit.compare(claims, plan, audited, self.task.audit_tolerance)
        if reason is not None:
            raise Ended("invalid", reason)
        score = bits_per_byte(float(claims.mean()) + result.correction)
        if (reason := self.task.metric.check(score)) is not None:
            raise Ended("invalid", reason)
        return score, result

    def _suspicion(self, claims: Floats) -> audit.Suspicion:
        """A claim that would lead, and every confirmation and report, is audited until it can hide next to nothing."""
        task, bar = self.task, self.request.bar
        expected = audit.expect(claims, self.evaluator.reference(SPLIT_OF[self.request.purpose]))
        claimed = bits_per_byte(float(claims.mean()))
        leads = bar is not None and (claimed < bar if task.metric.direction == "minimise" else claimed > bar)
        if not leads and self.request.purpose == "screen":
            return audit.suspect(expected, task.audit_screen)
        hidden = self.request.sigma / 4 if self.request.sigma else task.audit_unseen
        return audit.suspect_within(expected, hidden, task.audit_screen, task.audit_claim)

    # ------------------------------------------------------------ train

    def _train(self, stream: bytes) -> bytes:
        """The candidate's state, as the bytes of a safetensors file."""
        limits = self.task.limits
        with self._cell("training", "train") as cell:
            began = time.monotonic()
            patience = limits.startup_seconds + self.task.seconds
            try:
                with self.progress.phase("startup"):
                    budget = self._until_start(cell, began + patience)
                with self.progress.phase("train"):
                    state = self._until_state(cell, budget, stream)
                self._within_cores(cell)
                self.progress.metrics.update(_count(state, self.task))
                with self.progress.phase("check"):
                    self._check(cell, state)
            finally:
                self.progress.log = cell.log
                cell.kill()
                self.progress.log = cell.log
        return state

    def _until_start(self, cell: Cell, deadline: float) -> float:
        """Wait for ``session.start()``; the seconds granted, less what the start-up took beyond its allowance."""
        allowance = self.task.limits.startup_seconds
        began = time.monotonic()
        late = f"session.start() was not called within {deadline - began:.0f} s of start-up"
        frame = cell.receive(deadline=deadline, max_payload=self._state_cap(), late=late)
        if frame.kind != "start":
            raise Ended("invalid", f"train() sent {frame.kind[:40]!r} before it called session.start()")
        return max(0.0, self.task.seconds - max(0.0, time.monotonic() - began - allowance))

    def _until_state(self, cell: Cell, budget: float, stream: bytes) -> bytes:
        data = _sealed_memfd(stream)
        try:
            began = time.monotonic()
            deadline = began + budget + max(_GRACE * budget, 0.05)
            cell.send({"type": "data", "bytes": len(stream), "seconds": budget}, deadline=deadline, fd=data)
        finally:
            os.close(data)
        late = f"the state had not arrived when the {budget:.3g} s of training and the grace of {_GRACE:.0%} were over"
        reports = 0
        while True:
            self.progress.seconds = time.monotonic() - began
            frame = cell.receive(
                deadline=deadline, max_payload=self._state_cap(), late=late, too_large=self._too_large()
            )
            self.progress.seconds = time.monotonic() - began
            if frame.kind == "state":
                return frame.payload
            if frame.kind == "report":
                reports += 1
                if reports > _REPORTS_PER_SECOND * (1.0 + self.progress.seconds):
                    raise Ended("invalid", f"train() sent {reports:,} reports in {self.progress.seconds:.1f} s")
                self._reported(frame.message)
            else:
                raise Ended("invalid", f"train() sent an unexpected message, {frame.kind[:40]!r}")

    def _reported(self, message: Mapping[str, Any]) -> None:
        """A point of the candidate's own curve: it can end the run early, and counts for nothing else."""
        step, loss = message.get("step"), message.get("loss")
        if not isinstance(step, int) or not isinstance(loss, float) or abs(step) > 2**60:
            raise Ended("invalid", "session.report() sent something else than a step and a loss")
        if not math.isfinite(loss):
            raise Ended("stopped", f"it reported a loss of {loss} at step {step}: the training has diverged")
        self.progress.steps = step
        if len(self.progress.curve) < _CURVE_POINTS:
            self.progress.curve.append(CurvePoint(step, self.progress.seconds, loss))
        self.watch("train", min(1.0, self.progress.seconds / self.task.seconds))

    def _within_cores(self, cell: Cell) -> None:
        """A slot's cores are a habit that a process may leave; the CPU time that it used tells if it did."""
        cores, wall = len(self.slot.cores), time.monotonic() - cell.launched
        if cores and cell.usage.cpu_seconds > 1.1 * cores * wall + 0.5:
            raise Ended(
                "invalid",
                f"it used {cell.usage.cpu_seconds:.1f} s of CPU time in {wall:.1f} s, but its slot has "
                f"{cores} core{'s' if cores > 1 else ''}: the number of threads and their cores are not to be changed",
            )

    def _check(self, cell: Cell, state: bytes) -> None:
        """Let ``predict`` run once where its traceback may be read. Its answers are not used."""
        deadline = time.monotonic() + self.task.limits.check_seconds
        context = self.task.context
        shapes = [[self.task.batch, context], [1, 1], [2, max(1, context // 2 - 1)]]
        cell.send({"type": "check", "shapes": shapes}, state, deadline=deadline)
        late = f"predict did not answer within {self.task.limits.check_seconds:g} s"
        for _ in range(_STRAY_FRAMES):
            if cell.receive(deadline=deadline, max_payload=_REPORT_BYTES, late=late).kind == "checked":
                break
        else:
            raise Ended("invalid", "it sent messages without end while predict was checked")
        cell.finish(deadline=deadline + 5.0)

    def _too_large(self) -> str:
        limits = self.task.limits
        return f"the state is larger than the {limits.state_mb:g} MB (and {limits.parameters:,} elements) allowed"

    def _state_cap(self) -> int:
        return int(self.task.limits.state_mb * 1e6) + 1_000_000

    # ------------------------------------------------------------ score and audit

    def _claims(self, state: bytes, rows: Bytes) -> Floats:
        """Claimed log-probabilities [N, T] of an evaluation split. What this sandbox prints is thrown away."""
        limit = self.task.limits.score_seconds
        parts = []
        with _withheld("scoring"), self._cell("scoring", "claims") as cell, self.progress.phase("score"):
            deadline = time.monotonic() + limit
            cell.send({"type": "state"}, state, deadline=deadline)
            for start in range(0, len(rows), self.task.batch):
                batch = rows[start : start + self.task.batch]
                answer = self._ask(cell, batch, 8 * len(batch) * self.task.context, deadline, "scoring", limit)
                parts.append(np.frombuffer(answer, np.float64).reshape(len(batch), self.task.context))
        claims = np.concatenate(parts)
        if not np.isfinite(claims).all() or claims.max() > 0.0:
            raise Ended("invalid", "a log-probability was not a finite number of at most 0")
        return claims

    def _audited(self, state: bytes, plan: audit.Plan) -> Floats:
        limit = self.task.limits.audit_seconds
        parts = []
        with _withheld("the audit"), self._cell("the audit", "logits") as cell, self.progress.phase("audit"):
            deadline = time.monotonic() + limit
            cell.send({"type": "state"}, state, deadline=deadline)
            for batch in plan.batches():
                rows = plan.rows[batch]
                answer = self._ask(cell, rows, 4 * rows.size * self.task.vocab, deadline, "the audit", limit)
                logits = np.frombuffer(answer, np.float32).reshape(*rows.shape, self.task.vocab)
                parts.append(plan.read(batch, logits))
        return np.concatenate(parts)

    def _ask(self, cell: Cell, rows: Bytes, size: int, deadline: float, what: str, limit: float) -> bytes:
        """Send rows, take exactly ``size`` bytes of answer."""
        late = f"{what} took more than {limit:g} s"
        cell.send({"type": "rows", "shape": list(rows.shape)}, rows.tobytes(), deadline=deadline)
        answer = cell.receive(deadline=deadline, max_payload=size, late=late).payload
        if len(answer) != size:
            raise Ended("invalid", f"{what}: an answer of {len(answer):,} bytes came where {size:,} were due")
        return answer

    # ------------------------------------------------------------ cells

    @contextlib.contextmanager
    def _cell(self, what: str, mode: str) -> Iterator[Cell]:
        """A fresh sandbox with the candidate's files, greeted and ready (packages imported, the candidate not)."""
        task, limits, slot = self.task, self.task.limits, self.slot
        ours, theirs = socket.socketpair()
        sandbox = self.evaluator.sandbox
        inside = sandbox.wrap(self.stage, theirs.fileno(), slot)
        with _pinned(slot.cores):
            cell = Cell(
                inside.command,
                inside.environment,
                ours,
                theirs,
                what=what,
                contained=sandbox.contained,
                memory_mb=limits.memory_mb,
                log_bytes=limits.log_kb * 1000,
                cancelled=self.cancelled,
            )
        hello: dict[str, object] = {
            "mode": mode,
            "threads": slot.threads,
            "seed": self.request.seed,
            "seconds": task.seconds,
            "task": {"vocab": task.vocab, "context": task.context, "device": slot.device},
            "processes": limits.processes if sandbox.contained else 0,
            "die_with": None if sandbox.contained else os.getpid(),
            "file_bytes": int(max(64.0, 4 * limits.state_mb) * 1e6),
        }
        with cell:
            try:
                with self.progress.phase("launch"):
                    self._greet(cell, hello)
                yield cell
            finally:
                self.progress.cpu_seconds += cell.usage.cpu_seconds
                self.progress.peak_memory_mb = max(self.progress.peak_memory_mb, cell.usage.peak_memory_mb)

    def _greet(self, cell: Cell, hello: dict[str, object]) -> None:
        """Before the candidate is imported nothing of it can have gone wrong: what fails here is the machine's."""
        deadline = time.monotonic() + _LAUNCH_SECONDS
        try:
            cell.send(hello, deadline=deadline)
            cell.receive(deadline=deadline, max_payload=0, late=f"it was not ready within {_LAUNCH_SECONDS:g} s")
        except Ended as ended:
            raise Ended("lost", f"the sandbox did not start: {ended.reason}") from None


@contextlib.contextmanager
def _withheld(what: str) -> Iterator[None]:
    """Replace every word and number of a reason that the candidate could choose: it could carry evaluation text."""
    reasons = {
        "crashed": f"predict failed in {what}; what it printed is withheld, since it may hold evaluation text",
        "invalid": f"what predict sent in {what} is not what was asked for",
        "out_of_memory": f"predict used more memory in {what} than is allowed",
    }
    try:
        yield
    except Ended as ended:
        raise Ended(ended.outcome, reasons.get(ended.outcome, ended.reason)) from None


@contextlib.contextmanager
def _pinned(cores: tuple[int, ...]) -> Iterator[None]:
    """Run on these cores while a process is launched: it inherits them. Restored afterwards, for this thread alone."""
    if not cores or not hasattr(os, "sched_setaffinity"):
        yield
        return
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, cores)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def _sealed_memfd(data: bytes) -> int:
    """A file descriptor of an anonymous file that holds ``data`` and can never be changed again."""
    descriptor = os.memfd_create("training-data", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    with open(descriptor, "wb", closefd=False) as file:
        file.write(data)
    seals = fcntl.F_SEAL_WRITE | fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SEAL
    fcntl.fcntl(descriptor, fcntl.F_ADD_SEALS, seals)
    return descriptor


def _count(state: bytes, task: Task) -> dict[str, float]:
    """Elements and bytes of a state, from its header. Raises Ended if it is no safetensors file or too large."""
    limits = task.limits
    if len(state) > limits.state_mb * 1e6:
        raise Ended("invalid", f"the state has {len(state) / 1e6:.1f} MB; {limits.state_mb:g} MB are allowed")
    try:
        tensors: list[tuple[str, dict[str, Any]]] = safetensors.deserialize(state)  # type: ignore[no-untyped-call]
    except (safetensors.SafetensorError, UnicodeError):
        raise Ended("invalid", "the state is not a safetensors file") from None
    elements = sum(math.prod(tensor["shape"]) for _, tensor in tensors)
    # Bytes count too: an element cannot hide more than eight of them, whatever the header says.
    if elements > limits.parameters or len(state) > 8 * limits.parameters + 1_000_000:
        raise Ended("invalid", f"the state has {elements:,} elements; {limits.parameters:,} are allowed")
    return {"parameters": float(elements), "state_bytes": float(len(state))}


def _refuse_unfit(task: Task, rows: Iterable[Bytes]) -> None:
    """Raises ValueError if the corpus and the task's numbers do not go together."""
    trained = sum(len(document) for document in task.corpus.documents())
    if trained <= task.context + 1:
        raise ValueError(f"the training split has {trained:,} bytes; task.context is {task.context}, so it needs more")
    if (largest := max(int(part.max()) for part in rows)) >= task.vocab:
        raise ValueError(f"the text holds the byte {largest}, and task.vocab is {task.vocab}; 256 takes every byte")


def _sweep() -> None:
    """Remove the stages of processes that were killed: their names say whose they were."""
    for folder in Path(tempfile.gettempdir()).glob(f"{_STAGE}*-*"):
        owner = folder.name.removeprefix(_STAGE).split("-", 1)[0]
        if not owner.isdigit() or psutil.pid_exists(int(owner)) or folder.is_symlink():
            continue
        with contextlib.suppress(OSError):  # gone meanwhile, or somebody else's
            facts = folder.stat()  # a day old: another container may share the folder and not the process numbers
            if facts.st_uid == os.geteuid() and facts.st_mtime < time.time() - 86_400:
                shutil.rmtree(folder)


def _refuse_leaks(task: Task, sandbox: Sandbox) -> None:
    """Raises SandboxUnavailable if the evaluation text lies where candidates can read it: in a mounted folder."""
    for location in (place.resolve() for place in task.corpus.locations()):
        for folder in (mounted.resolve() for mounted in sandbox.mounted()):
            if location.is_relative_to(folder) or folder.is_relative_to(location):
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
