"""Sweeps, several runs with one command: ``python -m search -m policy=ucb,greedy seed=1,2,3``.

Each run records the sweep that it belongs to, so that ``python -m archive compare`` finds them all. With ``run=NAME``
the runs are called NAME-ucb-1, NAME-ucb-2 ..., and the same command resumes the unfinished ones. After a failed run
the sweep continues with the next; Ctrl-C ends the sweep.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Mapping, Sequence
from typing import Any

from prepare.compose import compose
from prepare.output import DONE, FAILED, UNUSABLE
from prepare.overrides import key_of, value_of
from search.cli.run import finished, run
from search.cli.terminal import progress_aside, show, show_json
from search.display.summary import archive_command
from search.words import Words


def run_all(words: Words) -> int:
    """Run all runs of a sweep, one after another; with ``--json``, print an array of what came of those that ended.

    Returns the exit status. Raises SettingsError.
    """
    ended: list[dict[str, Any]] = []
    with progress_aside(words.json):
        status = _run_all(words, ended)
    if words.json:
        show_json(ended)
    return status


def _run_all(words: Words, ended: list[dict[str, Any]]) -> int:
    """Run all, and add the summary of each run that comes to its end."""
    started, failed, archive, worst = secrets.token_hex(4), [], "treewright.duckdb", DONE
    for overrides in words.runs():
        composition = compose(overrides, words.folder)
        named, archive = composition.values.get("run"), str(composition.values.get("archive"))
        sections = sections_of(words.swept, overrides, named, started)
        status = run(composition, words, sections)
        if status in (FAILED, UNUSABLE):
            worst = max(worst, status)
            failed.append(" ".join(f"{key}={value}" for key, value in sections["sweep"]["values"].items()))
        elif status:
            if named is not None:
                show("To resume the whole sweep, repeat the command that started it.")
            return status
        elif words.json:
            ended.append(finished(composition))
    show(closing(failed, archive_command(archive)))
    return worst


def sections_of(swept: Sequence[str], overrides: Sequence[str], run: Any, started: str) -> dict[str, Any]:
    """Return the configuration sections ``sweep`` (id and this run's values) and ``run`` (this run's name).

    ``swept``: the keys with several values. ``overrides``: those of this run. ``run``: the typed name, if any.
    ``started``: the id of a sweep without a name; a named sweep is identified by its name, also when it is resumed.
    """
    typed = {key_of(word): value_of(word) for word in overrides}
    values = {key: typed[key] for key in swept if key in typed}
    sweep = {"id": started if run is None or "run" in values else f"run={run}", "values": values}
    if run is not None and "run" not in values:  # else ``run`` is swept: each run has a typed name
        run = name_of(str(run), values)
    return {"sweep": sweep, "run": run}


def name_of(run: str, values: Mapping[str, str]) -> str:
    """Return the name of a run of a sweep, from the sweep's name and the run's values: ``night-ucb-1``."""
    return "-".join([run, *(re.sub(r"[^\w.+]+", "_", value).strip("_") or "empty" for value in values.values())])


def closing(failed: Sequence[str], command: str) -> str:
    """Return the closing text of a sweep. ``failed``: the swept values of each failed run."""
    lines = [f"\nCompare them:\n  {command} compare"]
    if failed:
        named = "; ".join(failed[:8]) + ("; ..." if len(failed) > 8 else "")
        lines.insert(0, f"\n{len(failed)} of the runs failed: {named}")
    return "\n".join(lines)
