"""What the tests of the export share: an archive in memory that is written row by row, and real repositories."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from archive.query.select import Result
from archive.records import sha256
from archive.storage import store

BIRTH = datetime(2026, 1, 2, 3, 4, 5, 678900, tzinfo=UTC)
TASK = {
    "name": "shakespeare",
    "corpus": {"_target_": "prepare.data.corpora.Plays"},
    "metric": {"name": "val_bpb", "direction": "minimise", "unit": "bpb"},
}


class Book:
    """An archive in memory that is written row by row, and a reader of it."""

    def __init__(self, cap: int = 10_000) -> None:
        self.archive = store.Archive.in_memory()
        self.db = self.archive._writer._connection
        self.cap = cap
        self.clock = BIRTH
        self.count = 0
        self.arrivals = 0

    def query(self, sql: str, parameters: Sequence[Any] = ()) -> Result:
        cursor = self.db.execute(sql, list(parameters))
        rows = cursor.fetchmany(self.cap + 1)
        return Result(tuple(c[0] for c in cursor.description), rows[: self.cap], len(rows) > self.cap)

    def now(self) -> datetime:
        self.clock += timedelta(seconds=60)
        return self.clock.replace(tzinfo=None)

    def step(self) -> int:
        self.arrivals += 1
        return self.arrivals

    def insert(self, table: str, **values: Any) -> None:
        names, marks = ", ".join(values), ", ".join("?" * len(values))
        self.db.execute(f"INSERT INTO {table} ({names}) VALUES ({marks})", list(values.values()))

    def run(
        self,
        run: str = "night",
        task: Mapping[str, Any] | None = None,
        direction: str = "minimise",
        policy: str = "ucb",
    ) -> None:
        task = TASK if task is None else task
        name, config = task.get("name", "?"), json.dumps({"task": dict(task)})
        common = {"run_id": run, "task": name, "metric": "val_bpb", "direction": direction, "policy": policy, "seed": 1}
        self.insert("runs", run=run, **common, config=config, identity="{}", created_at=self.now())

    def node(
        self,
        node_id: str,
        *parents: str,
        text: str | None = None,
        idea: str = "",
        operator: str = "tune",
        run: str = "night",
        files: Mapping[str, str] | None = None,
    ) -> str:
        files = files if files is not None else {"train.py": text if text is not None else f"NODE = {node_id!r}\n"}
        born = {"number": self.count, "move": self.count, "lines": 1, "created_at": self.now(), "arrival": self.step()}
        self.insert("nodes", node_id=node_id, run=run, operator=operator, idea=idea or f"idea of {node_id}", **born)
        self.count += 1
        for place, parent in enumerate(parents):
            self.insert("parents", node_id=node_id, parent_id=parent, place=place)
        for path, content in files.items():
            self.insert("files", node_id=node_id, path=path, sha=sha256(content))
            self.db.execute(
                "INSERT INTO sources SELECT $1, $2 WHERE $1 NOT IN (SELECT sha FROM sources)",
                [sha256(content), content],
            )
        return node_id

    def score(
        self, node_id: str, *scores: float | None, run: str = "night", hardware: str = "cpu", **more: Any
    ) -> None:
        """Screenings with seeds 0, 1, ...; None is a crash."""
        for seed, score in enumerate(scores):
            at = self.now()
            values = {
                "run": run, "node_id": node_id, "move": 0, "seed": seed, "purpose": "screen", "split": "val",
                "outcome": "crashed" if score is None else "scored", "score": score, "trust": "audited",
                "seconds": 10.0, "wall_seconds": 12.0, "phases": "{}", "cpu_seconds": 1.0, "peak_memory_mb": 1.0,
                "device": "cpu", "hardware": hardware, "fingerprint": "f", "budget_seconds": 10.1,
                "sandbox": "bwrap", "metrics": "{}", "log": "", "started_at": at, "finished_at": at,
                "arrival": self.step(),
            }  # fmt: skip
            self.insert("evaluations", **{**values, **more})

    def decide(self, kind: str, node_id: str, detail: Mapping[str, Any], reason: str = "", run: str = "night") -> None:
        facts = {"detail": json.dumps(detail), "decided_at": self.now(), "arrival": self.step()}
        self.insert("decisions", run=run, kind=kind, node_id=node_id, reason=reason, **facts)


def git(repo: Path, *arguments: str) -> str:
    done = subprocess.run(["git", "-C", str(repo), *arguments], capture_output=True, text=True, check=True)
    return done.stdout


def lonely_git(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Git reads no settings of this machine, and no variable of a hook that runs the tests."""
    for key in [key for key in os.environ if key.startswith("GIT_")]:
        monkeypatch.delenv(key)
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", str(folder / "no-such-gitconfig"))
    monkeypatch.setenv("GIT_CONFIG_NOSYSTEM", "1")


def make_repo(folder: Path) -> Path:
    """A repository with a commit, a staged and an unstaged change, and an untracked file."""
    folder.mkdir()
    git(folder, "init", "-q", "-b", "main")
    git(folder, "config", "user.name", "A Person")
    git(folder, "config", "user.email", "person@example.org")
    (folder / "work.txt").write_text("one\n")
    git(folder, "add", "work.txt")
    git(folder, "commit", "-q", "-m", "mine")
    (folder / "staged.txt").write_text("staged\n")
    git(folder, "add", "staged.txt")
    (folder / "work.txt").write_text("one\ntwo\n")
    (folder / "loose.txt").write_text("loose\n")
    return folder


def make_family() -> Book:
    """A root, two children, their crossover d (the champion), and a child of the root that is nobody's ancestor."""
    book = Book()
    book.run()
    book.node("a", text="SEED = 1\n", idea="the seed program", operator="seed")
    book.node("b", "a", text="SEED = 1\nWIDTH = 2\n", idea="wider")
    book.node("c", "a", text="SEED = 3\n", idea="another seed")
    book.node("other", "a", idea="went nowhere")
    book.node("d", "b", "c", text="SEED = 3\nWIDTH = 2\n", idea="both", operator="crossover")
    book.score("a", 3.41, 3.43)
    book.score("b", 3.2)
    book.score("c", None, 3.3)
    book.score("other", 3.0)
    book.score("d", 3.125, 3.075)
    detail = {"baseline": [3.41, 3.43], "champion": [3.08, 3.1], "gain": 0.33, "low": 0.30, "high": 0.3600001, "dof": 2}
    book.decide("champion", "d", detail, "the interval excludes zero")
    return book
