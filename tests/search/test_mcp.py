"""The server for coding agents: its tools and what they answer; the skill and the manifests that name it."""

from __future__ import annotations

import asyncio
import json
import math
import re
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil
import pytest
from test_steering import evaluate, open_search

from archive.query.steer import SteeringServer
from prepare.overrides import parsed_or_none
from search.__main__ import _BESIDE
from search.cli.mcp import _search_words, mcp, server_for

HOUSE = Path(__file__).resolve().parents[2]
READS = {"summary", "leaderboard", "node", "difference", "failures", "explain", "runs", "events", "sql"}
STARTS = {"start"}
STEERS = {"instruct", "pin", "free", "stop"}

sdk = pytest.importorskip("mcp.server.mcpserver")


@pytest.fixture(scope="module")
def night(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An archive with a run of a few evaluations."""
    path = tmp_path_factory.mktemp("mcp") / "night.duckdb"
    with open_search(path) as s:
        evaluate(s, 9)
    return path


def call(archive: Path, tool: str, **arguments: Any) -> Any:
    """What a client is sent. Raises ToolError."""
    result = asyncio.run(server_for(archive).call_tool(tool, arguments))
    said = result.structured_content
    return said["result"] if set(said) == {"result"} else said


def refused(archive: Path, tool: str, **arguments: Any) -> str:
    from mcp.server.mcpserver.exceptions import ToolError

    with pytest.raises(ToolError) as caught:
        call(archive, tool, **arguments)
    return str(caught.value)


def test_every_tool_says_what_it_does(night: Path) -> None:
    tools = {tool.name: tool.description or "" for tool in asyncio.run(server_for(night).list_tools())}
    assert set(tools) == READS | STARTS | STEERS
    assert all(len(words) > 20 for words in tools.values()), tools
    assert "they are data" in (server_for(night).instructions or "")


@pytest.mark.slow
def test_what_is_best_and_why(night: Path) -> None:
    (best, *_) = board = call(night, "leaderboard", limit=3)
    assert len(board) == 3
    facts = call(night, "node", node=best["node_id"][:8])
    assert facts["score"] == best["score"]
    assert "X = " in facts["files"]["train.py"]
    root = call(night, "sql", query="SELECT node_id FROM nodes WHERE number = 0")[0]["node_id"]
    assert "-X = 1.0" in call(night, "difference", a=root, b=best["node_id"])
    assert call(night, "summary")["run"] == "a"
    assert call(night, "explain", node=best["node_id"])["node"] == best["node_id"]
    assert call(night, "failures") == []
    assert [run["run"] for run in call(night, "runs")] == ["a"]


def test_nothing_can_be_written(night: Path) -> None:
    assert "refused" in refused(night, "sql", query="DELETE FROM evaluations")
    assert "there is no archive" in refused(night.with_name("nowhere.duckdb"), "summary")
    assert "no node has an id that starts with" in refused(night, "node", node="zzz")
    for tool, arguments in (("instruct", {"words": "try it"}), ("stop", {})):
        assert "no search of this user is running" in refused(night, tool, **arguments)


@pytest.fixture
def orders(night: Path) -> Iterator[list[Any]]:
    """What the running search of the archive is told."""
    got: list[Any] = []
    with SteeringServer(night, lambda order: got.append(order) or "done"):  # type: ignore[func-returns-value]
        yield got


def test_a_running_search_is_steered(night: Path, orders: list[Any]) -> None:
    node = call(night, "leaderboard")[0]["node_id"]
    assert call(night, "instruct", words="try it") == "done"
    assert call(night, "pin", node=node[:8]) == call(night, "free", node=node) == call(night, "stop") == "done"
    assert orders == [
        {"command": "instruct", "words": "try it"},
        {"command": "pin", "node": node},
        {"command": "free", "node": node},
        {"command": "stop"},
    ]


def test_the_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert _BESIDE["mcp"] == ("search.cli.mcp", "mcp")
    with pytest.raises(SystemExit):
        mcp(["--help"])
    assert "MCP" in capsys.readouterr().out


def test_skill_and_manifests() -> None:
    text = (HOUSE / "skills/treewright/SKILL.md").read_text()
    head = re.match(r"---\nname: (\S+)\ndescription: (.+)\n---\n", text)
    assert head is not None
    assert head[1] == "treewright"
    assert len(head[2]) <= 1024
    for folder in (".claude-plugin", ".codex-plugin"):
        manifest = json.loads((HOUSE / folder / "plugin.json").read_text())
        assert manifest["name"] == "treewright"
        assert (HOUSE / manifest["skills"] / "treewright" / "SKILL.md").is_file()
        assert manifest["mcpServers"]["treewright"] == {"command": "treewright", "args": ["mcp"]}
        assert f'version = "{manifest["version"]}"' in (HOUSE / "pyproject.toml").read_text()
    (listed,) = json.loads((HOUSE / ".claude-plugin/marketplace.json").read_text())["plugins"]
    assert (HOUSE / listed["source"] / ".claude-plugin" / "plugin.json").is_file()


@pytest.mark.parametrize(
    ("task", "evaluations", "dollars", "said"),
    [
        ("../elsewhere", 5, 0.0, "below"),
        ("/etc", 5, 0.0, "below"),
        ("./missing", 5, 0.0, "below"),
        ("circles26", 0, 0.0, "at least 1 evaluation"),
        ("circles26", 5, -1.0, "0 or more dollars"),
        ("circles26", 5, math.nan, "0 or more dollars"),
    ],
)
def test_a_search_that_cannot_be_meant_is_not_started(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, task: str, evaluations: int, dollars: float, said: str
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(subprocess, "Popen", None)
    assert said in refused(tmp_path / "a.duckdb", "start", task=task, evaluations=evaluations, dollars=dollars)


def test_what_is_started_is_named_as_data(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No text of a client becomes a second setting, an interpolation or a sweep."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "my task, x=1").mkdir()
    words = _search_words("./my task, x=1", 7, 0.5, "${oc.env:HOME} budget.evaluations=9")
    read = {override.key_or_group: override.value() for override in map(parsed_or_none, words) if override is not None}
    assert len(read) == len(words) == 4
    assert read["task"] == str(tmp_path / "my task, x=1")
    assert read["budget.evaluations"] == 7
    assert read["run"].replace("\\", "") == "${oc.env:HOME} budget.evaluations=9"
    assert _search_words("circles26", 7, 0.0, None) == ["task=circles26", "budget.evaluations=7", "llm=none"]


@pytest.mark.slow
def test_a_search_is_started_in_the_background(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Processes: that it outlives the call, and that its error is told, shows only there."""
    monkeypatch.chdir(tmp_path)
    archive = tmp_path / "a.duckdb"
    assert "no_such_task" in refused(archive, "start", task="no_such_task", evaluations=3)
    started = call(archive, "start", task="circles26", evaluations=3, run="night")
    with suppress(psutil.NoSuchProcess):  # it may have ended
        psutil.Process(started["process"]).wait(250)
    assert [row["run"] for row in call(archive, "runs")] == ["night"], Path(started["output"]).read_text()
