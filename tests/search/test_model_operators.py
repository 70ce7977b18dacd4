"""Whole searches with the operators that ask a model: what is wired, what SQL can count, what a user can set."""

from __future__ import annotations

import re
import shutil
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import duckdb
import pytest
from stub_evaluator import StubEvaluator

from archive.query.query import open_reader
from archive.records import sha256
from operators.llm.base import Prompt
from operators.llm.scripted import Scripted
from operators.rewrite.prompt.templates import Templates
from search.settings import config_for

Start = Callable[..., Any]


class Writer(Scripted):
    """Answers every operator as it asks: edits, shorter programs, new constants, whole programs, merged places."""

    def __init__(self, latency: float = 0.0) -> None:
        super().__init__(self._written, model="scripted", latency=latency)
        self._count = 0
        self._counting = threading.Lock()

    def _written(self, prompt: Prompt) -> str:
        with self._counting:
            self._count += 1
            number = self._count
        asked = prompt.messages[0].whole
        if "\nPLACE 1 in " in asked:
            places = range(1, asked.count("\nPLACE ") + 1)
            return "IDEA: both\n" + "".join(f"PLACE {i}\n```\nMERGED_{number}_{i} = 1\n```\n" for i in places)
        if "with the whole new file" in asked:
            return f"IDEA: draft {number}\n```\n{SEED}\nDRAFT = {number}\n```\n"
        if "Make the program simpler" in asked:
            found = re.search(r"^TRIED_\d+ = \d+$", asked, re.MULTILINE)
            line = found[0] if found else "MLP_RATIO = 4"
            return f"IDEA: without it\n<<<<<<< SEARCH\n{line}\n=======\n>>>>>>> REPLACE\n"
        if "Add a new structure to the program" in asked:
            line = f"GATE_{number} = 0.5  # tune: 0..1\n\nassert GATE_{number} >= 0\n"
        else:
            line = f"TRIED_{number} = {number}\n"
        return f"IDEA: try {number}\n<<<<<<< SEARCH\nimport math\n=======\nimport math\n\n{line}>>>>>>> REPLACE\n"


SEED = Path("train/seeds/shakespeare.py").read_text()
WEIGHTS = [f"operators.{name}.weight=1" for name in ("hybrid", "simplify", "draft", "crossover", "prune")]


def ask(folder: Path, sql: str) -> list[tuple[Any, ...]]:
    return list(open_reader(folder / "archive.duckdb").query(sql).rows)


@pytest.mark.slow
def test_every_operator_makes_children_and_sql_counts_their_kinds(start: Start, tmp_path: Path) -> None:
    model = Writer()
    start("operators=all", *WEIGHTS, "budget.evaluations=60", "policy.score.c=0.5", model=model)
    made = {name for (name,) in ask(tmp_path, "SELECT DISTINCT operator FROM nodes")}
    authors = {"improve", "hybrid", "simplify", "draft"}
    assert "improve" in made
    assert len(made & authors) >= 3, "which ones hangs on the order in which trainings land"
    aims = dict(ask(tmp_path, "SELECT aim, count(*) FROM nodes WHERE operator = 'improve' GROUP BY aim"))
    assert None not in aims
    assert len(aims) >= 2
    assert ask(tmp_path, "SELECT count(*) FROM nodes WHERE aim IS NOT NULL AND operator <> 'improve'") == [(0,)]
    kinds = ask(tmp_path, "SELECT sum(tried) FROM change_kind_stats WHERE operator = 'improve'")
    trained = (
        "SELECT count(DISTINCT n.node_id) FROM nodes AS n JOIN screenings USING (node_id) WHERE operator = 'improve'"
    )
    assert kinds == ask(tmp_path, trained)
    versions = ask(tmp_path, "SELECT DISTINCT operator, text FROM llm_calls JOIN sources ON sha = template_sha")
    assert {operator for operator, _ in versions} >= made & authors
    own = Templates()
    for operator, text in versions:
        assert own.text("resolve" if operator == "crossover" else operator).strip() in text
    assert len({sha256(text) for _, text in versions}) == len(versions)


def after_a_kill(folder: Path, number: int, sql: str) -> list[tuple[Any, ...]]:
    """What the archive would answer if this process were killed now: of copies of its file and log."""
    copy = folder / f"copy{number}"
    copy.mkdir()
    for name in ("archive.duckdb", "archive.duckdb.wal"):
        if (folder / name).exists():
            shutil.copy(folder / name, copy)
    with duckdb.connect(str(copy / "archive.duckdb")) as connection:
        return connection.execute(sql).fetchall()


