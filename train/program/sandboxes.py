"""A candidate in its sandbox, on the driver's side: its files are sent, its functions called, its commands run.

What comes back is never unpacked here: a value that a function returned passes on as bytes. The budget is one for all
sandboxes of an evaluation, by ``BudgetClock``: it runs while the candidate has something to do.
"""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from prepare.clock import PATIENCE
from prepare.paths import is_below
from prepare.program import ProgramTask
from prepare.scorer import Completed
from prepare.wire import Frame
from train.sandbox.abort import Aborted
from train.sandbox.clock import BudgetClock, BudgetDeadline
from train.sandbox.factory import SandboxFactory
from train.sandbox.log import TailBuffer, cleaned
from train.sandbox.process import SandboxProcess

_MOST_FILES = 10_000

Service = Callable[[str, bytes], bytes]
"""Calls a service by its name with packed arguments; returns a packed value. Raises ServiceError."""


class ServiceError(Exception):
    """A refusal by a service: the candidate's call raises a RuntimeError with this message."""


@dataclass(frozen=True)
class CandidateFile:
    """A file in a candidate's folder."""

    data: bytes
    executable: bool = False

    @classmethod
    def of(cls, data: bytes | str) -> CandidateFile:
        """A file of the workspace; scripts that name their interpreter are executable."""
        data = data.encode("utf-8", "surrogatepass") if isinstance(data, str) else data
        return cls(data, data.startswith(b"#!"))


