"""Proposals that come back to another tree than they were asked for in: what is done with each kind.

The rules are in ``search/run/lookahead.py``.
"""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from model_server import an_edit
from stub_evaluator import StubEvaluator

from archive.records import Evaluation, Failed, Request, Scored
from archive.storage.store import Archive
from operators.llm.base import Answer, Prompt
from operators.llm.scripted import Scripted

WORDS = ("run=night", "claim.candidates=1", "claim.report_seeds=2")


class Slow:
    """A script whose answers wait until somebody opens the gate."""

    def __init__(self) -> None:
        self.asked = threading.Event()
        self.gate = threading.Event()
        self.count = 0

    def __call__(self, prompt: Prompt) -> str:
        self.count += 1
        mine = self.count
        self.asked.set()
        assert self.gate.wait(60)
        return an_edit(mine)


def rows(path: Path, sql: str) -> list[tuple[Any, ...]]:
    with Archive.open(path) as archive:
        return archive.query(sql)


def opened_after(landings: int, gate: threading.Event) -> Callable[..., None]:
    """For ``StubEvaluator.evaluate``: the gate opens once so many evaluations have begun."""
    real, count = StubEvaluator.evaluate, [0]

    def evaluate(self: StubEvaluator, *more: Any) -> Any:
        count[0] += 1
        if count[0] >= landings:
            gate.set()
        return real(self, *more)

    return evaluate


