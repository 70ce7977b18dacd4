"""``python -m search [GROUP=CHOICE] [NAME=VALUE] ...``; or with ``doctor``, ``evaluate``, ``ablate``, ``explain``."""

from __future__ import annotations

import os
import secrets
import signal
import sys
import tempfile
from contextlib import ExitStack
from importlib import import_module
from pathlib import Path
from types import FrameType

# A file in the current directory (an exported train.py, say) must not stand in for our packages.
_HOUSE = str(Path(__file__).resolve().parent.parent)
_HERE = {"", str(Path.cwd())}
sys.path[:] = [_HOUSE, *(p for p in sys.path if p not in {_HOUSE, *_HERE}), str(Path.cwd())]


_BESIDE = {
    "evaluate": ("search.cli.evaluate", "rescore"),
    "ablate": ("search.cli.ablate", "ablate"),
    "explain": ("search.cli.explain", "explain"),
}
"""Commands beside the search, with options of their own: where each is, so that only the one that is asked is read."""


def _leave(number: int, frame: FrameType | None) -> None:
    """Ctrl-C before the archive is open, or after: nothing is under way, and libraries mistake a KeyboardInterrupt."""
    os.write(2, b"\nInterrupted.\n")
    os._exit(130)


if __name__ == "__main__":
    signal.signal(signal.SIGINT, _leave)
    # The cores are the candidates'. Before numpy is imported; sandboxes have an environment of their own.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import hydra  # noqa: E402
from hydra.core.hydra_config import HydraConfig  # noqa: E402
from omegaconf import DictConfig  # noqa: E402

from search import settings  # noqa: E402

_STARTED = secrets.token_hex(4)
"""What tells this process's sweep from all others."""
_FAILED: list[str] = []
"""Runs of a sweep that could not go on, by their values: Hydra makes one after another in this process."""


@hydra.main(config_path="../conf", config_name="config", version_base="1.3")
def _search(config: DictConfig) -> None:
    from search import factory  # after Hydra has dealt with --help and the like
    from search.cli import multirun, run  # after Hydra has dealt with --help and the like

    chosen = HydraConfig.get()
    try:
        values = settings.resolve(config, factory.device_for(config), settings.parted(sys.argv[1:]))
    except settings.SettingsError as error:
        sys.exit(f"error: {error}")
    values["chosen"] = {group: name for group, name in chosen.runtime.choices.items() if "/" not in group}
    words, typed = settings.parted(sys.argv[1:]), tuple(chosen.overrides.task)
    if words.sweeps:
        values |= multirun.one_of(words.swept, typed, values["run"], _STARTED)
    status = run.run(values, words.lasting, typed)
    if status == 1 and words.sweeps:
        _FAILED.append(" ".join(f"{key}={value}" for key, value in values["sweep"]["values"].items()))
    elif status:
        if words.sweeps and config.run is not None:
            print("Or with the whole sweep, by the command that began it.")
        sys.exit(status)


def main() -> None:
    """Answer ``doctor``, refuse what names no setting, hand the rest to Hydra."""
    try:
        _answer(sys.argv[1:])
    except settings.SettingsError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)


def _answer(arguments: list[str]) -> None:
    if arguments and (found := _BESIDE.get(arguments[0])) is not None:
        module, name = found
        sys.exit(getattr(import_module(module), name)(arguments[1:]))
    words = settings.parted(arguments)
    if {"--help", "-h"} & set(words.options):
        words = settings.Words(("--help",), ())
    elif "doctor" in words.overrides:
        from search.cli.doctor import examine

        sys.exit(examine([word for word in arguments if word != "doctor"]))
    else:
        settings.check(arguments)
    with ExitStack() as stack:
        aside = []
        if words.sweeps:  # Hydra leaves a copy of a sweep's settings; each run has its own in the archive
            folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="treewright-"))
            aside = [f"hydra.sweep.dir={folder}"]
        sys.argv[1:] = [*words.options, *words.overrides, *aside]  # Hydra wants its options first
        _search()
    if words.sweeps:
        _close(words)


def _close(words: settings.Words) -> None:
    """The end of a sweep."""
    from search.cli.multirun import closing
    from search.display.summary import archive_command

    named = [word.partition("=")[2] for word in words.overrides if word.startswith("archive=")]
    print(closing(_FAILED, archive_command(named[-1] if named else "treewright.duckdb")))
    if _FAILED:
        sys.exit(1)


if __name__ == "__main__":
    main()
