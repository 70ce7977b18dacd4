"""One run from a composed configuration to its summary: what ``python -m search`` does after the command line."""

from __future__ import annotations

import shlex
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from typing import Any

from archive.errors import ArchiveError
from archive.server import SqlServer
from archive.store import Archive
from operators.llm.base import LlmError
from operators.llm.secrets import without_user
from prepare.corpora import PreparationError
from prepare.load import TaskError
from search import assemble
from search.budget import Budget
from search.claim import ClaimPlan
from search.course import Course
from search.display import make_display
from search.engine import Search, SearchStopped
from search.loop import Session
from search.runs import RunChanged, catch_up, open_run
from search.settings import SettingsError
from search.stopping import stoppable
from search.summary import archive_command, summarise, this_python
from train.local import LocalExecutor
from train.sandbox import SandboxUnavailable
from train.slots import sharing

EXPECTED = (
    ArchiveError,
    LlmError,
    PreparationError,
    RunChanged,
    SandboxUnavailable,
    SearchStopped,
    SettingsError,
    TaskError,
)
"""Errors whose message is written for the person at the terminal; others are ours and keep their traceback."""


def run(config: Mapping[str, Any], options: Sequence[str], overrides: Sequence[str]) -> int:
    """Run or resume one search. Returns the exit status: 0 done, 1 it could not go on, 130 stopped by Ctrl-C.

    ``options`` and ``overrides`` are what was typed, for the command that resumes.
    """
    try:
        with ExitStack() as stack:
            return _run(config, [*options, *overrides], stack)
    except EXPECTED as error:
        print(f"\nerror: {error}", file=sys.stderr)
        return 1


def _run(config: Mapping[str, Any], typed: Sequence[str], stack: ExitStack) -> int:
    try:
        task = assemble.build_task(config)
        budget, plan = Budget(**config["budget"]), ClaimPlan(**config["claim"])
        files = assemble.seed_files(task, config)
        stand = assemble.build_stand(config, task)
    except (ValueError, TypeError) as error:  # of a setting; later ones would be ours, and keep their traceback
        raise SettingsError(str(error)) from error
    stop = threading.Event()
    # From here on nothing is cut short by Ctrl-C: DuckDB would make errors of its own of it.
    stack.enter_context(stoppable(stop))
    archive = stack.enter_context(Archive.open(str(config["archive"])))
    executor = assemble.build_executor(config, stand.evaluator, stand.slots)
    stack.enter_context(executor)
    opened = open_run(archive, config, task, executor.conditions, time.time())
    try:
        llm = assemble.build_llm(config, archive, opened.run.run)
        if llm.meter is None and (useless := budget.needs_model()) is not None:
            raise SettingsError(useless)
        parts = assemble.build_parts(config, task, stand.evaluator, llm, time.time)
    except ValueError as error:
        raise SettingsError(str(error)) from error
    lookahead = assemble.build_lookahead(parts, llm, len(executor.slots))
    search = Search(parts, archive, opened.run, opened.tree, lookahead)
    stack.callback(search.close)
    stack.enter_context(SqlServer(archive))
    display = make_display(sys.stdout)
    stack.enter_context(display)
    display.said(llm.line)
    display.said(_greeting(search, executor, budget, str(config["archive"]), opened.resumed, stand.sandbox.tier))
    used = archive.seconds_used(opened.run.run)
    search.note("session", f"{'resumed' if opened.resumed else 'started'} with {len(executor.slots)} slots")
    if (shared := sharing(executor.slots)) is not None:
        search.note("sharing", shared)
    search.begin(files)
    course = Course(search, budget, plan, slots=len(executor.slots), used=used)
    if opened.other_hardware is not None and course.room > 0:
        catch_up(search, opened.other_hardware)
    session = Session(course, executor, display, stop)
    display.follow(session.outlook, llm.meter)
    try:
        ending = session.run()
    finally:  # what has ended is recorded, however the session ends
        executor.close()
        session.drain()
    if search.thinking:
        answers = "an answer" if search.thinking == 1 else f"{search.thinking} answers"
        display.said(f"Waiting for {answers} of the language model: what is on its way is paid for.")
    search.close()
    display.close()
    if not ending.finished:
        display.said(_how_to_resume(search, typed))
        return 130
    display.said(summarise(search, ending, archive, str(config["archive"])))
    return 0


def _greeting(search: Search, executor: LocalExecutor, budget: Budget, archive: str, resumed: bool, tier: str) -> str:
    run, task, slots = search.run, search.parts.task, executor.slots
    verb = f"Going on with run {run.run!r}, {search.tree.evaluated} trainings so far" if resumed else f"Run {run.run!r}"
    device = slots[0].device if slots[0].gpu is None else executor.conditions.hardware
    lines = [
        f"{verb}: {task.name}, {task.metric.name} ({task.metric.direction}), {task.seconds:g} s a training, "
        f"budget {budget.describe()}.",
        f"{len(slots)} slot{'s' if len(slots) > 1 else ''} on {device}, sandbox {tier}. "
        f"Look in at any time: {archive_command(archive)} leaderboard",
    ]
    if (shared := sharing(slots)) is not None:
        lines.append(f"NOTE: {shared}.")
    if tier == "none":
        lines.append("WARNING: sandbox=none. Candidates run as you, with your files and your network.")
    return "\n".join(lines)


def _how_to_resume(search: Search, typed: Sequence[str]) -> str:
    # A password in an address is not for whoever sees this terminal or its log: to be typed again.
    rest = [shlex.quote(without_user(word)) for word in typed if not word.startswith("run=")]
    command = " ".join([f"{this_python()} -m search", *rest, shlex.quote(f"run={search.run.run}")])
    return f"\nStopped. Everything that finished is in the archive. Go on with:\n  {command}"
