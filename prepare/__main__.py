"""Prepare a task's data: ``python -m prepare [task=NAME] [data=NAME] [shards=N] [KEY=VALUE]``. Idempotent.

``data=python`` and ``shards=10`` choose the corpus of a task that allows it, as for the search; ``shards=N`` is short
for ``data.shards=N``. Keys of the task and its data can be set: ``task.context=1024``, ``data.path=FOLDER``.
``device=cuda_24gb`` prepares for another machine (a task's presets can change vocabulary and context).
In an exported branch the task is the ``task.json`` next to this package.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from prepare.data.corpora import EVALUATION, SPLITS, PreparationError
from prepare.language_model import LanguageModelTask
from prepare.load import ROOT, TaskError, task_beside
from prepare.output import DONE, run_command, use_utf8

T = TypeVar("T")

USAGE = "usage: python -m prepare [task=NAME] [data=NAME] [shards=N] [KEY=VALUE]    (default: task=shakespeare)"


class _UsageError(Exception):
    """An argument that this command does not know, or whose value cannot be used."""


@dataclass(frozen=True)
class _Arguments:
    """The parsed command line."""

    name: str
    overrides: tuple[str, ...]
    device: str | None


def _parsed(arguments: list[str]) -> _Arguments:
    name, device, overrides = "shakespeare", None, []
    for argument in arguments:
        key, equals, value = argument.partition("=")
        if not equals:
            raise _UsageError(f"unknown argument {argument!r}\n{USAGE}")
        if key == "task":
            name = value
        elif key == "device":
            device = value
        elif key == "shards":
            overrides.append(f"data.shards={value}")
        elif key == "data" or key.startswith(("data.", "task.")):
            overrides.append(argument)
        else:
            raise _UsageError(f"unknown argument {argument!r}\n{USAGE}")
    return _Arguments(name, tuple(overrides), device)


def _task(arguments: _Arguments) -> LanguageModelTask:
    """Load the task. Raises _UsageError, or PreparationError for the task of an export."""
    exported = ROOT / "task.json"
    program = exported if exported.is_file() else Path(f"{arguments.name}.py")
    try:
        return task_beside(program, arguments.device, arguments.overrides)
    except (TaskError, ValueError) as error:
        raise (PreparationError if program == exported else _UsageError)(str(error)) from error


def main(arguments: list[str]) -> int:
    """Run the command. Returns the exit status (``prepare.output``)."""
    return run_command(lambda: _run(arguments), unusable=(_UsageError,), failed=(PreparationError,))


def _run(arguments: list[str]) -> int:
    """Prepare the data. Raises _UsageError and PreparationError."""
    if {"-h", "--help"} & set(arguments):
        print(f"{__doc__}\n{USAGE}")
        return DONE
    task = _task(_parsed(arguments))
    was_prepared = _tried(task.is_prepared)
    if not was_prepared:
        print(f"preparing {task.corpus.name} ...", flush=True)
    directory = _tried(task.prepare)
    verb = "already prepared" if was_prepared else "prepared"
    print(f"{task.corpus.name}: {verb} in {directory} ({_shares(task)})")
    print(f"fingerprint {task.corpus.fingerprint() if task.tokenised is None else task.fingerprint()}")
    return DONE


def _tried(step: Callable[[], T]) -> T:
    """Return the result of a step. Raises PreparationError for its failures, unlike those of the output."""
    try:
        return step()
    except (OSError, ValueError) as error:
        raise PreparationError(str(error)) from error


def _shares(task: LanguageModelTask) -> str:
    """Describe the sizes of the splits."""
    if task.tokenised is not None:
        tokens = [(split, task.tokenised.rows(split).size) for split in SPLITS]
        shares = ", ".join(f"{split} {size / 1e6:.2f} million tokens" for split, size in tokens)
        return f"{shares}; {task.tokenised.cropped('train'):.2%} of the training tokens are cropped"
    sizes = [("train", task.training_size()), *((split, len(task.corpus.evaluation(split))) for split in EVALUATION)]
    return ", ".join(f"{split} {size / 1e6:.2f} MB" for split, size in sizes)


if __name__ == "__main__":
    use_utf8()
    sys.exit(main(sys.argv[1:]))
