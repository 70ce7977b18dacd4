"""Whole searches of tasks that are folders. Candidates run in real sandboxes, which is what these tests are about."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from prepare.load import TaskError
from search.api import Search
from search.run.engine import SearchStopped
from search.run.resume import RunChanged

YAML = """
name: parabola
metric: {name: value, direction: maximise, upper: 0}
workspace: {editable: [main.py]}
scorer: score.py
seconds: 2
deterministic: true
"""
SEED = "X = 3.0  # tune: -5..5\n\n\ndef answer():\n    return X\n"
SCORE = """
import prepare


def score(candidate, case):
    x = candidate.call("answer")
    return prepare.Score(-((x - 1) ** 2), {"x": x}, f"x was {x}", certificate={"x": x})
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "parabola"
    folder.mkdir()
    for name, text in {"task.yaml": YAML, "main.py": SEED, "score.py": SCORE}.items():
        (folder / name).write_text(text)
    return folder


def played(folder: Path, archive: Path, budget: int, **more: Any) -> Search:
    search = Search(str(folder), operators="numeric", archive=archive, run="r", budget=budget, **more)
    while (request := search.ask()) is not None:
        search.tell(search.evaluate(request))
    return search


@pytest.mark.slow
def test_a_folder_is_searched_claimed_and_resumed(folder: Path, tmp_path: Path) -> None:
    with played(folder, tmp_path / "a.duckdb", 8) as search:
        tree = search.tree
        assert len(tree.scores(tree.root)) == 1
        assert search.result is not None
        assert search.result.verdict is not None
        assert search.result.verdict.code in ("verified", "none_better")
        found = [e for node in tree.nodes for e in tree.evaluations[node.node_id]]
        assert {e.trust for e in found} == {"verified"}
        assert len(found) <= 8
        best = search.best
        assert best is not None
        sql = "SELECT trust, json_extract(metrics, '$.x')::DOUBLE FROM evaluations WHERE node_id = ? LIMIT 1"
        ((trust, x),) = search.archive.query(sql, [best.node_id])
        assert (trust, abs(x - 1) <= 2) == ("verified", True)
    with played(folder, tmp_path / "a.duckdb", 8) as again:
        assert again.opened.resumed
        assert len(again.tree) == len(tree)


@pytest.mark.slow
def test_a_changed_scorer_is_another_task(folder: Path, tmp_path: Path) -> None:
    played(folder, tmp_path / "a.duckdb", 3, claim=False).close()
    (folder / "score.py").write_text(SCORE + "# stricter\n")
    with pytest.raises(RunChanged, match=r"contents\.corpus"):
        Search(str(folder), operators="numeric", archive=tmp_path / "a.duckdb", run="r", budget=3, claim=False)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("score.py", "def score(candidate, case):\n    return {}['missing']\n", "KeyError: 'missing'"),
        ("score.py", "raise ImportError('no data')\n", "no data"),
        ("score.py", "def score(candidate, case):\n    return candidate.call('answer') > 0\n", "returned True"),
    ],
)
def test_a_scorer_that_fails_stops_the_search_and_blames_nobody(
    folder: Path, tmp_path: Path, name: str, text: str, message: str
) -> None:
    (folder / name).write_text(text)
    with pytest.raises(TaskError, match=message):
        played(folder, tmp_path / "a.duckdb", 3)


@pytest.mark.slow
def test_a_seed_that_fails_is_told_and_nothing_more_is_spent(folder: Path, tmp_path: Path) -> None:
    (folder / "main.py").write_text("def answer():\n    return {}['no']\n")
    with pytest.raises(SearchStopped, match="KeyError: 'no'"):
        played(folder, tmp_path / "a.duckdb", 8)
