"""What must hold of an archive after any interruption, checked from its rows."""

from __future__ import annotations

import functools
import os
import time
from collections import Counter
from pathlib import Path
from typing import Any

import psutil

from archive.query.query import open_reader
from train.sandbox import owner
from train.sandbox.cgroup import MemoryGroups, find_groups
from train.sandbox.image.folder import SHARED_MEMORY

STAGES = SHARED_MEMORY / f"treewright-{os.geteuid()}" / "stages"


def rows(archive: Path, statement: str) -> list[tuple[Any, ...]]:
    return list(open_reader(archive).query(statement).rows)


def evaluations(archive: Path) -> set[tuple[str, int, str]]:
    """(node, seed, purpose) of every evaluation; each is there once, and so are moves and nodes."""
    found = rows(archive, "SELECT node_id, seed, purpose FROM evaluations WHERE outcome <> 'lost'")
    assert [key for key, times in Counter(found).items() if times > 1] == [], "evaluated twice"
    for table, key in (("moves", "move"), ("nodes", "number"), ("refusals", "move")):
        (count,) = rows(archive, f"SELECT count(*) - count(DISTINCT (run, {key})) FROM {table}")
        assert count == (0,), f"a {key} of {table} is there twice"
    (gaps,) = rows(archive, "SELECT count(*) - 1 - max(number) FROM nodes")
    assert gaps in ((0,), (None,)), "a node is missing"
    orphans = "SELECT count(*) FROM evaluations ANTI JOIN nodes USING (node_id)"
    assert rows(archive, orphans) == [(0,)], "an evaluation has no node"
    homeless = "SELECT count(*) FROM nodes ANTI JOIN files USING (node_id)"
    assert rows(archive, homeless) == [(0,)], "a node has no program"
    return {(node, seed, purpose) for node, seed, purpose in found}


def finished(diary: Path) -> list[tuple[str, int, str]]:
    """What the stub has finished, in order. The last line may be cut short by a kill."""
    if not diary.exists():
        return []
    lines = diary.read_text().split("\n")[:-1]
    return [(node, int(seed), purpose) for node, seed, purpose in (line.split() for line in lines)]


def settled(archive: Path) -> None:
    """Every move has come to something: an evaluation or a refusal, exactly one."""
    open_moves = (
        "SELECT count(*) FROM moves WHERE move NOT IN (SELECT move FROM {} UNION ALL SELECT move FROM refusals)"
    )
    assert rows(archive, open_moves.format("evaluations")) == [(0,)]
    twice = (
        "SELECT count(*) FROM (SELECT move FROM evaluations WHERE outcome <> 'lost' GROUP BY move HAVING count(*) > 1)"
    )
    assert rows(archive, twice) == [(0,)]


def family(pid: int) -> list[psutil.Process]:
    """A process and everything below it, as it is now."""
    try:
        parent = psutil.Process(pid)
        return [parent, *parent.children(recursive=True)]
    except psutil.NoSuchProcess:
        return []


def gone(processes: list[psutil.Process], seconds: float = 10.0) -> None:
    """None of them is left, after a moment."""
    until = time.monotonic() + seconds
    while (left := [process for process in processes if _lives(process)]) and time.monotonic() < until:
        time.sleep(0.02)
    assert left == [], f"still running: {left}"


def _lives(process: psutil.Process) -> bool:
    try:
        return bool(process.is_running() and process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


@functools.cache
def where_groups_are() -> MemoryGroups | None:
    return find_groups()  # which sweeps, and so is asked once, before there is something to be found


def memory_groups() -> list[Path]:
    """Those that are left by processes which are no more."""
    if (groups := where_groups_are()) is None:
        return []
    folders = groups.base.glob("treewright-*")
    return [folder for folder in folders if owner.status(folder.name.removeprefix("treewright-")) == "dead"]


def stages(folder: Path, process: int) -> list[Path]:
    """What a process has staged for its sandboxes: in its folder of temporary files, or in memory."""
    return [*folder.glob(f"treewright-*-{process}-*"), *STAGES.glob(f"treewright-*-{process}-*")]


def stages_left(folder: Path) -> list[Path]:
    """Those in the folder, and those in memory that are left by processes which are no more."""
    in_memory = STAGES.glob("treewright-*-*")
    dead = [each for each in in_memory if owner.status(each.name.removeprefix("treewright-")) == "dead"]
    return [*folder.glob("treewright-*-*"), *dead]
