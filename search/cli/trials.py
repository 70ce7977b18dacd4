"""Evaluations of versions of a task's seed on the first slot, for ``check`` and ``attack``. Nothing is archived."""

from __future__ import annotations

import argparse
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from archive.records import Evaluation, Failed, Purpose, Request, Scored
from prepare.data.corpora import PreparationError
from prepare.load import TaskError, task_from
from prepare.output import Parser
from prepare.program import SETTINGS, ProgramTask
from search import factory, settings
from search.config import Config
from search.display.summary import search_command
from search.run.engine import LOST_TRIES
from train.executors.base import ExecutorError
from train.sandbox.base import SandboxUnavailable

NO_TRIALS = (TaskError, PreparationError, ExecutorError, SandboxUnavailable)
"""Why no evaluation can be made, besides settings that are wrong."""


def parser(command: str, description: str) -> argparse.ArgumentParser:
    """Return the parser of a command that takes a task and settings."""
    made = Parser(
        prog=f"python -m search {command}",
        usage=f"python -m search {command} FOLDER|NAME [NAME=VALUE] ...",
        description=description,
    )
    made.add_argument("task", metavar="FOLDER|NAME", help="a task's folder, or the name of one in conf/task")
    made.add_argument("overrides", metavar="NAME=VALUE", nargs="*", help="settings, as of python -m search")
    made.add_argument("--config-dir", metavar="DIR", help="a conf/ folder of your own, besides the built-in one")
    made.add_argument("--json", action="store_true", help="print JSON in place of the table, at the end")
    return made


def search_words(options: argparse.Namespace) -> list[str]:
    """Return options and overrides of a search of the task."""
    return [*(("--config-dir", options.config_dir) if options.config_dir else ()), *_words(options)]


def _words(options: argparse.Namespace) -> list[str]:
    return [f"task={_task_word(options.task)}", *options.overrides]


def _task_word(name: str) -> str:
    """Return the value of ``task=``: a folder in the current directory needs ``./`` before its name."""
    return f"./{name}" if "/" not in name and Path(name).is_dir() else name.removesuffix(f"/{SETTINGS}")


@dataclass
class Trials:
    """A task, its seed, and what evaluates versions of it."""

    config: Config
    task: ProgramTask
    files: Mapping[str, str]
    """The seed's."""
    local: factory.LocalEvaluation
    seconds: list[float] = field(default_factory=list)

    def run(self, files: Mapping[str, str], seed: int, purpose: Purpose = "screen") -> Evaluation:
        """Evaluate on a split; lost evaluations are repeated, as in a search. Raises TaskError if the scorer fails."""
        request = Request("trial", "trial", 0, files, seed, purpose)
        for _ in range(LOST_TRIES):
            began = time.monotonic()
            found = self.local.evaluator.evaluate(request, self.local.slots[0], threading.Event(), lambda *_: None)
            if not isinstance(found, Failed) or found.outcome != "lost":
                break
        self.seconds.append(time.monotonic() - began)
        assert isinstance(found, Scored | Failed)  # only claims of language models are sealed first
        return found


def open_trials(options: argparse.Namespace) -> Trials:
    """Compose the settings and build the evaluator. Raises SettingsError, or one of ``NO_TRIALS``."""
    config = settings.config_for(_words(options), factory.device_for, options.config_dir)
    task = task_from(config.task)
    if not isinstance(task, ProgramTask):
        raise TaskError(f"{task.name} trains a language model: {search_command(['doctor', *search_words(options)])}")
    task.prepare()
    task.instructions()
    local = factory.build_evaluation(config, task)
    factory.lend_model(config, task, local.evaluator)
    return Trials(config, task, factory.seed_files(task), local)
