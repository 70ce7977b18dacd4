"""The driver's side of the scorer: starts its process, passes its requests on to the candidate, collects its results.

The scorer is trusted, so its failure is an error of the task (``TaskError``) and stops the search; nothing that it does
can harm the driver: its memory, its time and its output are bounded, and it has no network where bubblewrap works.
"""

from __future__ import annotations

import json
import os
import socket
import sys
import threading
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

from archive.records import CaseScore, Split
from prepare.files import ROOT
from prepare.known import TaskError
from prepare.program import ProgramTask
from prepare.values import pack, unpack
from prepare.wire import Frame
from train.program.model import ModelSession, ModelUnavailable
from train.program.sandboxes import ServiceError
from train.sandbox.abort import Aborted
from train.sandbox.base import bubblewrap_binaries
from train.sandbox.process import SandboxProcess

if TYPE_CHECKING:
    from train.program.candidate import Candidates

_LOG = 64_000
_LARGEST = 1 << 28
"""Bytes of one message of the scorer: arguments of a call."""
_WHOLE = ("lost", "stopped")
"""Outcomes that end an evaluation also where they come in a call for one item."""


class CaseSet(NamedTuple):
    """The cases of a split that count: a digest of their names and data, and their number."""

    digest: str
    size: int


@dataclass
class CaseResults:
    """Results of a candidate so far; complete once ``ScorerProcess.judge`` has returned."""

    cases: list[CaseScore] = field(default_factory=list)
    certificates: dict[str, str] = field(default_factory=dict)
    scorer_seconds: float = 0.0

    @property
    def certificate(self) -> str | None:
        """The certificate as JSON text: of the only case, or by the names of several."""
        if len(self.cases) == 1:
            return next(iter(self.certificates.values()), None)
        return (
            json.dumps({case: json.loads(text) for case, text in self.certificates.items()})
            if self.certificates
            else None
        )

    def add(self, result: Mapping[str, Any]) -> None:
        case = CaseScore(**{name: result[name] for name in ("case", "value", "metrics", "feedback", "ending")})
        self.cases.append(case)
        if result["certificate"] is not None:
            self.certificates[case.case] = result["certificate"]


class _Rejected(Aborted):
    """A rejection by the scorer in the middle of a candidate's call."""


class _Cancelled(threading.Event):
    """The cancellation event of the current evaluation."""

    current: threading.Event | None = None

    def is_set(self) -> bool:
        return self.current is not None and self.current.is_set()


