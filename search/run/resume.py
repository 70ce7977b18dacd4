"""Beginning a run, or going on with one: names, what may change on a resume, and other hardware.

A run gets a new name unless one is given; the same name goes on where it was. Budgets, slots and the claim's size may
change; task, policy, operators and seed may not, since the moves made so far came from them.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from archive.records import Conditions, Replicate, Run, sha256
from archive.storage.store import Archive
from archive.tree import Tree
from prepare.load import find_file
from prepare.task import Task
from search.run.engine import Engine
from search.settings import SettingsError, as_json, differences

LEADERS_AGAIN = 5
"""Nodes that are trained again, beside the root, when a run goes on with other hardware."""

_LONGEST_NAME = 120

_FREE_OF_IDENTITY = frozenset({"limits", "smallest_gain"})
"""Parts of a task that may change between sessions: what a candidate may use, what is worth claiming."""


class RunChanged(Exception):
    """The run exists with another task, policy, operators or seed; the message shows the difference."""


@dataclass(frozen=True)
class Opened:
    """A run with its tree, ready for a search."""

    run: Run
    tree: Tree
    resumed: bool
    other_hardware: Tree | None
    """The tree under the conditions of before, if the run goes on with other hardware."""


def identity(config: Mapping[str, Any]) -> dict[str, Any]:
    """What a resume may not change."""
    task = {key: value for key, value in config["task"].items() if key not in _FREE_OF_IDENTITY}
    operators = {
        name: {key: value for key, value in entry.items() if key != "llm"}
        for name, entry in (config["operators"] or {}).items()
    }
    return {"task": task, "policy": config["policy"], "operators": operators, "seed": config["seed"]}


def open_run(
    archive: Archive,
    config: Mapping[str, Any],
    task: Task,
    conditions: Conditions,
    now: float,
    program: Mapping[str, str] | None = None,
    start: bool = True,
) -> Opened:
    """The run named by ``config['run']``, or a new one. ``program``: the seed program where it is in no file.

    ``start``: whether a new run is written down at once; else whoever asked calls ``archive.start_run`` when nothing
    stands in its way any more. Raises RunChanged or SettingsError.
    """
    contents = _contents(task, conditions, program)
    name = config["run"]
    known = archive.run(str(name)) if name is not None else None
    if known is None:
        run = _new_run(archive, config, task, contents, now)
        if start:
            archive.start_run(run)
        return Opened(run, archive.tree(run, conditions), resumed=False, other_hardware=None)
    if changed := differences(known.identity, as_json(identity(config) | contents)):
        raise RunChanged(
            f"run {known.run!r} was started with other settings, and cannot go on with these:\n  "
            + "\n  ".join(changed)
            + "\nGive the settings of before, or another name (or none) to start a new run."
        )
    tree = archive.tree(known, conditions)
    return Opened(known, tree, resumed=True, other_hardware=_before(archive, known, tree, conditions))


def _contents(task: Task, conditions: Conditions, program: Mapping[str, str] | None) -> dict[str, Any]:
    """What stands in the files that a configuration only names: they are part of the task, too."""
    if program is not None:
        text = json.dumps(dict(program), sort_keys=True)
    else:
        text = find_file(task.seed_file).read_text(errors="replace")
    return {"contents": {"seed_file": sha256(text)[:12], "corpus": conditions.fingerprint}}


def _new_run(archive: Archive, config: Mapping[str, Any], task: Task, contents: dict[str, Any], now: float) -> Run:
    seed = config["seed"]
    if isinstance(seed, bool) or not isinstance(seed, int):
        raise SettingsError(f"seed is {seed!r}; expected a whole number")
    names = {run.run for run in archive.runs()}
    name = config["run"]
    if name is not None and not (str(name).strip() and str(name).isprintable() and len(str(name)) <= _LONGEST_NAME):
        raise SettingsError(f"run is {str(name)[:200]!r}; expected a name of 1 to {_LONGEST_NAME} printable characters")
    if name is None:
        name = next(f"{task.name}-{i}" for i in range(1, len(names) + 2) if f"{task.name}-{i}" not in names)
    return Run(
        run=str(name),
        run_id=secrets.token_hex(16),
        task=task.name,
        metric=task.metric.name,
        direction=task.metric.direction,
        policy=str(config.get("chosen", {}).get("policy") or config["policy"].get("_target_")),
        seed=seed,
        config=as_json({key: value for key, value in config.items() if key != "llm"}),
        identity=as_json(identity(config) | contents),
        created_at=now,
    )


def _before(archive: Archive, run: Run, tree: Tree, conditions: Conditions) -> Tree | None:
    """The tree as it was on other hardware, if nothing in it can be compared with what comes now."""
    if tree.eligible().any():
        return None
    scored = [e.conditions for evaluations in tree.evaluations.values() for e in evaluations if e.outcome == "scored"]
    return archive.tree(run, scored[-1]) if scored else None


def catch_up(search: Engine, before: Tree) -> None:
    """On other hardware nothing is comparable: train the root and the leaders again before anything else."""
    old = before.conditions
    search.note(
        "hardware",
        f"scores of before were made on {old.hardware}, and are not compared with new ones: "
        "the root and the leaders are run again first",
    )
    order = sorted(
        (node.node_id for node in before.nodes if before.scores(node.node_id) and not before.suspect(node.node_id)),
        key=lambda node_id: before.means[before.index[node_id]],
        reverse=before.direction == "maximise",
    )
    leaders = [node_id for node_id in order if node_id != before.root][:LEADERS_AGAIN]
    for node_id in (before.root, *leaders):
        if search.tree.waiting(node_id):
            continue  # an earlier session has asked for it
        search.replicate(Replicate(node_id, "screen", "run again on other hardware"))
