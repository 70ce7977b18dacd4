"""Several runs with one command: ``python -m search -m policy=ucb,greedy seed=1,2,3``.

Each run knows the sweep that it belongs to, so that ``python -m archive compare`` finds them all. With ``run=NAME`` the
runs are called NAME-ucb-1, NAME-ucb-2 ..., and the same command goes on with those that are not finished. A run that
cannot go on does not keep the others from being made; Ctrl-C ends the sweep.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any


def one_of(swept: Sequence[str], typed: Sequence[str], run: Any, started: str) -> dict[str, Any]:
    """What a run of a sweep has in its settings beside its own: the sweep with its values, and its name.

    ``swept``: the keys with several values. ``typed``: the overrides of this run. ``run``: the name that was typed, if
    any. ``started``: what tells this sweep from all others; one that has a name is known by it, also when it goes on.
    """
    told = dict(word.lstrip("+~").partition("=")[::2] for word in typed)
    values = {key: told[key] for key in swept if key in told}
    sweep = {"id": started if run is None or "run" in values else f"run={run}", "values": values}
    if run is not None and "run" not in values:  # else each has been given its own name
        run = name_of(str(run), values)
    return {"sweep": sweep, "run": run}


def name_of(run: str, values: Mapping[str, str]) -> str:
    """``night-ucb-1``: the name of a run by the values that are its own."""
    return "-".join([run, *(re.sub(r"[^\w.+]+", "_", value).strip("_") or "empty" for value in values.values())])


def closing(failed: Sequence[str], command: str) -> str:
    """What to say when all runs were made, or tried. ``failed``: the overrides of those that could not go on."""
    lines = [f"\nCompare them:\n  {command} compare"]
    if failed:
        named = "; ".join(failed[:8]) + ("; ..." if len(failed) > 8 else "")
        lines.insert(0, f"\n{len(failed)} of the runs could not go on: {named}")
    return "\n".join(lines)
