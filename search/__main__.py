"""Run ``python -m search [GROUP=CHOICE] [NAME=VALUE] ...``, or one of its other commands (``--help`` lists them)."""

from __future__ import annotations

import gc
import os
import signal
import sys


def _leave(number: int, frame: object) -> None:
    """Exit on Ctrl-C before or after a search, when no work is in progress: libraries mishandle KeyboardInterrupt."""
    os.write(2, b"\nInterrupted.\n")
    os._exit(130)


if __name__ == "__main__":
    signal.signal(signal.SIGINT, _leave)  # before further imports: Ctrl-C during them would print a traceback

from dataclasses import replace  # noqa: E402
from importlib import import_module  # noqa: E402
from pathlib import Path  # noqa: E402

# A file in the current directory (an exported train.py, say) must not shadow this project's packages.
_HOUSE = str(Path(__file__).resolve().parent.parent)
_HERE = {"", str(Path.cwd())}
sys.path[:] = [_HOUSE, *(p for p in sys.path if p not in {_HOUSE, *_HERE}), str(Path.cwd())]


_BESIDE = {
    "tasks": ("search.cli.tasks", "tasks"),
    "new": ("search.cli.new", "new"),
    "check": ("search.cli.check", "check"),
    "attack": ("search.cli.attack", "attack_task"),
    "adopt": ("search.cli.adopt", "adopt"),
    "adopt-self": ("search.cli.adopt_self", "adopt_self"),
    "evaluate": ("search.cli.evaluate", "rescore"),
    "ablate": ("search.cli.ablate", "ablate"),
    "transfer": ("search.cli.transfer", "transfer"),
    "explain": ("search.cli.explain", "explain"),
    "study": ("search.cli.study", "study"),
    "mcp": ("search.cli.mcp", "mcp"),
    "ideas": ("search.cli.ideas", "ideas"),
    "write": ("search.cli.write", "write"),
    "review": ("search.cli.review", "review_paper"),
    "revise": ("search.cli.revise", "revise_paper"),
}
"""Subcommands with options of their own -> (module, function). Only the requested module is imported."""


def _own_process() -> None:
    """Prepare a process that runs nothing else."""
    from prepare.output import use_utf8

    use_utf8()
    signal.signal(signal.SIGINT, _leave)
    # Leave the cores to the candidates. Must precede the import of numpy; sandboxes have their own environment.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")


if __name__ == "__main__":
    _own_process()

from prepare.config import SettingsError  # noqa: E402
from prepare.known import TaskError  # noqa: E402
from prepare.output import run_command  # noqa: E402
from search.words import Words, words_of  # noqa: E402


def script() -> None:
    """Run the console script ``treewright``: the same as ``python -m search``."""
    _own_process()
    main()


def main() -> None:
    """Run the command line and exit with its status (``prepare.output``)."""
    sys.exit(run_command(lambda: _run(sys.argv[1:]), unusable=(SettingsError, TaskError)))


def _run(arguments: list[str]) -> int:
    if arguments and (found := _BESIDE.get(arguments[0])) is not None:
        module, name = found
        return int(getattr(import_module(module), name)(arguments[1:]))
    words = words_of(arguments)
    if words.help:
        from search.cli.help import help_text

        print(help_text(words.folder))
        return 0
    if "doctor" in words.overrides:
        from search.cli.doctor import examine

        overrides = tuple(word for word in words.overrides if word != "doctor")
        return examine(replace(words, overrides=overrides))
    return _search(words)


def _search(words: Words) -> int:
    if words.shown:
        return _show_configuration(words)
    if words.multirun:
        from search.cli.multirun import run_all

        return run_all(words)
    from train.sandbox.image import manifest

    gc.disable()  # until the search begins: a million objects are made that live as long as it
    try:
        if "search.cli.run" not in sys.modules and "sandbox=none" not in words.overrides:
            manifest.begin()  # during the imports that are still to come
        composition = words.composition()
        from search.cli.run import run, run_as_json

        return run_as_json(composition, words) if words.json else run(composition, words)
    finally:
        gc.enable()
        manifest.give_up()


def _show_configuration(words: Words) -> int:
    from omegaconf import OmegaConf

    values = OmegaConf.create(dict(words.composition().values))
    if words.json:
        from search.cli.terminal import show_json

        show_json(OmegaConf.to_container(values))
    else:
        print(OmegaConf.to_yaml(values), end="")
    return 0


if __name__ == "__main__":
    main()
