"""Run one search, from the composed configuration to the printed summary."""

from __future__ import annotations

import gc
import sys
import threading
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

from archive.cli.summary import summary_facts
from archive.errors import ArchiveError
from archive.query.query import open_reader
from archive.query.server import SqlServer
from archive.query.steer import SteeringServer
from archive.storage.store import Archive
from operators.llm.base import InvalidSetting, LlmError, Stopped, UnknownModel
from operators.numeric.tune_comments import unused_comments
from prepare.compose import Composed
from prepare.config import SettingsError
from prepare.data.corpora import PreparationError
from prepare.load import TaskError, task_from
from prepare.output import DONE, FAILED, INTERRUPTED, UNUSABLE, many
from search import factory
from search.api import Search, SearchComponents
from search.cli.early import imported, packages_for
from search.cli.signals import stoppable
from search.cli.terminal import progress_aside, show, show_error, show_json
from search.config import Config
from search.display.live import make_display
from search.display.summary import archive_command, resume_command, summarise
from search.run.controller import NothingMade
from search.run.engine import Engine, SearchStopped
from search.run.loop import Display, SlotLoop
from search.run.proposals import GRACE_SECONDS
from search.run.resume import RunChanged
from search.run.steering import SteeringOrders
from search.settings import resolved
from search.words import Words
from train.executors.base import Executor, ExecutorError
from train.sandbox.base import SandboxUnavailable

EXPECTED = (
    ArchiveError,
    ExecutorError,
    LlmError,
    PreparationError,
    RunChanged,
    SandboxUnavailable,
    SearchStopped,
    SettingsError,
    TaskError,
)
"""Errors that are printed as one message. Any other exception is a bug and keeps its traceback."""

_SWITCH_SECONDS = 0.0005
"""How long a thread that serves a slot waits for one that computes, each time that it passes something on; Python's
default is 5 ms, and an evaluation has a dozen such steps."""

UNFIT = (InvalidSetting, RunChanged, SettingsError, TaskError, UnknownModel)
"""Those of them that another command line avoids: exit status 2."""


def run(
    composition: Composed, words: Words, sections: Mapping[str, Any] | None = None, again: str | None = None
) -> int:
    """Run or resume one search. Returns the exit status (``prepare.output``).

    ``sections``: what extends or replaces the composed configuration (see ``search.cli.multirun.sections_of``).
    ``again``: the command that resumes the run, where it is not the search's own.
    """
    try:
        with ExitStack() as stack:
            config = resolved(composition, factory.device_for, **(sections or {}))
            return _run(config, _Typed(words.lasting, composition.overrides, again), stack)
    except Stopped:
        show("\nStopped before the search began. Repeat the command to start it.")
        return INTERRUPTED
    except EXPECTED as error:
        show_error(error, before="\n")
        return UNUSABLE if isinstance(error, UNFIT) else FAILED


def run_as_json(composition: Composed, words: Words) -> int:
    """Run or resume one search; print the object of ``python -m archive summary --json`` if it came to its end."""
    with progress_aside(True):
        status = run(composition, words)
    if status == DONE:
        show_json(finished(composition))
    return status


def finished(composition: Composed) -> dict[str, Any]:
    """Return the summary of the run that was worked on last in the archive, as plain JSON values."""
    return summary_facts(open_reader(str(composition.values["archive"])), None)


@dataclass(frozen=True)
class _Typed:
    """Options and overrides of the command line, for the command that resumes the run."""

    options: Sequence[str]
    overrides: Sequence[str]
    again: str | None = None

    def resume(self, run: str) -> str:
        return self.again or resume_command(self.options, self.overrides, run)


