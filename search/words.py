"""Parse the command line of ``python -m search``, without importing slow libraries."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

from prepare.command_line import command
from prepare.compose import Composed, compose, sweep, swept
from prepare.config import SettingsError
from prepare.overrides import key_of


@dataclass(frozen=True)
class Words:
    """The arguments of ``python -m search``: overrides and options."""

    overrides: tuple[str, ...]
    folder: Path | None = None
    """``--config-dir``: a conf folder of the user's own."""
    multirun: bool = False
    help: bool = False
    shown: bool = False
    """``--cfg job``: print the configuration and run nothing."""
    json: bool = False
    """``--json``: print the result of a search, its configuration (``--cfg job``), or what ``doctor`` finds as JSON."""

    @property
    def lasting(self) -> tuple[str, ...]:
        """The options that the command to resume a run must repeat."""
        return () if self.folder is None else ("--config-dir", str(self.folder))

    @property
    def swept(self) -> tuple[str, ...]:
        """The keys that have several values, in the order typed."""
        return tuple(key_of(override) for override in swept(self.overrides)) if self.multirun else ()

    def runs(self) -> list[tuple[str, ...]]:
        """Return the overrides of each run. Raises SettingsError."""
        return sweep(self.overrides, self.folder) if self.multirun else [self.overrides]

    def composition(self) -> Composed:
        """Return the composed configuration; for a sweep, that of its first run. Raises SettingsError."""
        return compose(self.runs()[0], self.folder)


class _Parser(argparse.ArgumentParser):
    """A parser that raises SettingsError instead of exiting the process."""

    def error(self, message: str) -> NoReturn:
        raise SettingsError(f"{message}. See {command('search')} --help.")


def words_of(arguments: Sequence[str]) -> Words:
    """Parse options and overrides, in any order. Raises SettingsError."""
    parser = _Parser(prog="python -m search", add_help=False, allow_abbrev=False)
    parser.add_argument("--help", "-h", action="store_true")
    parser.add_argument("--multirun", "-m", action="store_true")
    parser.add_argument("--config-dir", "-cd", type=Path)
    parser.add_argument("--cfg", "-c", choices=["job"])
    parser.add_argument("--json", action="store_true")
    parser.add_argument("overrides", nargs="*")
    asked = parser.parse_intermixed_args(list(arguments))
    return Words(
        tuple(asked.overrides), asked.config_dir, asked.multirun, asked.help, asked.cfg is not None, asked.json
    )
