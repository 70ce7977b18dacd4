"""The search for a notebook: names or objects, a file or memory, our evaluator or one's own function."""

from __future__ import annotations

import re
import subprocess
import sys
import textwrap
import time
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from inside import search as command
from launching import HOUSE, STUB, environment, sql

import search
from archive.records import Candidate, Failed, Propose, Replicate, Request, Scored, Wait
from archive.storage.store import Archive
from archive.tree import Tree
from operators.base import Context, NoCandidate
from prepare.config import SettingsError
from search import api, function_task
from search.run.resume import RunChanged

PROGRAM = "X = 1.0  # tune: -2..2\nY = 1.0  # tune: -2..2\n"
STUBBED = [*STUB, "task.seconds=0.01"]


def score(request: Request) -> float:
    """A bowl with a little noise."""
    values: dict[str, Any] = {}
    exec(request.files["train.py"], values)
    noise = float(np.random.default_rng(request.seed).normal()) * 0.01
    return float((values["X"] - 0.3) ** 2 + (values["Y"] + 1.0) ** 2) + noise


BOWL = search.OwnTask(score, PROGRAM, direction="minimise", name="bowl")


def finish(s: search.Search) -> list[Request]:
    """The five lines, as a loop."""
    asked = []
    while (request := s.ask()) is not None:
        asked.append(request)
        s.tell(s.evaluate(request))
    return asked


# ---------------------------------------------------------------- what a person types


def test_importing_it_costs_nothing() -> None:
    code = "import search, sys; print([m for m in ('numpy', 'duckdb', 'hydra', 'torch') if m in sys.modules])"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=HOUSE, env=environment(), capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"
    assert search.Search is api.Search
    assert set(search.__all__) <= set(dir(search))
    with pytest.raises(AttributeError, match="no attribute 'Serach'"):
        search.Serach  # type: ignore[attr-defined]  # noqa: B018


