"""``python -m search evaluate PATH``: score a file, an exported folder or a commit again, under the task's protocol.

Uses the same evaluator, sandbox and audit as a search, with fresh seeds. Nothing is written to an archive. If the
program is an exported commit, the report also compares the new scores with the recorded one.
"""

from __future__ import annotations

import argparse
import json
import math
import secrets
import threading
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from archive.interval import Interval, NoInterval, mean_interval
from archive.query.tables import digits
from archive.records import Evaluation, EvaluationPart, Failed, Purpose, Request, Scored
from prepare.config import SettingsError
from prepare.data.corpora import PreparationError
from prepare.known import TaskError, known_task
from prepare.load import task_from
from prepare.output import Parser, many
from prepare.program import ProgramTask
from prepare.task import Task
from search import factory, settings
from search.claims.statistics import expects
from search.cli.programs import Program, ProgramError, Recorded, read_candidate, read_program
from search.cli.signals import stoppable
from search.cli.terminal import show, show_error
from search.config import Config
from search.display.live import clean
from search.run.engine import evaluation_seed
from train.executors.base import Executor, ExecutorError
from train.sandbox.base import SandboxUnavailable

_PURPOSE: Mapping[str, Purpose] = {"val": "screen", "select": "confirm"}
"""Splits that can be chosen. The holdout is reserved for claims: scoring on it here would contaminate them."""

_RUNS = 3
_ROUNDED = 1e-12
"""Relative: the digits of a recorded score."""
_DESCRIPTION = """\
Score a program again: PATH is a train.py, the folder of an export, or a git repository (with --commit).
An export is scored under the task in its task.json, any other file under the task of the settings (task=...). If the
task of an export has a corpus class of your own, name the same task again: task=NAME --config-dir DIR. The program of a
task that is a folder is scored by that folder: task=./FOLDER, or the NAME of one that comes along.
"""


def rescore(arguments: Sequence[str]) -> int:
    """Run the command. Returns 0 if every run was scored, 1 if not, 130 after Ctrl-C. Raises SettingsError."""
    options = _parser().parse_intermixed_args(arguments)
    try:
        return _rescore(options)
    except (ExecutorError, ProgramError, PreparationError, TaskError, SandboxUnavailable) as error:
        show_error(error)
        return 1


