"""The command line of ``python -m search``, before anything heavy is imported."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

from prepare.compose import Composition, compose, key_of, sweep, swept
from prepare.config import SettingsError


@dataclass(frozen=True)
class Words:
    """The arguments of ``python -m search``: overrides and options."""

    overrides: tuple[str, ...]
    folder: Path | None = None
    """``--config-dir``: the user's own conf folder."""
    multirun: bool = False
    help: bool = False
    shown: bool = False
    """``--cfg job``: the configuration is printed, and nothing run."""

    @property
    def lasting(self) -> tuple[str, ...]:
        """The options that a resume of one run needs, too."""
        return () if self.folder is None else ("--config-dir", str(self.folder))

    @property
    def swept(self) -> tuple[str, ...]:
        """The keys that have several values, in the order in which they were typed."""
        return tuple(key_of(override) for override in swept(self.overrides)) if self.multirun else ()

    def runs(self) -> list[tuple[str, ...]]:
        """The overrides of each run. Raises SettingsError."""
        return sweep(self.overrides, self.folder) if self.multirun else [self.overrides]

    def composition(self) -> Composition:
        """The composed configuration; of a sweep, that of its first run. Raises SettingsError."""
        return compose(self.runs()[0], self.folder)


class _Parser(argparse.ArgumentParser):
    """Raises SettingsError in place of ending the process."""

    def error(self, message: str) -> NoReturn:
        raise SettingsError(f"{message}. See python -m search --help.")


def words_of(arguments: Sequence[str]) -> Words:
    """Options and overrides, in whatever order they came. Raises SettingsError."""
    parser = _Parser(prog="python -m search", add_help=False, allow_abbrev=False)
    parser.add_argument("--help", "-h", action="store_true")
    parser.add_argument("--multirun", "-m", action="store_true")
    parser.add_argument("--config-dir", "-cd", type=Path)
    parser.add_argument("--cfg", "-c", choices=["job"])
    parser.add_argument("overrides", nargs="*")
    asked = parser.parse_intermixed_args(list(arguments))
    return Words(tuple(asked.overrides), asked.config_dir, asked.multirun, asked.help, asked.cfg is not None)