def _run(config: Config, typed: _Typed, stack: ExitStack) -> int:
    task = task_from(config.task)
    stack.enter_context(imported(packages_for(config)))
    files = factory.seed_files(task)  # before the data are prepared
    local = factory.build_evaluation(config, task)
    stop = threading.Event()
    # From here on Ctrl-C only sets ``stop``: DuckDB turns a KeyboardInterrupt into errors of its own.
    stack.enter_context(stoppable(stop))
    archive = stack.enter_context(Archive.open(config.archive))
    executor = stack.enter_context(factory.build_executor(config, local.evaluator, local.slots))
    search = Search.of(config, SearchComponents(task, files, executor.evaluator, executor.slots), archive, stop)
    engine = search.engine
    stack.callback(search.tell_end)
    stack.callback(engine.close, stop.is_set)
    stack.enter_context(SqlServer(archive))
    display = make_display(sys.stdout)
    stack.enter_context(display)
    display.show(search.llm.line)
    display.show(_greeting(search, executor, config.archive, local.sandbox.tier))
    for sentence in unused_comments(files, task.parameters):
        display.show(f"Note: {sentence}")
    search.begin()
    gc.freeze()  # keep the garbage collector from walking the tree (up to 100,000 nodes), which lives until the end
    gc.enable()  # the command line has it wait until here
    stack.callback(gc.unfreeze)
    stack.callback(sys.setswitchinterval, sys.getswitchinterval())
    sys.setswitchinterval(_SWITCH_SECONDS)
    steering = SteeringOrders(search, display.show)
    stack.enter_context(SteeringServer(archive.path, steering.obey))
    session = SlotLoop(search, executor, display, stop, steering)
    display.follow(session.forecast, search.llm.meter)
    try:
        result = session.run()
    except EXPECTED as error:
        if isinstance(error, ExecutorError | NothingMade):
            display.show(_how_to_resume(typed.resume(engine.run.run)))
        search.tell_end(error)
        raise
    finally:  # record finished evaluations also after an error
        executor.close()
        session.drain()
    _await_answers(engine, stop, display)
    display.close()
    if not result.finished:
        display.show(_how_to_resume(typed.resume(engine.run.run)))
        return INTERRUPTED
    display.show(summarise(engine, result, archive, config.archive))
    return DONE


def _await_answers(engine: Engine, stop: threading.Event, display: Display) -> None:
    """Stop sending requests to the language model, and wait for the answers that are under way."""

    def announce(running: int) -> None:
        display.show(
            f"Waiting for {_answers(running)} of the language model: requests already sent are paid for. "
            + (
                f"Silent ones are given up after {GRACE_SECONDS:.0f} seconds; Ctrl-C again ends at once."
                if stop.is_set()
                else "Ctrl-C gives up the silent ones."
            )
        )

    if left := engine.close(stop.is_set, announce):
        display.show(
            f"Given up: {_answers(left)} of the language model, which the caps count at the most they can cost."
        )


def _answers(number: int) -> str:
    return "an answer" if number == 1 else f"{number} answers"


def _greeting(search: Search, executor: Executor, archive: str, tier: str) -> str:
    run, task, slots = search.opened.run, search.engine.parts.task, executor.slots
    resumed = f"Resuming run {run.run!r}, {search.tree.evaluated} evaluations so far"
    verb = resumed if search.opened.resumed else f"Run {run.run!r}"
    device = slots[0].device if slots[0].gpu is None else executor.conditions.hardware
    lines = [
        f"{verb}: {task.name}, {task.metric.name} ({task.metric.direction}), {task.seconds:g} s an evaluation, "
        f"budget {search.budget.describe()}{f' ({outlook})' if (outlook := search.outlook()) else ''}.",
        f"{many(len(slots), 'slot')} on {device}, sandbox {tier}. "
        f"To see results at any time: {archive_command(archive)} leaderboard",
    ]
    lines += executor.notes
    if tier == "none":
        lines.append("WARNING: sandbox=none. Candidates run as your user, with access to your files and network.")
    return "\n".join(lines)


def _how_to_resume(command: str) -> str:
    return f"\nStopped. All finished evaluations are in the archive. Resume with:\n  {command}"