def _parser() -> argparse.ArgumentParser:
    parser = Parser(
        prog="python -m search evaluate",
        usage="python -m search evaluate PATH [--commit REV] [--runs N] [--split val|select] [NAME=VALUE] ...",
        description=_DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("path", metavar="PATH", type=Path)
    parser.add_argument("overrides", metavar="NAME=VALUE", nargs="*", help="settings, as of python -m search")
    parser.add_argument("--commit", metavar="REV", help="a branch or commit of the repository PATH")
    parser.add_argument(
        "--runs",
        type=settings.whole_number(1),
        metavar="N",
        help=f"evaluations, each with a seed ({_RUNS}; 1 if deterministic)",
    )
    parser.add_argument("--split", choices=sorted(_PURPOSE), default="val", help="the data split to score on (val)")
    parser.add_argument("--config-dir", metavar="DIR", help="a conf/ folder of your own, besides the built-in one")
    parser.add_argument("--json", action="store_true", help="print one JSON object instead of text")
    return parser


def _rescore(options: argparse.Namespace) -> int:
    settled = settings.config_for(options.overrides, factory.device_for, options.config_dir)
    program, config = _program(options, settled)
    task = task_from(config.task)
    runs = options.runs or (1 if task.deterministic else _RUNS)
    local = factory.build_evaluation(config, task)
    factory.lend_model(config, task, local.evaluator)
    stop = threading.Event()
    requests = _requests(program, _PURPOSE[options.split], runs)
    with ExitStack() as stack:
        executor = stack.enter_context(factory.build_executor(config, local.evaluator, local.slots[:runs]))
        stack.enter_context(stoppable(stop))
        if not options.json:
            count = many(len(requests), "run")
            show(f"{program.name}: task {task.name}, {count} of {task.seconds:g} s on {options.split}")
        landed = _run(executor, requests, stop, None if options.json else task)
    report = Report(task, options.split, program.recorded, tuple(landed), stopped=stop.is_set())
    show(json.dumps(report.facts(), indent=2) if options.json else report.text())
    if stop.is_set():
        return 130
    return 0 if all(isinstance(evaluation, Scored) for evaluation in landed) else 1


def _program(options: argparse.Namespace, settled: Config) -> tuple[Program, Config]:
    """Return the program, and the settings with its task. Raises ProgramError, SettingsError or TaskError."""
    if any(word.startswith("task=") for word in options.overrides):
        task = task_from(settled.task)
        if isinstance(task, ProgramTask):
            return read_candidate(options.path, options.commit, task.editable), settled
    program = read_program(options.path, options.commit)
    return program, _with_its_task(settled, program, options.overrides)


def _requests(program: Program, purpose: Purpose, runs: int) -> list[Request]:
    """Return one request for each run, with a fresh seed.

    On ``select`` all are judged at the same positions, and on the same cases, which no archive uses.
    """
    positions, cases = secrets.token_bytes(32), secrets.token_bytes(32)
    shared = Request("again", "evaluate", 0, program.files, 0, purpose, position_key=positions, case_key=cases)
    run_id = secrets.token_hex(16)
    return [replace(shared, move=move, seed=evaluation_seed(run_id, move)) for move in range(1, runs + 1)]


def _with_its_task(config: Config, program: Program, typed: Sequence[str]) -> Config:
    """Return the settings with the task of the export, if the program is an export.

    If the user has typed a task, that one is used, and must equal the export's. Raises SettingsError if it differs, and
    TaskError if the export names a class that is not on the list of known ones.
    """
    if program.task is None:
        return config
    chosen = [word for word in typed if word.startswith(("task=", "task.", "data=", "data."))]
    if not chosen:
        return config.changed(task=known_task(program.task))
    if changed := settings.changed_task(program.task, config.task):
        raise SettingsError(
            f"{chosen[0]} would change the task of the export, so that scores could not be compared:\n  "
            + "\n  ".join(clean(line, 200) for line in changed)
            + "\nOmit it, or copy train.py to another folder to score it under another task."
        )
    return config


def _run(executor: Executor, requests: list[Request], stop: threading.Event, tell: Task | None) -> list[Evaluation]:
    """Return the evaluations in the order of completion. Ends early if ``stop`` is set.

    ``tell``: the task, if each evaluation is to be printed when it ends.
    """
    for request in requests:
        executor.submit(request)
    landed: list[Evaluation] = []
    while len(landed) < len(requests) and not stop.is_set():
        for evaluation in executor.wait(0.25):
            assert not isinstance(evaluation, EvaluationPart)  # no request asks for a part
            landed.append(evaluation)
            if tell is not None:
                show(f"  {_one(evaluation, tell)}")
    return landed


def _one(evaluation: Evaluation, task: Task) -> str:
    seed = f"seed {evaluation.request.seed:<20}"
    if isinstance(evaluation, Scored):
        steps = f", {evaluation.resources.steps:,} steps" if evaluation.resources.steps is not None else ""
        score = _with(evaluation.score, task.metric.unit)
        return f"{seed}{score} ({evaluation.trust}, sandbox {evaluation.sandbox}{steps})"
    reason = evaluation.reason if isinstance(evaluation, Failed) else ""
    return f"{seed}{evaluation.outcome}: {clean(reason, 300)}"


def _with(score: float, unit: str) -> str:
    return f"{digits(score)} {unit}".rstrip()


@dataclass(frozen=True)
class Report:
    """The evaluations of a program, with the recorded score."""

    task: Task
    split: str
    recorded: Recorded | None
    evaluations: tuple[Evaluation, ...]
    stopped: bool

    @property
    def scores(self) -> list[float]:
        return [evaluation.score for evaluation in self.evaluations if isinstance(evaluation, Scored)]

    @property
    def expected(self) -> Interval | NoInterval | None:
        """The prediction interval of the recorded mean, given the new scores; None if no record is comparable."""
        if self.recorded is None or self.split != "val":
            return None
        return expects(self.scores, self.recorded.runs)

    @property
    def agrees(self) -> bool | None:
        if self.recorded is None or self.expected is None:
            return None
        if self.task.deterministic and self.scores:
            return all(math.isclose(score, self.recorded.score, rel_tol=_ROUNDED) for score in self.scores)
        if isinstance(self.expected, NoInterval):
            return None
        return self.expected.low <= self.recorded.score <= self.expected.high

    def facts(self) -> dict[str, object]:
        """Return the report as JSON values."""
        interval = mean_interval(self.scores)
        return {
            "task": self.task.name,
            "metric": self.task.metric.name,
            "split": self.split,
            "runs": [
                {
                    "seed": str(evaluation.request.seed),
                    "outcome": evaluation.outcome,
                    "score": evaluation.score if isinstance(evaluation, Scored) else None,
                    "reason": evaluation.reason if isinstance(evaluation, Failed) else None,
                    "trust": evaluation.trust,
                    "sandbox": evaluation.sandbox,
                    "hardware": evaluation.conditions.hardware,
                }
                for evaluation in self.evaluations
            ],
            "mean": math.fsum(self.scores) / len(self.scores) if self.scores else None,
            "interval": [interval.low, interval.high] if isinstance(interval, Interval) else None,
            "recorded": self.recorded.score if self.recorded is not None else None,
            "agrees": self.agrees,
        }

    def text(self) -> str:
        """Return the report as text for the terminal."""
        unit, interval = self.task.metric.unit, mean_interval(self.scores)
        lines = ["Stopped."] if self.stopped else []
        if isinstance(interval, Interval):
            lines.append(
                f"mean {_with(interval.mean, unit)} on {self.split}, 95% interval {digits(interval.low)} to "
                f"{digits(interval.high)} ({interval.n} runs, deviation {interval.deviation:.2g})"
            )
        elif self.scores:
            why = "the task is deterministic" if self.task.deterministic else "one run: no interval"
            lines.append(f"{_with(self.scores[0], unit)} on {self.split}, {why}")
        else:
            lines.append("no run was scored")
        if self.split == "select" and isinstance(self.task, ProgramTask) and self.task.scorer is not None:
            lines.append("what score.py draws for select was drawn for this command alone: another draws other cases")
        return "\n".join([*lines, *self._comparison(unit)])

    def _comparison(self, unit: str) -> list[str]:
        recorded, expected = self.recorded, self.expected
        if recorded is None:
            return []
        said = f"recorded {_with(recorded.score, unit)} (mean of {many(recorded.runs, 'run')} on val)"
        if expected is None:
            return [f"{said}: not compared, since the split differs"]
        if self.task.deterministic and self.scores:
            held = "agrees, the same score" if self.agrees else "does NOT agree, and the task is deterministic"
            return [f"{said}: {held}"]
        if isinstance(expected, NoInterval):
            return [f"{said}: not compared, {expected.reason}"]
        verdict: Literal["agrees", "does NOT agree"] = "agrees" if self.agrees else "does NOT agree"
        between = f"{digits(expected.low)} to {digits(expected.high)}"
        lines = [f"{said}: {verdict}; the new runs predict {between} (95%)"]
        if not self.agrees:
            lines.append(
                "Under a time budget scores depend on the machine: repeat this on the machine that recorded the score, "
                "with nothing else running, before you distrust the record."
            )
        return lines
