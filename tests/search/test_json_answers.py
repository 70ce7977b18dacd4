"""``--json``: standard output of each command of both command lines is one JSON value, or one a line where it streams.

Commands that cost searches or a model are run with ``--json`` by their own tests; here each says that it has it.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from inside import archive as ask
from inside import search

sys.path.insert(0, str(Path(__file__).parents[1] / "archive"))
from archive_sample import Diary, a_run, request_for, scored
from study_sample import a_study

from archive.cli import actions
from archive.cli.parser import COMMANDS
from archive.paper import build
from archive.query.server import SqlServer
from archive.query.steer import SteeringServer
from archive.storage.store import Archive
from search.__main__ import _BESIDE

_OWN_PROTOCOL = {"mcp"}
"""It speaks JSON-RPC."""
ANSWERS: dict[str, list[str]] = {
    "sql": ["SELECT 1 AS n"], "summary": [], "leaderboard": [], "lineage": ["NODE"], "show": ["NODE"],
    "certificate": ["NODE"], "diff": ["ROOT", "NODE"], "runs": [], "compare": ["night", "small-1"], "events": [],
    "export": ["--results-tsv"], "report": ["--out", "r.html"], "merge": ["other.duckdb"], "backup": ["copy.duckdb"],
    "repair": [], "check": [],
}  # fmt: skip
"""Commands of ``archive`` -> their words; NODE and ROOT stand for ids."""
PAPERS = {"paper": ["small", "--out", "papers"], "audit": ["papers/small-1"], "review": ["papers/small-1"]}
STREAMS = {"tail", "serve", "steer"}
"""They ask a running search, or run until Ctrl-C."""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with an archive of a study, and of a run that was worked on last; and another archive."""
    a_study(tmp_path / "treewright.duckdb")
    with Archive.open(tmp_path / "treewright.duckdb") as archive:
        diary = Diary(archive, a_run())
        root = diary.screened(diary.child(operator="seed", text="A = 1\n"), 3.0)
        node = diary.child(root, text="A = 2\n")
        diary.record(scored(request_for(node, 0), 2.9, certificate='{"proof": [1]}'))
    (tmp_path / "ids.json").write_text(json.dumps({"ROOT": root.node_id, "NODE": node.node_id}))
    with Archive.open(tmp_path / "other.duckdb") as archive:
        Diary(archive, a_run("day")).child(operator="seed")
    return tmp_path


def typed(folder: Path, command: str, words: list[str]) -> list[str]:
    ids = json.loads((folder / "ids.json").read_text())
    return [command, *(ids.get(word, word) for word in words), "--json"]


@pytest.mark.parametrize("command", sorted({"doctor", *_BESIDE} - _OWN_PROTOCOL))
def test_commands_of_search_have_it(command: str, tmp_path: Path) -> None:
    assert "--json" in search(tmp_path, command, "--help", stub=False).stdout


def test_commands_of_archive_are_all_tried() -> None:
    assert {*ANSWERS, *PAPERS, *STREAMS} == set(COMMANDS)


@pytest.mark.slow
@pytest.mark.parametrize("command", ANSWERS)
def test_an_answer_of_archive_is_one_value(command: str, folder: Path) -> None:
    done = ask(folder, *typed(folder, command, ANSWERS[command]))
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) is not None


@pytest.mark.slow
def test_a_paper_its_audit_and_its_review_are_values(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(build, "LATEX", "no-such-latex")
    made, audit, review = (ask(folder, *typed(folder, name, words)) for name, words in PAPERS.items())
    assert json.loads(made.stdout)["html"] == "papers/small-1/paper.html"
    assert json.loads(audit.stdout) == []
    assert "decision" in json.loads(review.stdout)


@pytest.mark.slow
def test_what_happens_is_a_value_a_line(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(actions, "_again", lambda: False)
    lines = ask(folder, "tail", "--json").stdout.splitlines()
    found = [json.loads(line) for line in lines]
    assert [each["words"] for each in found if each["kind"] == "scored"] == ["score 3", "score 2.9"]
    assert set(found[0]) == {"at", "kind", "node_id", "words"}


def test_the_address_of_the_live_page_is_a_value(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    uvicorn = pytest.importorskip("uvicorn")
    monkeypatch.setattr(uvicorn.Server, "run", lambda *words, **more: None)
    address = json.loads(ask(folder, "serve", "--json").stdout)["address"]
    assert address.startswith("http://127.0.0.1:")


@pytest.fixture
def steered(folder: Path) -> Iterator[Path]:
    with (
        Archive.open(folder / "treewright.duckdb") as archive,
        SqlServer(archive),
        SteeringServer(archive.path, lambda order: f"done: {order['command']}"),
    ):
        yield folder


def test_the_answer_to_a_command_is_a_value(steered: Path) -> None:
    assert json.loads(ask(steered, "steer", "pause", "--json").stdout) == {"done": "done: pause"}


# ---------------------------------------------------------------- search


@pytest.mark.parametrize("words", [["new", "packing"], ["tasks"], ["--cfg", "job"], ["doctor"]])
def test_an_answer_of_search_is_one_value(words: list[str], tmp_path: Path) -> None:
    done = search(tmp_path, *words, "--json", stub=False)
    assert json.loads(done.stdout)
    if words[0] == "new":
        assert json.loads(done.stdout)["files"] == sorted(path.name for path in (tmp_path / "packing").iterdir())


def test_an_adopted_folder_is_a_value(tmp_path: Path) -> None:
    (tmp_path / "theirs").mkdir()
    (tmp_path / "theirs" / "measure.sh").write_text("echo METRIC size=3\n")
    asked = ["--command", "sh measure.sh", "--metric", "size", "--direction", "minimise"]
    done = search(tmp_path, "adopt", "theirs", *asked, "--json", stub=False)
    found = json.loads(done.stdout)
    assert (found["folder"], found["settings"]["metric"]["name"]) == ("theirs-task", "size")


SMALL = ("budget.evaluations=2", "claim=off", "operators=tune")


@pytest.mark.slow
def test_a_search_ends_with_its_summary_as_a_value(tmp_path: Path) -> None:
    done = search(tmp_path, *SMALL, "run=one", "--json")
    found: dict[str, Any] = json.loads(done.stdout)
    assert found["run"] == "one"
    assert found == json.loads(ask(tmp_path, "summary", "--json").stdout)
    assert "Run 'one'" in done.stderr, "progress is beside it"


@pytest.mark.slow
def test_a_sweep_ends_with_a_summary_of_each_run(tmp_path: Path) -> None:
    done = search(tmp_path, *SMALL, "-m", "seed=1,2", "run=two", "--json")
    assert [each["run"] for each in json.loads(done.stdout)] == ["two-1", "two-2"]
