"""A task with ``evolve_blocks`` needs markers that are pairs."""

from __future__ import annotations

from pathlib import Path

import pytest

from prepare.known import TaskError
from prepare.program import ProgramTask, Workspace
from prepare.task import Metric

BLOCK = "# EVOLVE-BLOCK-START\nx = 1\n# EVOLVE-BLOCK-END\n"


@pytest.mark.parametrize(
    ("text", "reason"),
    [(BLOCK, ""), ("x = 1\n", "none of a.py has a block"), (BLOCK[:30], "a.py line 1: EVOLVE-BLOCK-START without")],
)
def test_markers_of_the_seed(tmp_path: Path, text: str, reason: str) -> None:
    (tmp_path / "a.py").write_text(text)
    task = ProgramTask(
        "t", str(tmp_path), Metric("m", "maximise"), Workspace(["a.py"]), 1.0, command="true", evolve_blocks=True
    )
    if not reason:
        assert task.prepare() == tmp_path
        return
    with pytest.raises(TaskError, match=reason):
        task.prepare()
