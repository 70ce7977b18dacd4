"""What an experiment tracker is told of a run, and the observer that tells it.

To add one, write a class with the methods of ``Tracker`` and a file ``conf/tracker/NAME.yaml`` that names it with
``_target_``; its options are the arguments of ``__init__``. All methods are called in one thread, which is not the
search's: what they raise becomes an event, and the search goes on without the tracker.

Only screenings are told: single scores of a claim are shown to nobody, since choosing by them would invalidate it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from archive.records import CurvePoint, Evaluation, Run, Scored
from operators.languages.files import Editable
from operators.llm.meter import Meter
from search.observers.base import ObserverThread
from search.run.controller import RunController, RunResult


@dataclass(frozen=True)
class Screening:
    """One screening of a node."""

    key: str
    """Unique in the run, and the same after a resume."""
    node: str
    parents: tuple[str, ...]
    operator: str
    idea: str
    """Written by an operator or a model: untrusted text."""
    outcome: str
    score: float | None
    seconds: float
    started_at: float
    finished_at: float
    parameters: Mapping[str, float]
    """The program's numeric constants by name."""
    metrics: Mapping[str, float]
    curve: Sequence[CurvePoint]
    evaluations: int
    """Of the run so far."""
    best: float | None
    """The leader's mean so far; it claims nothing."""
    tokens: int
    dollars: float | None
    """Spent on language models so far; None without one whose price is known."""

    @property
    def figures(self) -> dict[str, float]:
        """The numbers of this screening by name; those that are unknown are left out."""
        found = {
            "score": self.score, "best": self.best, "seconds": self.seconds, "tokens": self.tokens,
            "dollars": self.dollars, "failed": float(self.outcome != "scored"),
        }  # fmt: skip
        return {name: float(value) for name, value in found.items() if value is not None}


@dataclass(frozen=True)
class Ending:
    """The end of a session."""

    finished: bool
    """False if the run can be resumed."""
    reason: str
    champion: str | None
    """Id of the node that passed the claim."""
    score: float | None
    """Its mean screening score."""
    figures: Mapping[str, float] = field(default_factory=dict)
    """Of the claim: ``gain`` and its interval, ``low`` and ``high``."""


class Tracker(Protocol):
    """Writes a run to a library's own store."""

    def start(self, run: Run, resumed: bool) -> None:
        """Open the run; if resumed, the one that has its ``run_id`` already."""
        ...

    def screened(self, screening: Screening) -> None:
        """Record a screening."""
        ...

    def end(self, ending: Ending) -> None:
        """Record the end of the session and close the run."""
        ...


class Tracking:
    """The observer that tells a tracker, in a thread of its own."""

    def __init__(
        self, name: str, tracker: Tracker, controller: RunController, resumed: bool, meter: Meter | None
    ) -> None:
        engine = controller.engine
        self._tracker = tracker
        self._meter = meter
        self._worker = ObserverThread(f"tracker {name}", lambda words: engine.journal.note("tracker", words))
        self._start: Callable[[], None] | None = lambda: tracker.start(engine.run, resumed)

    def landed(self, controller: RunController, evaluation: Evaluation) -> None:
        self._begin()
        if evaluation.request.purpose == "screen" and evaluation.outcome != "lost":
            screening = self._screening(controller, evaluation)
            self._worker.hand(lambda: self._tracker.screened(screening))

    def ended(self, controller: RunController, result: RunResult, failed: bool) -> None:
        if self._start is None:
            ending = ending_of(controller, result)
            self._worker.hand(lambda: self._tracker.end(ending))
        self._worker.finish()

    def _begin(self) -> None:
        """Open the tracker's run with the first evaluation: a session without one is not told."""
        if self._start is not None:
            self._worker.hand(self._start)
            self._start = None

    def _screening(self, controller: RunController, evaluation: Evaluation) -> Screening:
        engine, request = controller.engine, evaluation.request
        tree, leader = engine.tree, engine.tree.leader()
        node, editable, meter = tree[request.node_id], Editable.of(engine.parts.task), self._meter
        return Screening(
            key=f"{request.node_id}/{request.seed}",
            node=node.node_id,
            parents=node.parents,
            operator=node.candidate.operator,
            idea=node.candidate.idea,
            outcome=evaluation.outcome,
            score=evaluation.score if isinstance(evaluation, Scored) else None,
            seconds=evaluation.resources.seconds,
            started_at=evaluation.started_at,
            finished_at=evaluation.finished_at,
            parameters={p.name: float(p.value) for _, p in editable.parameters(node.candidate.files) if p.searchable},
            metrics=dict(evaluation.metrics),
            curve=tuple(evaluation.curve),
            evaluations=tree.evaluated,
            best=None if leader is None else tree.mean(leader),
            tokens=0 if meter is None else meter.spending.tokens,
            dollars=meter.spending.dollars if meter is not None and meter.priced else None,
        )


def ending_of(controller: RunController, result: RunResult) -> Ending:
    """Return the end of a session as a tracker is told of it."""
    verdict = result.verdict or result.standing
    won = verdict is not None and verdict.kind == "champion"
    figures: dict[str, Any] = dict(verdict.detail) if verdict is not None else {}
    told = {
        name: float(figures[name]) for name in ("gain", "low", "high") if isinstance(figures.get(name), int | float)
    }
    champion = verdict.node_id if verdict is not None and won else None
    score = None if champion is None else controller.engine.tree.mean(champion)
    return Ending(result.finished, result.reason, champion, score, told)
