"""Several runs with one command: ``python -m search -m policy=ucb,greedy seed=1,2,3``.

Each run knows the sweep that it belongs to, so that ``python -m archive compare`` finds them all. With ``run=NAME`` the
runs are called NAME-ucb-1, NAME-ucb-2 ..., and the same command goes on with those that are not finished. A run that
cannot go on does not keep the others from being made; Ctrl-C ends the sweep.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Mapping, Sequence
from typing import Any

from prepare.compose import compose, key_of
from search.cli.run import run
from search.display.summary import archive_command
from search.words import Words


def run_all(words: Words) -> int:
    """Run all runs of a sweep, one after another. Returns the exit status. Raises SettingsError."""
    started, failed = secrets.token_hex(4), []
    for overrides in words.runs():
        composition = compose(overrides, words.folder)
        named = composition.values.get("run")
        sections = sections_of(words.swept, overrides, named, started)
        status = run(composition, words, sections)
        if status == 1:
            failed.append(" ".join(f"{key}={value}" for key, value in sections["sweep"]["values"].items()))
        elif status:
            if named is not None:
                print("Or with the whole sweep, by the command that began it.")
            return status
    archives = [word.partition("=")[2] for word in words.overrides if word.startswith("archive=")]
    print(closing(failed, archive_command(archives[-1] if archives else "treewright.duckdb")))
    return 1 if failed else 0


def sections_of(swept: Sequence[str], overrides: Sequence[str], run: Any, started: str) -> dict[str, Any]:
    """The sections that a run of a sweep has beside its own: the sweep with its values, and the run's name.

    ``swept``: the keys with several values. ``overrides``: those of this run. ``run``: the name that was typed, if any.
    ``started``: identifies a sweep without a name; one that has a name is identified by it, also when it is resumed.
    """
    typed = dict((key_of(word), word.partition("=")[2]) for word in overrides)
    values = {key: typed[key] for key in swept if key in typed}
    sweep = {"id": started if run is None or "run" in values else f"run={run}", "values": values}
    if run is not None and "run" not in values:  # else each has been given its own name
        run = name_of(str(run), values)
    return {"sweep": sweep, "run": run}


def name_of(run: str, values: Mapping[str, str]) -> str:
    """``night-ucb-1``: the name of a run by the values that are its own."""
    return "-".join([run, *(re.sub(r"[^\w.+]+", "_", value).strip("_") or "empty" for value in values.values())])


def closing(failed: Sequence[str], command: str) -> str:
    """The end of a sweep in words. ``failed``: the overrides of the runs that could not go on."""
    lines = [f"\nCompare them:\n  {command} compare"]
    if failed:
        named = "; ".join(failed[:8]) + ("; ..." if len(failed) > 8 else "")
        lines.insert(0, f"\n{len(failed)} of the runs could not go on: {named}")
    return "\n".join(lines)
