"""``python -m search [GROUP=CHOICE] [NAME=VALUE] ...``, ``python -m search doctor|evaluate|ablate``; see ``--help``."""

from __future__ import annotations

import os
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


_BESIDE = {"evaluate": ("search.evaluate", "rescore"), "ablate": ("search.ablate", "ablate")}
"""Commands beside the search, with options of their own: where each is, so that only the one that is asked is read."""


def _leave(number: int, frame: FrameType | None) -> None:
    """Ctrl-C before the archive is open, or after: nothing is under way, and libraries mistake a KeyboardInterrupt."""
    os.write(2, b"\nInterrupted.\n")
    os._exit(130)


if __name__ == "__main__":
    signal.signal(signal.SIGINT, _leave)

import hydra  # noqa: E402
from hydra.core.hydra_config import HydraConfig  # noqa: E402
from omegaconf import DictConfig  # noqa: E402

from search import settings  # noqa: E402


@hydra.main(config_path="../conf", config_name="config", version_base="1.3")
def _search(config: DictConfig) -> None:
    from search import assemble, command  # after Hydra has dealt with --help and the like

    chosen = HydraConfig.get()
    try:
        values = settings.resolve(config, assemble.device_of_this_machine(), settings.parted(sys.argv[1:]))
    except settings.SettingsError as error:
        sys.exit(f"error: {error}")
    values["chosen"] = {group: name for group, name in chosen.runtime.choices.items() if "/" not in group}
    options = settings.parted(sys.argv[1:]).lasting
    if status := command.run(values, options, tuple(chosen.overrides.task)):
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
        from search.doctor import examine

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


if __name__ == "__main__":
    main()