@pytest.mark.slow
@pytest.mark.parametrize("module", [api, function_task])
def test_the_example_of_the_docstring_works(module: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    text = str(module.__doc__)
    example = textwrap.dedent("\n".join(line for line in text.splitlines() if line.startswith("    ") or not line))
    names: dict[str, Any] = {}
    if module is api:  # without sandboxes, and of 10 seconds no more than a moment
        assert "seed=1)" in example
        example = example.replace("seed=1)", f"seed=1, overrides={STUBBED})")
        monkeypatch.syspath_prepend(str(HOUSE / "tests" / "search"))
        assert len(example.strip().splitlines()) <= 7
    else:
        names = {"OwnTask": search.OwnTask}
    exec(example, names)
    if module is function_task:
        assert names["score"](Request("n", "r", 0, names["task"].files, 1, "screen")) == pytest.approx(0.49)
    else:
        assert (tmp_path / "notes.duckdb").is_file()
        assert "95% interval" in names["s"].summary.__self__.result.verdict.reason


@pytest.mark.slow
def test_a_function_of_ones_own_in_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with search.Search(BOWL, "ucb", operators="tune", seed=3, budget=40, overrides=["claim.looks=1"]) as s:
        asked = finish(s)
        assert len(asked) == 40
        assert {request.purpose for request in asked} == {"screen", "confirm", "report"}
        assert s.result is not None
        assert s.result.verdict is not None
        assert s.result.verdict.kind == "champion"
        assert s.best is not None
        assert s.best.node_id == s.result.verdict.node_id
        assert s.archive.query("SELECT DISTINCT trust, sandbox FROM evaluations") == [("self_reported", "none")]
        assert "Champion" in s.summary()
        assert "Everything is in" not in s.summary(), "there is no file to look into"
        assert s.ask() is None
    assert list(tmp_path.iterdir()) == []


def test_a_budget_may_be_its_fields() -> None:
    with search.Search(BOWL, operators="tune", budget={"evaluations": 9}, claim=False) as s:
        assert len(finish(s)) == 9


def test_without_a_claim_all_of_the_budget_is_searched_with() -> None:
    with search.Search(BOWL, "greedy", operators="numeric", budget=12, claim=False) as s:
        assert {request.purpose for request in finish(s)} == {"screen"}
        assert s.tree.evaluated == 12
        assert s.result is not None
        assert s.result.verdict is None
        assert s.best is not None
        assert s.best.node_id == s.tree.leader()


# ---------------------------------------------------------------- objects of one's own


@dataclass(frozen=True)
class Latest:
    """A policy in a few lines: improve the latest node that has a score."""

    operator: str = "halve"

    def choose(self, tree: Tree, rng: np.random.Generator, operators: Mapping[str, Any]) -> Propose | Wait:
        assert set(operators) == {"halve"}
        scored = np.flatnonzero(tree.eligible())
        return Propose(self.operator, (tree.nodes[int(scored[-1])].node_id,)) if len(scored) else Wait()


class Halve:
    """An operator in a few lines."""

    name = "halve"
    arity = 1
    needs_llm = False

    def applies(self, tree: Tree, node_id: str) -> bool:
        return bool(tree.runs[tree.index[node_id]])

    def propose(self, move: Propose, context: Context) -> Candidate | NoCandidate:
        values: dict[str, Any] = {}
        exec(context.tree[move.parents[0]].candidate.files["train.py"], values)
        if values["X"] < 0.1:
            return NoCandidate("it is small enough")
        text = f"X = {values['X'] / 2}\nY = {values['Y']}\n"
        return Candidate({"train.py": text}, move.parents, self.name, "half of X")


def test_a_policy_and_operators_that_are_objects(tmp_path: Path) -> None:
    file = tmp_path / "own.duckdb"
    with search.Search(BOWL, Latest(), operators=[Halve()], archive=file, budget=4, claim=False, run="mine") as s:
        finish(s)
        texts = [node.candidate.files["train.py"] for node in s.tree.nodes]
        assert [text.split()[2] for text in texts] == ["1.0", "0.5", "0.25", "0.125"]
    (row,) = sql(file, "SELECT policy, config->>'$.policy.operator' AS operator FROM runs")
    assert row == {"policy": "Latest", "operator": "halve"}
    with pytest.raises(RunChanged, match=r"policy\.operator: 'halve' -> 'other'"):
        search.Search(BOWL, Latest("other"), operators=[Halve()], archive=file, run="mine")
    changed = search.OwnTask(score, "X = 2.0\nY = 1.0\n", direction="minimise", name="bowl")
    with pytest.raises(RunChanged, match="seed_file"):
        search.Search(changed, Latest(), operators={"halve": Halve()}, archive=file, run="mine")


def test_an_archive_that_is_open_stays_open() -> None:
    with Archive.in_memory() as archive:
        for seed in (1, 2):
            with search.Search(BOWL, operators="tune", archive=archive, seed=seed, budget=3) as s:
                finish(s)
        assert archive.query("SELECT run, seed FROM runs ORDER BY run") == [("bowl-1", 1), ("bowl-2", 2)]


# ---------------------------------------------------------------- the same search


@pytest.mark.slow
def test_a_run_of_the_command_line_is_gone_on_with_and_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """From either side, and with the moves that a run in one go has made."""
    words = (
        "run=night",
        "operators=numeric",
        "llm=none",
        "seed=5",
        "task.seconds=0.01",
        "executor.slots=1",
        "claim.looks=1",
    )
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    for folder in (whole, parts):
        folder.mkdir()
    done = command(whole, *words, "budget.evaluations=24")
    assert done.returncode == 0, done.stderr
    assert command(parts, *words, "budget.evaluations=6", "claim.report_seeds=4").returncode == 0
    file = parts / "treewright.duckdb"
    monkeypatch.syspath_prepend(str(HOUSE / "tests" / "search"))
    again = {"archive": file, "seed": 5, "run": "night"}
    with search.Search("shakespeare", operators="numeric", overrides=[*STUBBED, "llm=none"], budget=24, **again) as s:
        assert s.opened.resumed
        assert s.tree.evaluated == 6
        for _ in range(5):
            request = s.ask()
            assert request is not None
            s.tell(s.evaluate(request))
    done = command(parts, *words, "budget.evaluations=24")
    assert done.returncode == 0, done.stderr
    assert "Resuming run 'night', 11 evaluations so far" in done.stdout
    ask = "SELECT kind, operator, purpose, seed FROM moves ORDER BY move"
    moves = sql(whole / "treewright.duckdb", ask)
    assert len(moves) == 24
    assert moves == sql(file, ask)
    assert len(sql(file, "FROM events WHERE kind = 'session'")) == 3


def test_several_may_be_asked_before_any_is_told() -> None:
    with search.Search(BOWL, operators="tune", budget=20) as s:
        first = [s.ask(), s.ask(), s.ask()]
        assert all(first)
        assert s.ask() is None, "the root and its replicates are under way, and nothing else can be chosen"
        assert s.result is None
        for request in reversed(first):
            assert request is not None
            s.tell(s.evaluate(request))
        assert s.ask() is not None


class Slow(Halve):
    """An operator that answers as late as a language model does."""

    needs_llm = True

    def propose(self, move: Propose, context: Context) -> Candidate | NoCandidate:
        time.sleep(0.3)
        return super().propose(move, context)


def test_a_question_waits_for_a_model_where_nothing_else_can_come_next() -> None:
    with search.Search(BOWL, Latest(), operators=[Slow()], budget=3, claim=False) as s:
        assert [request.move for request in finish(s)] == [0, 1, 2]
    with search.Search(BOWL, Latest(), operators=[Slow()], budget=3, claim=False) as s:
        request = s.ask()
        assert request is not None
        assert s.ask() is None, "while a training is under way nobody is kept waiting"
        s.tell(s.evaluate(request))
        assert s.ask(patient=False) is None
        assert s.ask() is not None


# ---------------------------------------------------------------- what goes wrong


def test_what_a_function_does_is_an_outcome() -> None:
    def moody(request: Request) -> float:
        values: dict[str, Any] = {}
        exec(request.files["train.py"], values)
        if values["X"] != 1.0 and request.move % 2:
            raise RuntimeError("no \x1b[31mred\x1b[0m today")
        return 1.0 if values["X"] == 1.0 else float("nan")

    task = search.OwnTask(moody, PROGRAM, direction="maximise", name="moody")
    with search.Search(task, operators="tune", budget=12) as s:
        finish(s)
        outcomes = dict(s.archive.query("SELECT outcome, count(*) FROM evaluations GROUP BY outcome"))
        assert outcomes["crashed"] > 0
        assert outcomes["invalid"] > 0
        (reason, log), *_ = s.archive.query("SELECT reason, log FROM evaluations WHERE outcome = 'crashed'")
        assert reason.startswith("RuntimeError: no ")
        assert "Traceback" in log
        assert s.best is not None
        assert s.best.number == 0


ARRAYS = [np.bool_(True), np.str_("0.1"), np.array("0.1"), np.array([0.1])]


@pytest.mark.slow
@pytest.mark.parametrize("returned", [True, "0.1", b"1", None, [0.1], 1j, 10**400, np.nan, np.inf, -1e308, *ARRAYS])
def test_what_is_no_number_is_no_score(returned: Any) -> None:
    task = search.OwnTask(lambda request: returned, PROGRAM, direction="minimise")
    with search.Search(task, operators="tune", budget=2) as s:
        evaluation = s.evaluate(s.ask())  # type: ignore[arg-type]
    assert isinstance(evaluation, Failed)
    assert evaluation.outcome == "invalid"
    assert "expected a finite number" in evaluation.reason or "score is" in evaluation.reason


@pytest.mark.parametrize(
    "returned", [1, 0.5, np.float32(0.5), np.int64(1), np.array(0.5), Decimal("0.5"), Fraction(1, 2)]
)
def test_numbers_of_other_libraries_are_scores(returned: Any) -> None:
    task = search.OwnTask(lambda request: returned, PROGRAM, direction="minimise")
    with search.Search(task, operators="tune", budget=2) as s:
        evaluation = s.evaluate(s.ask())  # type: ignore[arg-type]
    assert isinstance(evaluation, Scored)
    assert evaluation.score == returned


def test_that_nothing_could_be_scored_is_not_called_noise() -> None:
    def fragile(request: Request) -> float:
        assert request.files["train.py"] == PROGRAM, "no such value"
        return 1.0

    task = search.OwnTask(fragile, PROGRAM, direction="minimise")
    with search.Search(task, operators="tune", budget=12) as s:
        finish(s)
        text = s.summary()
    assert re.search(r"^Nothing could be scored besides the root: \d+ crashed", text, re.MULTILINE)
    assert "noise" not in text


def test_a_program_that_does_not_parse_costs_no_call() -> None:
    evaluator = function_task.FunctionEvaluator(BOWL)
    assert "was never closed" in str(evaluator.gate({"train.py": "X = ("}))
    assert evaluator.gate({"train.py": "X = 1", "notes.txt": "("}) is None


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"policy": "annealing"}, "there is no policy=annealing"),
        ({"overrides": ["tsk.seconds=1"]}, "unknown override 'tsk.seconds'"),
        ({"budget": 0}, "budget.evaluations is 0"),
        ({"budget": search.Budget(dollars=1.0)}, "budget.dollars would never end this search"),
        ({"operators": "llm"}, "needs a language model"),
        ({"seed": "7"}, "seed is '7'"),
        ({"budget": {"days": 2}}, "has evaluations, hours, device_hours"),
        ({"budget": 0}, "expected at least 1"),
        ({"task": search.OwnTask(score, PROGRAM, direction="down")}, "expected 'minimise' or 'maximise'"),
    ],
)
def test_what_cannot_be_is_said(options: dict[str, Any], words: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ANTHROPIC_API_KEY", raising=False)
    with pytest.raises((SettingsError, ValueError), match=words):
        search.Search(**({"task": BOWL, "operators": "tune"} | options))


def test_replicates_are_asked_for_with_fresh_seeds() -> None:
    with search.Search(BOWL, operators="tune", budget=10) as s:
        asked = finish(s)
    assert len({request.seed for request in asked}) == len(asked)
    assert any(isinstance(record.move, Replicate) for record in s.tree.moves.values())