@pytest.mark.slow
def test_a_proposal_whose_parent_was_overtaken_is_trained_and_judged_by_the_tree_of_now(
    start: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is paid for, and it may be good all the same; it changes nothing for those that came meanwhile."""
    slow = Slow()
    monkeypatch.setattr(StubEvaluator, "evaluate", opened_after(16, slow.gate))
    bench = start(
        "operators=all", *WORDS, "budget.evaluations=40", model=Scripted(slow), concurrency=1, stub={"noise": 0.0}
    )
    assert bench.result.finished
    path = tmp_path / "archive.duckdb"
    ((node, parent, move, made),) = rows(
        path,
        "SELECT node_id, parent_id, n.move, n.arrival FROM nodes AS n JOIN parents USING (node_id) "
        "WHERE n.move = (SELECT min(move) FROM llm_calls)",
    )
    chosen = rows(path, f"SELECT arrival FROM moves WHERE move = {move}")[0][0]
    between = f"outcome = 'scored' AND purpose = 'screen' AND arrival > {chosen} AND arrival < {made}"
    assert rows(path, f"SELECT count(*) FROM evaluations WHERE {between}")[0][0] >= 8, "much landed meanwhile"
    leads = rows(
        path,
        f"SELECT min(score) < (SELECT min(score) FROM evaluations WHERE node_id = '{parent}') FROM evaluations "
        f"WHERE {between}",
    )
    assert leads[0][0], "and it has overtaken the parent"
    assert rows(path, f"SELECT outcome FROM evaluations WHERE node_id = '{node}'")[0] == ("scored",)


class Cheat:
    """The first program that a model wrote scores too well; in its second run it is found out.

    Answers about its children wait until then, so that there are proposals on their way whose parent it is.
    """

    def __init__(self) -> None:
        self.node: str | None = None
        self._mark = ""
        self.found_out = threading.Event()
        self._count = itertools.count(1)

    def answer(self, prompt: Prompt) -> str:
        """For ``Scripted``, which asks one at a time: the wait is in ``later``."""
        return an_edit(next(self._count))

    def later(self, real: Callable[..., Answer]) -> Callable[..., Answer]:
        def complete(model: Scripted, prompt: Prompt) -> Answer:
            answer = real(model, prompt)
            if self._mark and self._mark in prompt.text:
                assert self.found_out.wait(60), "it was never run again"
            return answer

        return complete

    def evaluate(self, real: Callable[..., Evaluation]) -> Callable[..., Evaluation]:
        def evaluate(stub: StubEvaluator, request: Request, *more: Any) -> Evaluation:
            found = real(stub, request, *more)
            assert isinstance(found, Scored)
            if self.node is None and "TRIED_" in request.files["train.py"]:
                self.node = request.node_id
                self._mark = next(line for line in request.files["train.py"].splitlines() if "TRIED_" in line)
                return replace(found, score=0.5)
            if request.node_id != self.node:
                return found
            self.found_out.set()
            own = ("score", "audit", "certificate", "windows")
            common = {key: value for key, value in vars(found).items() if key not in own}
            return Failed(**common, outcome="invalid", reason="it lied", violation=True)

        return evaluate


@pytest.mark.slow
def test_a_proposal_whose_parent_was_found_cheating_meanwhile_is_refused_and_costs_no_training(
    start: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only a model makes children here: by the time the cheat is run again, two of its own are being written."""
    cheat = Cheat()
    monkeypatch.setattr(StubEvaluator, "evaluate", cheat.evaluate(StubEvaluator.evaluate))
    monkeypatch.setattr(Scripted, "complete", cheat.later(Scripted.complete))
    others = [f"operators.{name}.weight=0" for name in ("hybrid", "simplify", "draft", "crossover")]
    words = ("operators=llm", *WORDS, *others, "budget.evaluations=40")
    recheck = ("policy.recheck.runs=2", "policy.recheck.after=2")
    bench = start(*words, *recheck, model=Scripted(cheat.answer), concurrency=8, slots=1, stub={"delay": 0.02})
    assert bench.result.finished
    path = tmp_path / "archive.duckdb"
    refused = rows(path, "SELECT move, parents FROM refusals WHERE reason LIKE '%is suspect: found cheating%'")
    assert refused
    assert all(cheat.node in parents for _, parents in refused)
    moves = ", ".join(str(move) for move, _ in refused)
    assert rows(path, f"SELECT count(*) FROM llm_calls WHERE outcome = 'answered' AND move IN ({moves})") == [
        (len(refused),)
    ], "paid for, and in the books"
    assert rows(path, f"SELECT count(*) FROM evaluations WHERE move IN ({moves})") == [(0,)]


@pytest.mark.slow
def test_a_proposal_that_somebody_else_made_meanwhile_is_refused_as_a_duplicate(
    start: Callable[..., Any], tmp_path: Path
) -> None:
    """Several are asked at once and say the same."""
    same = Scripted(lambda prompt: an_edit(1), latency=0.2)
    others = [f"operators.{name}.weight=0" for name in ("hybrid", "simplify", "draft", "crossover")]
    words = ("operators=llm", *WORDS, *others, "budget.evaluations=12")
    start(*words, model=same, concurrency=4, stub={"delay": 0.05})
    path = tmp_path / "archive.duckdb"
    assert rows(path, "SELECT count(*) FROM nodes WHERE idea = 'remember the number 1'")[0][0] >= 1
    same_reason = "reason LIKE '%equals a known candidate%' OR reason LIKE '%tried before%'"
    assert rows(path, f"SELECT count(*) FROM refusals WHERE {same_reason}")[0][0] >= 1
    digests = rows(path, "SELECT count(*), count(DISTINCT digest) FROM nodes")
    assert digests[0][0] == digests[0][1], "nothing is trained twice"


@pytest.mark.slow
def test_no_answer_is_asked_for_that_could_not_be_trained(start: Callable[..., Any], tmp_path: Path) -> None:
    """At the end of the budget what is on its way is what there is room for; a slow answer leaves nothing over."""
    count = [0]

    def answer(prompt: Prompt) -> str:
        count[0] += 1
        return an_edit(count[0])

    bench = start("operators=llm", *WORDS, "budget.evaluations=14", model=Scripted(answer, latency=0.05), concurrency=8)
    assert bench.result.finished
    path = tmp_path / "archive.duckdb"
    untrained = "SELECT count(*) FROM nodes ANTI JOIN evaluations USING (node_id)"
    assert rows(path, untrained) == [(0,)]
