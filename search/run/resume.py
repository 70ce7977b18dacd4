"""Start a run or resume one: run names, settings that may change on a resume, and other hardware.

A run gets a new name unless one is given; the name of an existing run resumes it. Budgets, slots and the claim's size
may change; task, policy, operators and seed may not, since the earlier moves depend on them.
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
from prepare.renamed import with_new_names
from prepare.task import Task
from search.config import Config
from search.run.engine import Engine
from search.settings import as_json, differences
from train.hardware.vendors import CPU_TIME

LEADERS_AGAIN = 5
"""Number of nodes, besides the root, that are evaluated again when a run is resumed on other hardware."""


class RunChanged(Exception):
    """The run exists with another task, policy, operators or seed; the message shows the difference."""


@dataclass(frozen=True)
class Opened:
    """A run with its tree, ready for a search."""

    run: Run
    tree: Tree
    resumed: bool
    other_hardware: Tree | None
    """The tree under the earlier conditions, if the run is resumed on other hardware."""


def open_run(
    archive: Archive,
    config: Config,
    task: Task,
    conditions: Conditions,
    now: float,
    program: Mapping[str, str] | None = None,
    start: bool = True,
) -> Opened:
    """Open the run named ``config.run``, or a new one. ``program``: the seed program, if it is not in a file.

    ``start``: whether a new run is recorded at once; if False, the caller calls ``archive.start_run`` after all other
    checks have passed. Raises RunChanged.
    """
    contents = _contents(task, conditions, program)
    known = archive.run(config.run) if config.run is not None else None
    if known is None:
        run = _new_run(archive, config, task, contents, now)
        if start:
            archive.start_run(run)
        return Opened(run, archive.tree(run, conditions), resumed=False, other_hardware=None)
    if changed := differences(with_new_names(known.identity), with_new_names(as_json(config.identity | contents))):
        raise RunChanged(
            f"run {known.run!r} was started with other settings, and cannot be resumed with these changes:\n  "
            + "\n  ".join(changed)
            + "\nUse the earlier settings to resume it, or another name (or none) to start a new run."
        )
    tree = archive.tree(known, conditions)
    return Opened(known, tree, resumed=True, other_hardware=_before(archive, known, tree, conditions))


def _contents(task: Task, conditions: Conditions, program: Mapping[str, str] | None) -> dict[str, Any]:
    """Return digests of the files that the configuration only names, since their contents are part of the task."""
    files = task.seed_files() if program is None else program
    one = program is None and len(files) == 1
    text = next(iter(files.values())) if one else json.dumps(dict(files), sort_keys=True)
    return {"contents": {"seed_file": sha256(text)[:12], "corpus": conditions.fingerprint}}


def _new_run(archive: Archive, config: Config, task: Task, contents: dict[str, Any], now: float) -> Run:
    names = {run.run for run in archive.runs()}
    free = next(f"{task.name}-{i}" for i in range(1, len(names) + 2) if f"{task.name}-{i}" not in names)
    return Run(
        run=free if config.run is None else config.run,
        run_id=secrets.token_hex(16),
        task=task.name,
        metric=task.metric.name,
        direction=task.metric.direction,
        policy=str(config.chosen.get("policy") or config.policy["_target_"]),
        seed=config.seed,
        config=as_json(config.recorded),
        identity=as_json(config.identity | contents),
        created_at=now,
    )


def _before(archive: Archive, run: Run, tree: Tree, conditions: Conditions) -> Tree | None:
    """Return the tree under the earlier conditions, if no score in it was made under the current ones."""
    if tree.eligible().any():
        return None
    scored = [e.conditions for evaluations in tree.evaluations.values() for e in evaluations if e.outcome == "scored"]
    return archive.tree(run, scored[-1]) if scored else None


def _unlike(old: str, new: str) -> str:
    """Return why scores of two hardware tags are not compared."""
    if new == old + CPU_TIME:
        return (
            "earlier scores had a budget of wall seconds and are not compared with new ones, whose budget is CPU "
            "seconds (task.clock=wall resumes the run as it was begun)"
        )
    return f"earlier scores were made on {old} and are not compared with new ones"


def catch_up(search: Engine, before: Tree) -> None:
    """Evaluate the root and the leaders again first, since scores of other hardware are not comparable."""
    search.journal.note(
        "hardware",
        f"{_unlike(before.conditions.hardware, search.tree.conditions.hardware)}: "
        "the root and the leaders are evaluated again first",
    )
    order = sorted(
        (node.node_id for node in before.nodes if before.scores(node.node_id) and not before.suspect(node.node_id)),
        key=lambda node_id: before.means[before.index[node_id]],
        reverse=before.direction == "maximise",
    )
    leaders = [node_id for node_id in order if node_id != before.root][:LEADERS_AGAIN]
    for node_id in (before.root, *leaders):
        if search.tree.waiting(node_id):
            continue  # requested in an earlier session
        search.replicate(Replicate(node_id, "screen", "run again on other hardware"))
