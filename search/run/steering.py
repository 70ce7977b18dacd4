"""Commands of the user to a running search: received in any thread, followed by the loop's, recorded as events.

    steering = SteeringOrders(search, display.show)
    with SteeringServer(archive.path, steering.obey):
        SlotLoop(search, executor, display, stop, steering=steering).run()

An event is committed before the command takes effect, or together with the move that it makes. What a resumed search
has to repeat is in the tree's ``steering``, which is folded from the events. A pause and a stop end with their session.
"""

from __future__ import annotations

import math
import queue
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from archive.errors import ArchiveError, QueryRefused
from archive.records import USER_OPERATOR, Candidate, Event, SteerCode
from archive.steering import KIND, MOST_WORDS
from archive.tree import Tree
from operators.languages.files import editable_files
from prepare.output import printable
from prepare.paths import is_below
from prepare.syntax import first_error
from search.config import Budget
from search.run.controller import RunController

_PATIENCE = 45.0
"""Seconds for the loop to take up a command; after them it is withdrawn."""

_LIMITS = ("evaluations", "hours", "device_hours")


def with_extra(budget: Budget, extra: Mapping[str, float] | None) -> Budget:
    """Return a budget with what was added to its limits while the search ran."""
    added = {name: getattr(budget, name) + more for name, more in (extra or {}).items() if _limited(budget, name)}
    return replace(budget, **{name: int(value) if name == "evaluations" else value for name, value in added.items()})


@dataclass
class _Order:
    """A command with a place for its answer."""

    command: Mapping[str, Any]
    done: threading.Event = field(default_factory=threading.Event)
    answer: str | ArchiveError = ""
    withdrawn: bool = False


