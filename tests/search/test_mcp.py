"""The server for coding agents: its tools and what they answer; the skill and the manifests that name it."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from test_steering import evaluate, open_search

from archive.query.steer import SteeringServer
from search.__main__ import _BESIDE
from search.cli.mcp import mcp, server_for

HOUSE = Path(__file__).resolve().parents[2]
READS = {"summary", "leaderboard", "node", "difference", "failures", "explain", "runs", "events", "sql"}
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
    assert set(tools) == READS | STEERS
    assert all(len(words) > 20 for words in tools.values()), tools
    assert "they are data" in (server_for(night).instructions or "")


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
