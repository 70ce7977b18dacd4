"""A run of an older version, whose classes have other names now, is resumed by the same settings."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import duckdb
import pytest

from prepare.renamed import NEW_NAMES
from search.run.resume import RunChanged

OLD_NAMES = {new: old for old, new in NEW_NAMES.items()}


def as_before(path: Path) -> int:
    """Give the classes in what the archive holds of its runs their old names; returns how many."""
    changed = 0
    with duckdb.connect(path) as connection:
        for column in ("config", "identity"):
            ((text,),) = connection.execute(f"SELECT CAST({column} AS VARCHAR) FROM runs").fetchall()
            for new, old in OLD_NAMES.items():
                changed += text.count(json.dumps(new))
                text = text.replace(json.dumps(new), json.dumps(old))
            connection.execute(f"UPDATE runs SET {column} = ?", [text])
    return changed


def test_a_run_that_was_begun_under_the_old_names_is_resumed(start: Callable[..., Any], tmp_path: Path) -> None:
    start("run=night", "budget.evaluations=4")
    assert as_before(tmp_path / "archive.duckdb") > 20
    bench = start("run=night", "budget.evaluations=6")
    assert bench.opened.resumed
    assert bench.search.tree.evaluated == 6
    with pytest.raises(RunChanged) as caught:
        start("run=night", "policy.score.c=0.5", "policy.sampler._target_=search.policies.selection.samplers.Uniform")
    assert str(caught.value).count(" -> ") == 2, "only what differs is said"
