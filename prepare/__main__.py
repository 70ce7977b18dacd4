"""Make a task's data ready: ``python -m prepare [task=NAME]``. Idempotent.

Works from an exported branch too, where the task is the ``task.json`` beside this package.
"""

from __future__ import annotations

import sys
from pathlib import Path

from prepare.corpora import PreparationError
from prepare.load import HOUSE, TaskError, task_beside

USAGE = "usage: python -m prepare [task=NAME]    (default: task=shakespeare)"


def main(arguments: list[str]) -> int:
    """Returns the exit status: 0 ready, 1 not ready, 2 wrong usage."""
    name = "shakespeare"
    for argument in arguments:
        if argument in ("-h", "--help"):
            print(f"{__doc__}\n{USAGE}")
            return 0
        if not argument.startswith("task="):
            print(f"error: unknown argument {argument!r}\n{USAGE}", file=sys.stderr)
            return 2
        name = argument.removeprefix("task=")
    exported = HOUSE / "task.json"
    program = exported if exported.is_file() else Path(f"{name}.py")
    try:
        corpus = task_beside(program).corpus
        known = corpus.is_prepared()
        if not known:
            print(f"preparing {corpus.name} ...", flush=True)
        directory = corpus.prepare()
        sizes = {split: len(corpus.evaluation(split)) for split in ("val", "select", "holdout")}
        trained = sum(len(document) for document in corpus.documents())
    except (PreparationError, TaskError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    shares = ", ".join(f"{split} {size / 1e6:.2f} MB" for split, size in {"train": trained, **sizes}.items())
    print(f"{corpus.name}: {'already prepared' if known else 'prepared'} in {directory} ({shares})")
    print(f"fingerprint {corpus.fingerprint()}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
