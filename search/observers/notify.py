"""``notify=COMMAND``: a program that is told of a plateau, many failures, a cap at 80% and the end of a run.

The command is split into words as a shell does, and started without a shell. It gets one JSON object on its standard
input: ``event``, ``message``, ``run``, ``task``, ``metric``, ``evaluations``, ``leader``, ``score``, ``archive``. Each
occasion is told once, also over several sessions: it is an event of kind ``notified``, recorded before the program is
started. A program that fails or takes longer than ``SECONDS`` is an event of kind ``notify``.
"""

from __future__ import annotations

import json
import os
import shlex
import shutil
import signal
import subprocess
import tempfile
from collections import deque
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from archive.records import Evaluation
from operators.llm.meter import Meter
from prepare.config import SettingsError
from prepare.output import printable
from search.observers.base import ObserverThread
from search.policies.base import StateReporter
from search.run.budget import limits_of
from search.run.controller import RunController, RunResult

SECONDS = 30.0
"""For one start of the program."""
LATEST = 20
"""Screenings over which the failure rate is taken."""
FEWEST = 10
"""Screenings before it says anything."""
SHARE = 0.8
"""Of a cap."""


@dataclass(frozen=True)
class Occasion:
    """Something to tell. ``key``: equal for the same occasion in another session."""

    event: str
    key: str
    message: str


def program_of(command: str) -> list[str]:
    """Return the words of a command. Raises SettingsError if it has none, or if there is no such program."""
    try:
        words = shlex.split(command)
    except ValueError as error:
        raise SettingsError(f"notify is {command!r}, which cannot be split into words: {error}") from error
    if not words or shutil.which(words[0]) is None:
        raise SettingsError(
            f"notify is {command!r}; expected a program that can be started, which gets JSON on its standard input"
        )
    return words


class Notifier:
    """Starts a program for each occasion, in a thread of its own."""

    def __init__(self, command: str, controller: RunController, meter: Meter | None) -> None:
        """Raises SettingsError for a command that cannot be started."""
        self._words = program_of(command)
        self._meter = meter
        engine = controller.engine
        self._journal = engine.journal
        known = engine.archive.events(engine.run.run, "notified")
        self._told = {str((event.detail or {}).get("key")) for event in known}
        screenings = [e for es in engine.tree.evaluations.values() for e in es if e.request.purpose == "screen"]
        screenings.sort(key=lambda e: e.finished_at)
        self._failures: deque[bool] = deque((e.outcome != "scored" for e in screenings if e.outcome != "lost"), LATEST)
        self._worker = ObserverThread("notify", lambda words: self._journal.note("notify", words))

    def landed(self, controller: RunController, evaluation: Evaluation) -> None:
        if evaluation.request.purpose == "screen" and evaluation.outcome != "lost":
            self._failures.append(evaluation.outcome != "scored")
        for occasion in self._occasions(controller):
            self._tell(controller, occasion)

    def ended(self, controller: RunController, result: RunResult, failed: bool) -> None:
        if result.finished or failed:
            message = result.reason if result.verdict is None else f"{result.reason} {result.verdict.reason}"
            self._tell(controller, Occasion("end", f"end/{controller.engine.tree.evaluated}", message))
        self._worker.finish()

    # ------------------------------------------------------------ what there is to tell

    def _occasions(self, controller: RunController) -> Iterator[Occasion]:
        policy = controller.engine.parts.policy
        state = policy.state(controller.engine.tree) if isinstance(policy, StateReporter) else None
        if state is not None and state.code == "standstill":
            yield Occasion("plateau", f"plateau/{state.node_id}", state.words)
        failed, seen = sum(self._failures), len(self._failures)
        if seen >= FEWEST and failed > seen / 2:
            yield Occasion("failures", "failures", f"{failed} of the latest {seen} evaluations have no score")
        for name, used, limit in self._caps(controller):
            if used >= SHARE * limit:
                yield Occasion(
                    "cap", f"cap/{name}/{limit:g}", f"{used:g} of {limit:g} {name.replace('_', ' ')} are used"
                )

    def _caps(self, controller: RunController) -> Iterator[tuple[str, float, float]]:
        """Yield the name of each limit, what is used of it, and the limit."""
        use = controller.use
        used = {
            "evaluations": use.evaluations,
            "hours": use.seconds / 3600,
            "device_hours": use.device_seconds / 3600,
        }
        for name, limit in limits_of(controller.budget).items():
            if limit is not None:
                yield name, round(used[name], 2), limit
        if (meter := self._meter) is not None:
            yield "tokens", meter.spending.charged_tokens, meter.max_tokens
            if meter.priced:
                yield "dollars", round(meter.spending.charged_dollars, 2), meter.max_dollars

    # ------------------------------------------------------------ telling

    def _tell(self, controller: RunController, occasion: Occasion) -> None:
        if occasion.key in self._told:
            return
        self._told.add(occasion.key)
        self._journal.note("notified", occasion.message, detail={"event": occasion.event, "key": occasion.key})
        text = json.dumps(self._facts(controller, occasion))
        self._worker.hand(lambda: self._start(text))

    def _facts(self, controller: RunController, occasion: Occasion) -> dict[str, Any]:
        engine = controller.engine
        tree, leader = engine.tree, engine.tree.leader()
        return {
            "event": occasion.event,
            "message": printable(occasion.message),
            "run": engine.run.run,
            "task": engine.run.task,
            "metric": engine.run.metric,
            "evaluations": tree.evaluated,
            "leader": leader,
            "score": None if leader is None else tree.mean(leader),
            "archive": str(engine.archive.path),
        }

    def _start(self, text: str) -> None:
        """Run the program once, and note an event if it fails."""
        with tempfile.TemporaryFile() as errors:
            try:
                program = subprocess.Popen(
                    self._words, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=errors, start_new_session=True
                )
            except OSError as error:
                self._worker.note(f"the program of notify cannot be started: {error}")
                return
            problem = _outcome(program, text)
            errors.seek(max(0, errors.seek(0, os.SEEK_END) - 300))
            said = printable(errors.read().decode("utf-8", "replace")).strip()
        if problem is not None:
            self._worker.note(f"the program of notify {problem}" + (f": {said}" if said else ""))


def _outcome(program: subprocess.Popen[bytes], text: str) -> str | None:
    """Give the program its input and wait for its end. Return what went wrong, or None."""
    try:
        program.communicate(text.encode(), timeout=SECONDS)
    except subprocess.TimeoutExpired:
        return f"took longer than {SECONDS:g} seconds and was killed"
    finally:  # with all that it started
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(program.pid, signal.SIGKILL)
        program.wait()
    return None if program.returncode == 0 else f"ended with status {program.returncode}"