@pytest.mark.slow
def test_what_is_about_to_be_paid_for_is_in_the_file(
    start: Start, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A node when its evaluation starts; a move, and the request itself, when a model is asked."""
    evaluate, lock, seen, missing = StubEvaluator.evaluate, threading.Lock(), [], []

    def evaluated(self: StubEvaluator, request: Any, *more: Any) -> Any:
        with lock:
            seen.append(request)
            nodes = after_a_kill(tmp_path, len(seen), "SELECT node_id FROM nodes JOIN files USING (node_id)")
            missing.extend([] if (request.node_id,) in nodes else [request])
        return evaluate(self, request, *more)

    class Asked(Writer):
        def _written(self, prompt: Prompt) -> str:
            asked = "SELECT count(*), count(m.move) FROM llm_requests LEFT JOIN moves AS m USING (run, move)"
            with lock:
                seen.append(prompt)
                ((requests, moves),) = after_a_kill(tmp_path, len(seen), asked)
                calls = sum(isinstance(each, Prompt) for each in seen)
                missing.extend([] if requests == moves >= calls else [(requests, moves, calls)])
            return super()._written(prompt)

    monkeypatch.setattr(StubEvaluator, "evaluate", evaluated)
    start("operators=llm", "budget.evaluations=12", "claim=off", model=Asked())
    assert len(seen) >= 20
    assert missing == []


@pytest.mark.slow
def test_lessons_of_the_archive_reach_later_prompts(start: Start) -> None:
    model = Writer()
    start("operators=all", "budget.evaluations=40", "run=first", model=model)
    assert "children scored better than their parent" not in model.prompts[0].text
    start("operators=llm", "budget.evaluations=16", "run=second", "seed=7", model=(second := Writer()))
    improved = next(prompt.text for prompt in second.prompts if "Improve the program" in prompt.text)
    assert re.search(r"- tune: \d+ of \d+ children scored better than their parent", improved), "of the first run"


@pytest.mark.slow
def test_what_a_claim_measured_is_in_no_later_prompt(start: Start, tmp_path: Path) -> None:
    """A search that goes on after a claim knows its scores; the model must not: it would learn the holdout."""
    start("operators=all", "budget.evaluations=20", "run=night", model=Writer())
    start("operators=all", "budget.evaluations=70", "run=night", model=(model := Writer()))
    claimed = ask(tmp_path, "SELECT score FROM evaluations WHERE purpose <> 'screen' AND score IS NOT NULL")
    screened = ask(tmp_path, "SELECT score FROM evaluations WHERE purpose = 'screen' UNION SELECT score FROM scores")
    secret = {f"{score:.5g}" for (score,) in claimed} - {f"{score:.5g}" for (score,) in screened if score is not None}
    assert len(secret) >= 8
    assert model.prompts
    text = "\n".join(prompt.text for prompt in model.prompts)
    assert f"{screened[0][0]:.3g}"[:3] in text, "scores are shown"
    assert not [score for score in secret if re.search(rf"(?<![\d.]){re.escape(score)}(?!\d)", text)]


@pytest.mark.slow
def test_debug_tries_each_failed_node_as_often_as_it_is_told(start: Start, tmp_path: Path) -> None:
    words = ("operators=all", "operators.debug.tries=1", "policy.repair.probability=1.0", "budget.evaluations=40")
    start(*words, model=Writer(), stub={"fail_every": 4, "delay": 0.02}, concurrency=1)
    tries = ask(tmp_path, "SELECT parents, count(*) FROM moves WHERE operator = 'debug' GROUP BY parents")
    assert tries
    assert {count for _, count in tries} == {1}


@pytest.mark.slow
def test_a_folder_of_templates_is_a_key(start: Start, tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "improve.md").write_text("In my own words.\n\n{{source}}\n")
    model = Writer()
    start("operators=llm", f"prompts={tmp_path / 'mine'}", "budget.evaluations=10", model=model)
    improved = [prompt for prompt in model.prompts if prompt.messages[0].whole.startswith("In my own words.")]
    assert improved
    assert ask(tmp_path, "SELECT DISTINCT text LIKE '%In my own words.%' FROM llm_calls JOIN sources ON "
               "sha = template_sha WHERE operator = 'improve'") == [(True,)]  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("operator", ["improve", "hybrid", "simplify", "draft", "debug", "crossover"])
def test_every_operator_that_asks_a_model_takes_the_folder(operator: str) -> None:
    config = config_for(["operators=all", "prompts=/my/own"], "cpu")
    assert config.operators[operator].options["prompts"] == "/my/own"
    config = config_for(["operators=all", f"operators.{operator}.prompts=/its/own"], "cpu")
    assert config.operators[operator].options["prompts"] == "/its/own"
    assert config_for(["operators=all"], "cpu").operators[operator].options["prompts"] is None


@pytest.mark.slow
def test_other_proposals_take_nothing_of_the_next_claim_while_a_model_answers(start: Start) -> None:
    """Its proposals are paid for, so they may use what is kept for the claim, and nothing else may."""
    words = ("operators=all", "claim.least_power=0", "claim.candidates=1", "claim.report_seeds=2", "run=grown")
    start(*words, "budget.evaluations=12", model=Writer(latency=0.3), stub={"noise": 0.0})
    bench = start(*words, "budget.evaluations=36", model=Writer(latency=0.3), stub={"noise": 0.0})
    assert "and the budget has" not in bench.result.reason, bench.result.reason
