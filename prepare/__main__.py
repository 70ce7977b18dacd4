"""Prepare a task's data: ``python -m prepare [task=NAME] [data=NAME] [shards=N] [KEY=VALUE]``. Idempotent.

``data=python`` and ``shards=10`` choose the corpus of a task that allows it, as for the search; ``shards=N`` is short
for ``data.shards=N``. Keys of the task and its data can be set: ``task.context=1024``, ``data.path=FOLDER``.
``device=cuda_24gb`` prepares for another machine (a task's presets can change vocabulary and context).
In an exported branch the task is the ``task.json`` next to this package.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

from prepare.data.corpora import EVALUATION, SPLITS, PreparationError
from prepare.language_model import LanguageModelTask
from prepare.load import ROOT, TaskError, task_beside

USAGE = "usage: python -m prepare [task=NAME] [data=NAME] [shards=N] [KEY=VALUE]    (default: task=shakespeare)"


class _UsageError(Exception):
    """An argument that this command does not know."""


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
            raise _UsageError(f"unknown argument {argument!r}")
        if key == "task":
            name = value
        elif key == "device":
            device = value
        elif key == "shards":
            overrides.append(f"data.shards={value}")
        elif key == "data" or key.startswith(("data.", "task.")):
            overrides.append(argument)
        else:
            raise _UsageError(f"unknown argument {argument!r}")
    return _Arguments(name, tuple(overrides), device)


def _task(arguments: _Arguments) -> LanguageModelTask:
    """Load the task. Raises TaskError, or ValueError for an unknown device."""
    exported = ROOT / "task.json"
    program = exported if exported.is_file() else Path(f"{arguments.name}.py")
    return task_beside(program, arguments.device, arguments.overrides)


def main(arguments: list[str]) -> int:
    """Run the command. Returns the exit status: 0 prepared, 1 failed, 2 wrong usage."""
    if {"-h", "--help"} & set(arguments):
        print(f"{__doc__}\n{USAGE}")
        return 0
    try:
        task = _task(_parsed(arguments))
        corpus = task.corpus
        was_prepared = task.is_prepared()
        if not was_prepared:
            print(f"preparing {corpus.name} ...", flush=True)
        directory = task.prepare()
        print(f"{corpus.name}: {'already prepared' if was_prepared else 'prepared'} in {directory} ({_shares(task)})")
        print(f"fingerprint {task.corpus.fingerprint() if task.tokenised is None else task.fingerprint()}")
    except _UsageError as error:
        print(f"error: {error}\n{USAGE}", file=sys.stderr)
        return 2
    except (PreparationError, TaskError, ValueError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


def _shares(task: LanguageModelTask) -> str:
    """Describe the sizes of the splits."""
    if task.tokenised is not None:
        tokens = [(split, task.tokenised.rows(split).size) for split in SPLITS]
        shares = ", ".join(f"{split} {size / 1e6:.2f} million tokens" for split, size in tokens)
        return f"{shares}; {task.tokenised.cropped('train'):.2%} of the training tokens are cropped"
    sizes = [("train", task.training_size()), *((split, len(task.corpus.evaluation(split))) for split in EVALUATION)]
    return ", ".join(f"{split} {size / 1e6:.2f} MB" for split, size in sizes)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