class ScorerProcess:
    """A running scorer. One thread uses it at a time; it is started by the thread that first uses it."""

    def __init__(self, task: ProgramTask, *, live: bool = False) -> None:
        """``live``: whether the driver's language model answers, and not a scripted one."""
        self._task = task
        self._cancelled = _Cancelled()
        self._process = _launch(task, self._cancelled, live)
        self._model: ModelSession | None = None
        self._model_seconds = 0.0

    @property
    def alive(self) -> bool:
        return self._process.running

    def close(self) -> None:
        self._process.kill()

    def cases(self, split: Split, key: bytes = b"") -> CaseSet:
        """Return a digest of the names and data of a split's cases, made anew, and their number. Raises TaskError.

        ``key``: an archive's secret, as in ``judge``.
        """
        self._send({"type": "cases", "split": split}, key)
        digest, count = unpack(self._receive(self._task.limits.scorer_seconds, 0.0).payload)
        return CaseSet(str(digest), int(count))

    def judge(
        self,
        split: Split,
        seed: int,
        candidates: Candidates,
        results: CaseResults,
        cancelled: threading.Event,
        model: ModelSession | None = None,
        key: bytes = b"",
        parent: Mapping[str, float] | None = None,
    ) -> None:
        """Judge the candidate on all cases of a split; add each result to ``results`` when it arrives.

        ``model``: answers what the scorer asks the driver's language model. ``key``: an archive's secret, from which
        the cases of ``select`` and ``holdout`` are drawn. ``parent``: values by case of the nearest scored ancestor.
        Raises Aborted for what is the candidate's fault, TaskError for what is the scorer's.
        """
        self._cancelled.current, self._model = cancelled, model
        self._send({"type": "score", "split": split, "seed": seed}, pack([key, dict(parent or {})]))
        ended: Aborted | None = None
        while True:
            began = time.monotonic() - self._model_seconds
            frame = self._receive(self._task.limits.scorer_seconds, results.scorer_seconds)
            results.scorer_seconds += time.monotonic() - self._model_seconds - began
            if frame.kind == "case":
                results.add(unpack(frame.payload))
            elif frame.kind == "done":
                return
            elif frame.kind == "invalid":
                raise Aborted("invalid", str(unpack(frame.payload)))
            elif frame.kind == "aborted" and ended is not None:
                raise ended
            else:
                ended = self._pass_on(frame, candidates)

    def _pass_on(self, frame: Frame, candidates: Candidates) -> Aborted | None:
        """Carry out a request of the scorer, and answer it. Returns why the candidate ended, if it did."""
        try:
            message, payload = self._answer(frame, candidates)
        except _Rejected:
            raise
        except Aborted as aborted:
            if aborted.outcome != "lost":
                self._send({"type": "ended"})
                return aborted
            self.close()  # it waits for an answer that will not come
            raise
        except BaseException:
            self.close()
            raise
        self._send(message, payload)
        return None

    def _answer(self, frame: Frame, candidates: Candidates) -> tuple[dict[str, Any], bytes]:
        asked, seconds = frame.message, frame.message.get("seconds")
        if frame.kind == "call":
            return self._called(frame, candidates)
        if frame.kind == "run":
            done = candidates.current.run(asked["argv"], frame.payload, seconds=seconds)
            return {"type": "ran"}, pack(vars(done))
        if frame.kind == "read":
            data = candidates.current.read(asked["path"])
            return {"type": "file", "missing": data is None}, data or b""
        if frame.kind == "restart":
            candidates.restart()
            return {"type": "restarted"}, b""
        if frame.kind == "time":
            return _timed(frame, candidates)
        raise TaskError(f"the scorer sent {frame.kind[:50]!r}, which is no request")

    def _called(self, frame: Frame, candidates: Candidates) -> tuple[dict[str, Any], bytes]:
        """Call the candidate's function. A call for one item that ends the sandbox ends that item alone."""
        asked = frame.message
        terms: dict[str, Any] = {"seconds": asked["seconds"], "services": self._service, "names": asked["services"]}
        try:
            value = candidates.current.call(asked["function"], frame.payload, **terms)
        except Aborted as aborted:
            if not asked["item"] or isinstance(aborted, _Rejected) or aborted.violation or aborted.outcome in _WHOLE:
                raise
            candidates.restart()
            return {"type": "failed", "outcome": aborted.outcome, "reason": aborted.reason}, b""
        return {"type": "value"}, value

    def _service(self, name: str, arguments: bytes) -> bytes:
        """Have the scorer answer a call of the candidate.

        Raises ServiceError if it refuses, Aborted if it ends the evaluation, and TaskError.
        """
        self._send({"type": "service", "name": name}, arguments)
        frame = self._receive(self._task.limits.scorer_seconds, 0.0)
        if frame.kind == "refused":
            raise ServiceError(str(frame.message["reason"]))
        if frame.kind == "invalid":
            raise _Rejected("invalid", str(unpack(frame.payload)))
        return frame.payload

    def _send(self, message: dict[str, Any], payload: bytes = b"") -> None:
        try:
            self._process.send(message, payload, deadline=time.monotonic() + self._task.limits.scorer_seconds)
        except Aborted as aborted:
            raise self._failure(aborted) from None

    def _receive(self, seconds: float, used: float) -> Frame:
        """Return the scorer's next message; what it asks the language model is answered, while its clock stands.

        Raises TaskError for its errors, and when ``seconds`` are used.
        """
        while (frame := self._received(seconds, used)).kind == "llm":
            began = time.monotonic()
            self._send({"type": "answered"}, self._from_model(frame.payload))
            self._model_seconds += time.monotonic() - began
        return frame

    def _from_model(self, payload: bytes) -> bytes:
        """Ask the model of this evaluation. Raises Aborted (``lost``) if it cannot be asked now."""
        asked = unpack(payload)
        if self._model is None:
            raise TaskError(f"task.llm of {self._task.name!r} has no scripted model, and no live one is lent here")
        try:
            return pack(vars(self._model(asked["prompt"], asked["system"])))
        except ModelUnavailable as error:
            self.close()  # it waits for an answer that will not come
            raise Aborted("lost", f"the language model cannot be asked: {error}") from None

    def _received(self, seconds: float, used: float) -> Frame:
        late = f"it took more than {seconds:g} s (task.limits.scorer_seconds)"
        try:
            frame = self._process.receive(deadline=time.monotonic() + seconds - used, max_payload=_LARGEST, late=late)
        except Aborted as aborted:
            raise self._failure(aborted) from None
        if frame.kind == "error":
            said = unpack(frame.payload)
            raise TaskError(f"{self._named} raised {said['error']}\n\n{said['traceback']}{self._printed()}")
        return frame

    @property
    def _named(self) -> str:
        return f"the scorer {self._task.scorer or self._task.command} of task {self._task.name!r}"

    def _failure(self, aborted: Aborted) -> Exception:
        """Explain the end of the scorer's process; a search that was stopped ends the evaluation as ``lost``."""
        self.close()
        if aborted.outcome == "lost":
            return aborted
        return TaskError(f"{self._named} failed: {aborted.reason}. Fix it and start a new run.{self._printed()}")

    def _printed(self) -> str:
        log = self._process.log.strip()
        return f"\n\nIt printed:\n{log[-4000:]}" if log else ""


