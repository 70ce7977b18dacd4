"""A whole search in one process, with a stub for the evaluator and everything else real."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from stub_evaluator import StubEvaluator

from archive.records import Evaluation, Run, sha256
from archive.storage.store import Archive
from operators.llm.base import LanguageModel
from operators.llm.meter import Meter
from prepare.load import task_from
from search import factory
from search.run import resume
from search.run.controller import RunController, RunResult
from search.run.engine import Engine
from search.run.loop import SlotLoop
from search.run.resume import Opened, catch_up, open_run
from search.settings import config_for
from train.executors.local import LocalExecutor
from train.hardware.slots import Slot
from train.sandbox.base import NoSandbox


@pytest.fixture(autouse=True, scope="session")
def evaluation_seeds_that_repeat() -> Iterator[Callable[..., Run]]:
    """Give a run the same id, and with it the same evaluation seeds, in each execution; return what makes real ones."""
    new_run = resume._new_run

    def named(*arguments: Any) -> Run:
        run = new_run(*arguments)
        return replace(run, run_id=sha256(f"{run.run}/{run.seed}")[:32])

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(resume, "_new_run", named)
        yield new_run


class Quiet:
    """A display that keeps what it is told."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.landings: list[Evaluation] = []
        self.after: Callable[[Evaluation], None] = lambda evaluation: None
        self.pending = 0
        """Proposals asked of a model at the same time, at most."""

    def landed(self, search: Engine, evaluation: Evaluation, total: int | None) -> None:
        self.landings.append(evaluation)
        self.after(evaluation)

    def show(self, message: str) -> None:
        self.lines.append(message)

    def tick(self, search: Engine, running: Any, total: int | None) -> None:
        self.pending = max(self.pending, search.pending)


@dataclass
class Bench:
    """What one session of a search was made of, and how it ended."""

    search: Engine
    result: RunResult
    display: Quiet
    evaluator: StubEvaluator
    opened: Opened


@pytest.fixture
def start(tmp_path: Path) -> Callable[..., Bench]:
    """``start(overrides, ...)`` runs one session on an archive in ``tmp_path`` and returns the Bench."""

    def run(
        *overrides: str,
        slots: int = 2,
        stub: Mapping[str, Any] | None = None,
        stop_after: int | None = None,
        source: str | None = None,
        stop_at_once: bool = False,
        model: LanguageModel | None = None,
        dollars: float = 1e6,
        concurrency: int = 16,
        name: str = "archive.duckdb",
    ) -> Bench:
        """``model``: answers for the operators that want one, at most for so many ``dollars``. ``name``: the file."""
        config = config_for(["operators=numeric", "llm=none", *overrides], "cpu")
        task = task_from(config.task)
        evaluator = StubEvaluator(task, NoSandbox(), **(stub or {}))
        places = tuple(Slot(index=i, device="cpu", gpu=None, cores=(), threads=1) for i in range(slots))
        files = {"train.py": source} if source is not None else factory.seed_files(task)
        display, stop = Quiet(), threading.Event()
        if stop_at_once:
            stop.set()
        if stop_after is not None:
            display.after = lambda evaluation: stop.set() if len(display.landings) >= stop_after else None
        with Archive.open(tmp_path / name) as archive, LocalExecutor(evaluator, places) as executor:
            opened = open_run(archive, config, task, executor.conditions, 0.0)
            llm = factory.build_llm(config, archive, opened.run.run)
            if model is not None:
                record, answer, spent = archive.record_call, archive.answer, archive.spending(opened.run.run)
                caps: Any = {"max_dollars": dollars, "max_tokens": 10**9, "concurrency": concurrency}
                caps["requested"] = archive.record_request
                llm = factory.Llm(Meter(model, **caps, record=record, lookup=answer, spent=spent), "a model")
            parts = factory.build_search(config, task, evaluator, llm, clock=lambda: 0.0)
            lookahead = factory.build_lookahead(parts, llm, slots)
            search = Engine(parts, archive, opened.run, opened.tree, lookahead)
            search.start(files)
            controller = RunController(search, config.budget, config.claim, slots=slots)
            if opened.other_hardware is not None and controller.remaining > 0:
                catch_up(search, opened.other_hardware)
            result = SlotLoop(controller, executor, display, stop).run()
            search.close()
            return Bench(search, result, display, evaluator, opened)

    return run