class SteeringOrders:
    """The commands to one session. ``obey`` may be called from any thread, all else from the loop's."""

    def __init__(self, controller: RunController, show: Callable[[str], None]) -> None:
        """``show``: tells the person at the terminal what another one asked for."""
        self.paused = False
        self.stopping = False
        """Whether nothing more is to be started in this session."""
        self.wake: Callable[[], None] = lambda: None
        """Makes a waiting loop look for commands."""
        self._controller = controller
        self._show = show
        self._orders: queue.SimpleQueue[_Order] = queue.SimpleQueue()
        self._lock = threading.Lock()

    @property
    def holds(self) -> bool:
        """Whether no evaluation is to be started now."""
        return self.paused or self.stopping

    def obey(self, command: Mapping[str, Any]) -> str:
        """Have the loop follow a command, and return what was done. Raises ArchiveError with why it was not."""
        order = _Order(command)
        self._orders.put(order)
        self.wake()
        if not order.done.wait(_PATIENCE):
            with self._lock:
                order.withdrawn = not order.done.is_set()
            if order.withdrawn:
                raise ArchiveError("the search is busy and has not taken the command up; it was withdrawn, try again")
        if isinstance(order.answer, ArchiveError):
            raise order.answer
        return order.answer

    def follow(self) -> None:
        """Follow the commands that have come since the last call."""
        while not self._orders.empty():
            order = self._orders.get()
            with self._lock:
                if order.withdrawn:
                    continue
                try:
                    order.answer = self._follow(order.command)
                    self._show(f"Steered: {order.answer}")
                except ArchiveError as error:
                    order.answer = error
                order.done.set()

    def _follow(self, command: Mapping[str, Any]) -> str:
        match command:
            case {"command": "instruct", "words": str(words)}:
                return self._instruct(words.strip())
            case {"command": "propose", "files": dict(files), "parent": None | str() as parent}:
                return self._propose({str(path): str(text) for path, text in files.items()}, parent)
            case {"command": "pin" | "ban" | "free" as code, "node": str(node_id)}:
                return self._mark(code, node_id)
            case {"command": "budget", "limit": str(limit), "added": int() | float() as added}:
                return self._add(limit, added)
            case {"command": "pause" | "resume" | "stop" as code}:
                return self._hold(code)
        raise QueryRefused("the command is not understood; do both sides run the same version?")

    # ------------------------------------------------------------ the commands

    def _instruct(self, words: str) -> str:
        if len(words) > MOST_WORDS:
            raise QueryRefused(f"the instruction has {len(words):,} characters; expected at most {MOST_WORDS:,}")
        done = f"the next prompts say: {printable(words)}" if words else "the instructions so far are withdrawn"
        self._note("instruct", done, detail={"words": words, "move": len(self._tree.moves)})
        return done

    def _propose(self, files: Mapping[str, str], parent: str | None) -> str:
        """Add a candidate: the parent's files with these in their place."""
        self._require_searching()
        if self._controller.remaining < 1:
            raise QueryRefused("the budget has no evaluation left for it; raise it first, with budget +1")
        base = self._known(parent or self._tree.leader() or self._tree.root)
        candidate = Candidate(self._placed(files, base), (base,), USER_OPERATOR, "proposed by the user")
        reason = self._controller.engine.insert(candidate)
        if reason is not None:
            raise QueryRefused(f"the candidate is refused: {printable(reason)}")
        node_id = self._tree.nodes[-1].node_id
        done = f"node {node_id[:8]}, a child of {base[:8]}, is evaluated next"
        self._note("propose", done, node_id)
        return done

    def _placed(self, files: Mapping[str, str], base: str) -> dict[str, str]:
        """Return the files of a candidate. A single file replaces the only one that may change, whatever its name."""
        before = self._tree[base].candidate.files
        patterns = self._controller.engine.parts.task.editable
        own = editable_files(patterns, before)
        if len(files) == len(own) == 1:
            files = dict(zip(own, files.values(), strict=True))
        strange = [path for path in files if not (is_below(path) and editable_files(patterns, {path: ""}))]
        if strange or not files:
            came = printable(", ".join(strange))[:200] or "no file"
            raise QueryRefused(f"expected files that may change, such as {', '.join(own)}; got {came}")
        if (reason := first_error(files, [before])) is not None:
            raise QueryRefused(f"the candidate is refused: {printable(reason)}")
        return {**before, **files}

    def _mark(self, code: SteerCode, node_id: str) -> str:
        self._require_searching()
        self._known(node_id)
        if code == "ban" and node_id == self._tree.root:
            raise QueryRefused("the root cannot be banned: it is the baseline of every claim")
        words = {
            "pin": "proposals start from {} and its descendants, while an operator applies there",
            "ban": "{} and its descendants are no parents, no leaders and no finalists any more",
            "free": "{} is neither pinned nor banned any more",
        }
        done = words[code].format(node_id[:8])
        self._note(code, done, node_id)
        self._controller.engine.journal.record_leader()
        return done

    def _add(self, limit: str, added: float) -> str:
        budget = self._controller.budget
        if limit not in _LIMITS or not _limited(budget, limit):
            raise QueryRefused(f"this run has no limit of {limit}; its budget: {budget.describe()}")
        if not 0 < added < math.inf or (limit == "evaluations" and added != int(added)):
            raise QueryRefused(f"expected a positive number to raise the budget by, whole for evaluations; got {added}")
        try:
            grown = with_extra(budget, {limit: added})
        except ValueError as error:
            raise QueryRefused(str(error)) from error
        done = f"the budget is {grown.describe()} now"
        self._note("budget", done, detail={"limit": limit, "added": added})
        self._controller.budget = grown
        return done

    def _hold(self, code: SteerCode) -> str:
        words = {
            "pause": "no evaluation is started until resume; those that run come to their end",
            "resume": "evaluations are started again",
            "stop": "this session ends when the running evaluations have ended; the run can be resumed later",
        }
        self.paused = code == "pause" or (self.paused and code == "stop")
        self.stopping = self.stopping or code == "stop"
        self._note(code, words[code])
        return words[code]

    # ------------------------------------------------------------ shared

    @property
    def _tree(self) -> Tree:
        return self._controller.engine.tree

    def _known(self, node_id: str) -> str:
        if node_id not in self._tree.index:
            raise QueryRefused(f"the run {self._tree.run!r} has no node {printable(node_id)[:40]}")
        return node_id

    def _require_searching(self) -> None:
        """Raise QueryRefused during a claim: which nodes it is about must not depend on what it has found."""
        if self._controller.result is not None or self._controller.forecast().stage == "claiming":
            raise QueryRefused("the search is over and its claim is under way; nodes cannot be added or marked now")

    def _note(
        self, code: SteerCode, message: str, node_id: str | None = None, detail: Mapping[str, object] | None = None
    ) -> None:
        engine = self._controller.engine
        event = Event(engine.run.run, KIND, message, engine.parts.clock(), node_id, code, detail)
        engine.archive.note(event)
        self._tree.steer(self._tree.steering.after(event))


def _limited(budget: Budget, name: str) -> bool:
    return name in _LIMITS and getattr(budget, name) is not None
