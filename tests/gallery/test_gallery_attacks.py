"""``search attack`` against the tasks that come with Treewright: the honest seed scores, and no cheat gets through."""

from __future__ import annotations

import pytest
from gallery import NAMES

from search.cli.attack import attack_task

_BY_DAY = ("prompt", "circles26")


def attacked(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    status = attack_task([name, "executor.slots=1", "llm=none"])
    assert status == 0, capsys.readouterr().out


@pytest.mark.slow
@pytest.mark.parametrize("name", _BY_DAY)
def test_no_cheat_gets_through(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    """One task whose candidates are texts, and one whose scores are exact."""
    attacked(name, capsys)


@pytest.mark.nightly
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("name", [name for name in NAMES if name not in _BY_DAY])
def test_no_cheat_gets_through_at_night(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    attacked(name, capsys)