class CandidateSandbox:
    """A fresh sandbox with the candidate's files in it. Each method raises Aborted for what ends the evaluation."""

    def __init__(self, process: SandboxProcess, evaluation: CandidateSandboxes) -> None:
        """``process``: initialised, without files yet."""
        self._process = process
        self._evaluation = evaluation
        self._limits = evaluation.task.limits
        self._number = 0
        self._startup = evaluation.clock_of(process)
        self._startup_end = BudgetDeadline(self._startup, self._limits.startup_seconds)
        self._clock: BudgetClock | None = None
        self._most_bytes = int(self._limits.output_mb * 1e6)

    @property
    def seconds(self) -> float:
        """Seconds of the budget used in this sandbox."""
        return self._clock.seconds() if self._clock is not None else 0.0

    def begin_kill(self) -> None:
        """Send SIGKILL to its processes, and return at once; closing the sandbox waits until they are gone."""
        self._process.begin_kill()

    # ------------------------------------------------------------ requests

    def send_files(self, files: Mapping[str, CandidateFile]) -> None:
        """Write the candidate's files. Part of the start-up."""
        if len(files) > _MOST_FILES:
            raise Aborted("invalid", f"it has {len(files):,} files; at most {_MOST_FILES:,} are allowed")
        for name, file in files.items():
            if not is_below(name):
                raise Aborted("invalid", f"{name[:100]!r} is no path of a file below the candidate's folder")
            self._request({"type": "file", "name": name, "executable": file.executable}, file.data, self._startup_end)

    def load(self, function: str) -> None:
        """Import the file of a function before it is called. Only the first time, which is part of the start-up."""
        if self._clock is not None:
            return
        late = f"importing it took more than {self._limits.startup_seconds:g} s (task.limits.startup_seconds)"
        self._request({"type": "load", "file": self._split(function)[0]}, b"", self._startup_end)
        self._expect("loaded", self._startup_end, late)
        self._begin()

    def call(
        self,
        function: str,
        arguments: bytes,
        *,
        seconds: float | None = None,
        services: Service | None = None,
        names: Sequence[str] = (),
    ) -> bytes:
        """Call ``pack`` of the main file or ``other.py:pack`` with packed arguments; return the packed value.

        ``seconds``: less than what is left of the evaluation's budget. ``names``: services that the function gets as
        keyword arguments.
        """
        self.load(function)
        file, name = self._split(function)
        with self._counted(f"{function}()", seconds) as (deadline, late):
            message: dict[str, object] = {"type": "call", "file": file, "function": name, "services": list(names)}
            self._request(message, arguments, deadline)
            while True:
                frame = self._receive(deadline, late, self._most_bytes, function)
                if frame.kind == "returned":
                    return frame.payload
                self._serve(frame, services, names, deadline)

    def run(self, argv: Sequence[str], stdin: bytes = b"", *, seconds: float | None = None) -> Completed:
        """Run a command in the folder of the files, without a shell; return its exit status and what it printed."""
        self._begin()
        command = " ".join(argv)[:80]
        with self._counted(f"`{command}`", seconds) as (deadline, late):
            began = self._seconds()
            self._request({"type": "run", "argv": list(argv)}, stdin, deadline)
            frame = self._expect("completed", deadline, late, 2 * self._most_bytes)
            seconds = self._seconds() - began
        status, size = frame.message.get("status"), frame.message.get("stdout")
        if not isinstance(status, int) or not isinstance(size, int) or not 0 <= size <= len(frame.payload):
            raise _malformed()
        return Completed(status, frame.payload[:size], frame.payload[size:], seconds)

    def read(self, path: str) -> bytes | None:
        """Return a file of the folder; None if there is no plain file of that name, or a link leads out."""
        if not is_below(path):
            return None
        with self._counted(f"reading {path}", None) as (deadline, late):
            self._request({"type": "read", "name": path}, b"", deadline)
            frame = self._expect("file", deadline, late, self._most_bytes)
        return None if frame.message.get("missing") else frame.payload

    def changes(self) -> dict[str, CandidateFile]:
        """Return the files that are new or changed since they were sent, together at most ``limits.output_mb``."""
        found: dict[str, CandidateFile] = {}
        left = self._most_bytes
        with self._counted("reading the built files", None) as (deadline, late):
            self._request({"type": "changes"}, b"", deadline)
            while (frame := self._receive(deadline, late, left, "the build")).kind == "file":
                name, executable = frame.message.get("name"), frame.message.get("executable")
                if not is_below(name) or name in found or len(found) >= _MOST_FILES:
                    raise _malformed()
                found[str(name)] = CandidateFile(frame.payload, executable is True)
                left -= len(frame.payload)
        return found

    # ------------------------------------------------------------ protocol

    def _split(self, function: str) -> tuple[str, str]:
        """Return file and name of a function."""
        file, _, name = function.rpartition(":")
        return file or self._evaluation.main_file, name

    def _begin(self) -> None:
        """End the start-up, and begin to count the budget."""
        if self._clock is None:
            self._clock = self._evaluation.clock_of(self._process)
            self._clock.pause()

    def _seconds(self) -> float:
        """Return the seconds of the budget that are used, measured now."""
        assert self._clock is not None
        self._process.measure_cpu()
        return self._clock.seconds()

    @contextlib.contextmanager
    def _counted(self, what: str, seconds: float | None) -> Iterator[tuple[BudgetDeadline, str]]:
        """Run the clock inside; yield the deadline of ``what`` and the reason if it passes."""
        self._begin()
        assert self._clock is not None
        left = self._evaluation.seconds_left()
        allowed = left if seconds is None else min(seconds, left)
        late = f"{what} did not end within {allowed:.3g} s{self._evaluation.terms(allowed)}"
        if allowed <= 0:
            raise Aborted("timed_out", f"{what}: nothing is left of the budget{self._evaluation.terms(0.0)}")
        self._clock.resume()
        try:
            yield BudgetDeadline(self._clock, self._clock.seconds() + allowed), late
        finally:
            self._clock.pause()
            self._evaluation.count()

    def _request(self, message: dict[str, object], payload: bytes, deadline: BudgetDeadline) -> None:
        self._number += 1
        self._process.send({**message, "number": self._number}, payload, deadline=deadline)

    def _receive(self, deadline: BudgetDeadline, late: str, most: int, what: str = "it") -> Frame:
        """Return the next answer to the last request."""
        large = f"{what} gave more than {most:,} bytes, which is the limit (task.limits.output_mb)"
        frame = self._process.receive(deadline=deadline, max_payload=most, late=late, too_large=large)
        if frame.message.get("number") != self._number:
            raise _malformed()
        if frame.kind == "unusable":
            raise Aborted("invalid", cleaned(str(frame.message.get("reason"))) or "its result cannot be used")
        return frame

    def _expect(self, kind: str, deadline: BudgetDeadline, late: str, most: int = 0) -> Frame:
        """Return the next answer, which must be of a kind."""
        frame = self._receive(deadline, late, most)
        if frame.kind != kind:
            raise _malformed()
        return frame

    def _serve(self, frame: Frame, services: Service | None, names: Sequence[str], deadline: BudgetDeadline) -> None:
        """Answer the candidate's call of a service. The clock stands meanwhile."""
        name = frame.message.get("name")
        if frame.kind != "service" or services is None or name not in names:
            raise _malformed()
        assert self._clock is not None
        self._clock.pause()
        try:
            answer, payload = {"type": "served"}, services(str(name), frame.payload)
        except ServiceError as refused:
            answer, payload = {"type": "refused", "reason": str(refused)[:1000]}, b""
        finally:
            self._clock.resume()
        self._process.send(dict(answer), payload, deadline=deadline)


