"""A search with several models: which is asked follows from the archive, so that a resumed search chooses the same."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from model_server import an_edit

from archive.storage.store import Archive
from operators.llm.base import Answer, CallId, Prompt
from operators.llm.credit import credits_at
from operators.llm.scripted import Scripted
from operators.llm.several import Bandit, ModelCredit, ModelRouter


class Talker(Scripted):
    """Answers with edits of its own, no two alike, after a while."""

    def __init__(self, name: str, latency: float) -> None:
        super().__init__(self._next, model=name, latency=latency)
        self._count = 0
        self._mine = threading.Lock()

    def _next(self, prompt: Prompt) -> str:
        self._count += 1
        return an_edit(sum(map(ord, self.name)) * 1000 + len(prompt.text) + 100_000 * self._count)

    def complete(self, prompt: Prompt) -> Answer:
        answer = super().complete(prompt)
        return Answer(answer.text, answer.model, 100, 10, 0, answer.seconds, 0.001 if self.name == "slow" else 0.002)


OVERRIDES = ("operators=llm", "run=night", "claim.candidates=1", "claim.report_seeds=2")


def chosen(path: Path) -> list[tuple[int, str]]:
    with Archive.open(path) as archive:
        return archive.query("SELECT DISTINCT move, asked FROM llm_requests ORDER BY move")


def recomputed(path: Path, moves: list[int]) -> list[tuple[int, str]]:
    """What the bandit says for these moves when all of the archive is there."""
    with Archive.open(path) as archive:
        several = ModelRouter(
            {"slow": Scripted(), "quick": Scripted()},
            choose=Bandit(first=2),
            credits=partial(credits_at, archive.query),
        )
        return [(move, several.route(CallId("night", move, 0, "improve"))[0]) for move in moves]


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> list[Archive]:
    """The archives that were opened, the last one last."""
    archives: list[Archive] = []
    real = Archive.open

    def remember(*more: Any, **options: Any) -> Archive:
        archives.append(real(*more, **options))
        return archives[-1]

    monkeypatch.setattr(Archive, "open", remember)
    return archives


@pytest.fixture
def several(opened: list[Archive]) -> Callable[[], ModelRouter]:
    """Two models and a bandit that asks the archive of the search that it is part of."""

    def make() -> ModelRouter:
        return ModelRouter(
            {"slow": Talker("slow", 0.04), "quick": Talker("quick", 0.02)},
            choose=Bandit(first=2),
            credits=lambda run, move: credits_at(opened[-1].query, run, move),
        )

    return make


class AtOnce:
    """The quickest thread that there can be: it has ended before ``start`` returns."""

    def __init__(self, target: Callable[..., Any], args: tuple[Any, ...], **options: Any) -> None:
        self._run = lambda: target(*args)

    def start(self) -> None:
        self._run()

    def is_alive(self) -> bool:
        return False


def test_a_model_is_chosen_when_its_move_is_in_the_archive(
    start: Callable[..., Any], opened: list[Archive], monkeypatch: pytest.MonkeyPatch
) -> None:
    """However quick the thread is: the credit at a move that is not there would be that of nobody."""
    monkeypatch.setattr("search.run.proposals.Thread", AtOnce)
    found: list[int] = []

    def credits(run: str, move: int) -> Mapping[str, ModelCredit]:
        found.append(opened[-1].query("SELECT count(*) FROM moves WHERE run = ? AND move = ?", [run, move])[0][0])
        return {}

    models = ModelRouter({"slow": Talker("slow", 0.0), "quick": Talker("quick", 0.0)}, choose=Bandit(), credits=credits)
    start(*OVERRIDES, "budget.evaluations=12", model=models)
    assert found
    assert set(found) == {1}


@pytest.mark.slow
def test_each_moves_model_follows_from_the_archive_also_after_a_resume(
    start: Callable[..., Any], tmp_path: Path, several: Callable[[], ModelRouter]
) -> None:
    path = tmp_path / "archive.duckdb"
    common: dict[str, Any] = {"concurrency": 4, "stub": {"delay": 0.03}}
    first = start(*OVERRIDES, "budget.evaluations=40", model=several(), stop_after=12, **common)
    assert not first.result.finished
    before = chosen(path)
    second = start(*OVERRIDES, "budget.evaluations=40", model=several(), **common)
    assert second.result.finished
    after = chosen(path)
    assert set(before) <= set(after)
    assert len(after) > len(before) + 5
    assert {name for _, name in after} == {"slow", "quick"}
    assert recomputed(path, [move for move, _ in after]) == after, "what came later changed no choice"