def _timed(frame: Frame, candidates: Candidates) -> tuple[dict[str, Any], bytes]:
    """Time the candidate's function and the seed's in fresh sandboxes, in the order that the scorer names."""
    asked = frame.message
    order = ("candidate", "baseline") if asked["candidate_first"] else ("baseline", "candidate")
    taken: dict[str, tuple[float, bytes]] = {}
    for which in order:
        with candidates.fresh(baseline=which == "baseline") as sandbox:
            sandbox.load(asked["function"])
            began = time.perf_counter()
            value = sandbox.call(asked["function"], frame.payload, seconds=asked["seconds"], services=None, names=())
            taken[which] = time.perf_counter() - began, value
    (own, value), (baseline, other) = taken["candidate"], taken["baseline"]
    return {"type": "timed", "seconds": own, "baseline": baseline, "size": len(value)}, value + other


def _launch(task: ProgramTask, cancelled: threading.Event, live: bool) -> SandboxProcess:
    ours, theirs = socket.socketpair()
    settings: dict[str, Any] = {
        "scorer": task.scorer, "command": task.command, "checks": task.checks, "metric": task.metric.name,
        "sample": None if task.cases is None else (task.cases.val, task.fingerprint()),
        "llm": None if task.llm is None else asdict(task.llm), "live": live,
    }  # fmt: skip
    arguments = [str(theirs.fileno()), task.folder, json.dumps(settings)]
    wrapped = _without_network(task.folder)
    return SandboxProcess(
        [*wrapped, sys.executable, "-P", "-m", "train.program.scorer_main", *arguments],
        _environment(),
        ours,
        theirs,
        label="it",
        contained=bool(wrapped),
        memory_mb=task.limits.scorer_memory_mb,
        log_bytes=_LOG,
        cancelled=cancelled,
    )


def _environment() -> dict[str, str]:
    """Return the scorer's environment: no keys and no secrets, and a fixed order of sets and mappings."""
    kept = {name: os.environ[name] for name in ("PATH", "LANG", "LD_LIBRARY_PATH") if name in os.environ}
    return {**kept, "PYTHONPATH": str(ROOT), "PYTHONHASHSEED": "0", "TMPDIR": "/dev/shm", "HOME": "/dev/shm"}


def _without_network(folder: str) -> list[str]:
    """Return the command prefix that removes network and writable files; empty without bubblewrap."""
    needed = dict.fromkeys((folder, str(ROOT), sys.prefix, sys.base_prefix))
    again = [word for path in needed if path.startswith("/dev/") for word in ("--ro-bind", path, path)]
    for binary in bubblewrap_binaries()[:1]:
        return [
            *[str(binary), "--ro-bind", "/", "/", "--dev", "/dev", "--tmpfs", "/dev/shm", *again, "--proc", "/proc"],
            *["--unshare-net", "--unshare-ipc", "--unshare-pid", "--die-with-parent", "--chdir", folder, "--"],
        ]
    return []