def _malformed() -> Aborted:
    return Aborted("invalid", "it sent a message that nothing asked for", violation=True)


class CandidateSandboxes:
    """The sandboxes of one candidate in one evaluation; they share its budget, its log and its measurements."""

    def __init__(
        self,
        factory: SandboxFactory[ProgramTask],
        files: Mapping[str, CandidateFile],
        main_file: str,
        budget: float | None = None,
    ) -> None:
        """``files``: all that lies in a sandbox, read-only and built files included. ``budget``: None, the task's."""
        self.task = factory.task
        self.budget = factory.task.seconds if budget is None else budget
        self.main_file = main_file
        self._factory = factory
        self._files = files
        self._log = TailBuffer(factory.task.limits.log_kb * 1000)
        self._closed_seconds = 0.0
        self._open: list[CandidateSandbox] = []

    @contextlib.contextmanager
    def open(self) -> Iterator[CandidateSandbox]:
        """Yield a fresh sandbox with the candidate's files, and remove all of it afterwards. Raises Aborted."""
        with contextlib.ExitStack() as stack:
            folder = None
            if not self._factory.sandbox.contained:  # files lie where this user's other files lie
                place = tempfile.TemporaryDirectory(dir=self._factory.stage, ignore_cleanup_errors=True)
                folder = stack.enter_context(place)
            words = {} if folder is None else {"folder": folder}
            process = stack.enter_context(self._factory.open(self.main_file, **words))
            sandbox = CandidateSandbox(process, self)
            self._open.append(sandbox)
            try:
                sandbox.send_files(self._files)
                yield sandbox
            finally:
                self._close(sandbox, process)

    def _close(self, sandbox: CandidateSandbox, process: SandboxProcess) -> None:
        self._closed_seconds += sandbox.seconds
        self._open.remove(sandbox)
        self.count()
        process.kill()
        self._log.feed(process.log.encode())
        self._factory.progress.log = self._log.text()

    @property
    def seconds(self) -> float:
        """Seconds of the budget used so far, in all sandboxes."""
        return self._closed_seconds + sum(sandbox.seconds for sandbox in self._open)

    def seconds_left(self) -> float:
        return self.budget - self.seconds

    def require_seconds(self) -> None:
        """Raise Aborted if nothing is left of the budget: no sandbox is opened then."""
        if self.seconds_left() <= 0:
            raise Aborted("timed_out", f"nothing is left of the budget{self.terms(0.0)}")

    def count(self) -> None:
        """Record the seconds used."""
        self._factory.progress.seconds = self.seconds

    def clock_of(self, process: SandboxProcess) -> BudgetClock:
        """Return a clock of the task's kind that begins now."""
        slot = self._factory.slot
        return BudgetClock(process, self.task.clock_on(slot.device), slot.width)

    def terms(self, seconds: float) -> str:
        """Return the kind of a limit's seconds, for the reason of a failure."""
        total = f"all of it together has {self.budget:g} s"
        if self.task.clock_on(self._factory.slot.device) == "wall":
            return f" ({total})"
        waiting = f", or {PATIENCE * seconds:.3g} s of waiting" if seconds > 0 else ""
        return f" of CPU time{waiting} ({total})"
