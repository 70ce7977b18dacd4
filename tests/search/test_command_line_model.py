"""The command line with a key: a local server takes the part of Claude, the rest is as a user has it."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from inside import search
from launching import begin, one, sql
from messages_api import TOKENS_IN, TOKENS_OUT, MessagesApi
from model_server import Act, Fail, Say
from openai_api import OpenAiApi

KEY = "sk-ant-test"
EACH = (TOKENS_IN * 2 + TOKENS_OUT * 10) / 1e6
"""Dollars of one answer."""


@pytest.mark.slow
def test_a_key_that_is_refused_is_said_at_once_and_nothing_is_lost(tmp_path: Path) -> None:
    assert search(tmp_path, "run=night", "budget.evaluations=4").returncode == 0
    with MessagesApi(status=401) as api:
        words = ("run=night", "budget.evaluations=6", f"llm.base_url={api.url}")
        done = search(tmp_path, *words, ANTHROPIC_API_KEY=KEY)
        doctor = search(tmp_path, "doctor", f"llm.base_url={api.url}", ANTHROPIC_API_KEY=KEY)
    assert done.returncode == 1
    assert done.stderr.count("error: ") == 1
    assert "the key was refused: invalid x-api-key" in done.stderr
    assert "Set ANTHROPIC_API_KEY" in done.stderr
    assert "Traceback" not in done.stderr
    assert KEY not in done.stdout + done.stderr
    assert doctor.returncode == 1
    assert "problem  model      the key was refused" in doctor.stdout
    assert api.asked == [], "the check is free"
    assert one(tmp_path / "treewright.duckdb", "count(*) FROM evaluations") == 4
    assert search(tmp_path, "run=night", "budget.evaluations=6", "llm=none").returncode == 0
    assert one(tmp_path / "treewright.duckdb", "count(*) FROM evaluations") == 6


@pytest.mark.slow
def test_a_search_by_a_model_alone_that_is_refused_is_an_error(tmp_path: Path) -> None:
    """The check of the key finds nothing: only the calls are refused. In a new run, and in one that has nodes."""
    archive, words = tmp_path / "treewright.duckdb", ("run=night", "operators=llm", "claim=off")
    refused = Fail(401, "authentication_error", "invalid x-api-key")

    def searched(budget: int, *more: str, act: Callable[[int], Act] = lambda number: Say()) -> Any:
        with MessagesApi(act=act) as api:
            typed = (*words, f"budget.evaluations={budget}", f"llm.base_url={api.url}", *more)
            return search(tmp_path, *typed, ANTHROPIC_API_KEY=KEY)

    for budget, found in ((6, "no candidate"), (6, None), (12, "no more candidate"), (6, None)):
        done = searched(budget, act=lambda number: refused) if found else searched(budget)
        assert done.returncode == (1 if found else 0), done.stderr
        if found:
            said = f"error: {found} was made, since the language model cannot be asked: the key was refused: invalid"
            assert said in done.stderr
            assert "Resume with:" in done.stdout
    assert one(archive, "count(*) FROM nodes WHERE run = 'night'") > 1
    changed = searched(12, "policy=greedy")
    assert changed.returncode == 2
    assert "run 'night' was started with other settings" in changed.stderr
    other = searched(6, "run=other", "operators=auto", act=lambda number: refused)
    assert other.returncode == 0, "other operators have made candidates"


@pytest.mark.slow
def test_a_whole_search_by_a_model_alone(tmp_path: Path) -> None:
    archive = tmp_path / "treewright.duckdb"
    with MessagesApi() as api:
        words = ("operators=llm", "budget.evaluations=16", "operators.draft.weight=1", f"llm.base_url={api.url}")
        done = search(tmp_path, *words, ANTHROPIC_API_KEY=KEY)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("Language model: claude-sonnet-5-5, at most $2.00 and 1,000,000 tokens.\n")
    operators = {row["operator"] for row in sql(archive, "SELECT DISTINCT operator FROM nodes")}
    assert {"seed", "improve"} <= operators <= {"seed", "improve", "draft", "crossover"}
    assert one(archive, "count(*) FROM refusals WHERE operator IN ('hybrid', 'simplify')") > 0, "not what these want"
    (bill,) = sql(
        archive, "SELECT count(*) AS calls, sum(dollars) AS dollars FROM llm_calls WHERE outcome = 'answered'"
    )
    assert bill["calls"] == len(api.asked) > 0
    assert bill["dollars"] == pytest.approx(EACH * bill["calls"])
    assert f"{bill['calls']} calls, {bill['calls'] * (TOKENS_IN + TOKENS_OUT):,} tokens" in done.stdout
    assert one(archive, "count(*) FROM nodes WHERE idea LIKE 'remember the number %'") == one(
        archive, "count(*) FROM nodes WHERE operator IN ('improve', 'draft')"
    )
    assert one(archive, "count(*) FROM nodes WHERE aim IS NOT NULL") == one(
        archive, "count(*) FROM nodes WHERE operator = 'improve'"
    )
    stored = archive.read_bytes()
    assert KEY.encode() not in stored


@pytest.mark.parametrize("operators", [pytest.param("llm", marks=pytest.mark.slow), "auto"])
def test_the_cap_in_dollars_is_never_passed(tmp_path: Path, operators: str) -> None:
    """A call may cost 16,000 tokens of answer: $0.16 and its prompt. The cap leaves room for a few answers."""
    archive, cap = tmp_path / "treewright.duckdb", 0.25
    with MessagesApi() as api:
        words = (f"operators={operators}", "budget.evaluations=40", f"llm.base_url={api.url}", f"llm.max_dollars={cap}")
        delay = "evaluator.delay=0.2"  # so that the other operators do not use up the budget before there is an answer
        done = search(
            tmp_path, *words, delay, "claim.looks=1", ANTHROPIC_API_KEY=KEY
        )  # a claim that ends early leaves some
    assert done.returncode == 0, done.stderr
    assert "at most $0.25" in done.stdout.splitlines()[0]
    assert 0 < one(archive, "sum(dollars) FROM llm_calls") <= cap
    assert 0 < len(api.asked) * EACH <= cap
    if operators == "auto":
        # The other operators go on; a claim reports on pairs, so one evaluation may be left.
        assert 39 <= one(archive, "count(*) FROM evaluations") <= 40
        assert one(archive, "count(*) FROM nodes WHERE operator = 'tune'") > 0
    assert one(archive, "count(*) FROM events WHERE message LIKE '%the cap of $0.25%'") >= 1


@pytest.mark.slow
def test_a_resumed_search_does_not_pay_again(tmp_path: Path) -> None:
    archive = tmp_path / "treewright.duckdb"
    with MessagesApi(latency=0.1) as api:
        words = ("run=night", "operators=llm", "budget.evaluations=40", "evaluator.delay=0.1")
        process = begin(tmp_path, *words, f"llm.base_url={api.url}", ANTHROPIC_API_KEY=KEY)
        until = time.monotonic() + 200
        while not api.asked and process.poll() is None and time.monotonic() < until:
            time.sleep(0.01)
        process.send_signal(signal.SIGINT)
        said, errors = process.communicate(timeout=250)
        assert process.returncode == 130, said + errors
        assert one(archive, "count(*) FROM llm_calls") == len(api.asked), "answers on their way are waited for"
        done = search(tmp_path, *words, f"llm.base_url={api.url}", ANTHROPIC_API_KEY=KEY)
    assert done.returncode == 0, done.stderr
    assert one(archive, "count(*) FROM llm_calls") == len(api.asked)
    assert one(archive, "count(DISTINCT (move, turn)) FROM llm_calls") == len(api.asked)
    settled = "SELECT move FROM nodes UNION SELECT move FROM refusals"
    left = f"SELECT move FROM moves WHERE kind = 'propose' EXCEPT FROM ({settled})"
    assert one(archive, f"count(*) FROM ({left}) ANTI JOIN llm_calls USING (move)") == 0, "kept for a resume"


@pytest.mark.slow
def test_the_cap_holds_when_a_search_is_killed_with_calls_in_flight(tmp_path: Path) -> None:
    """They may have been billed: the resumed run counts them at the most that they can have cost."""
    archive, cap = tmp_path / "treewright.duckdb", 0.4
    words = ("run=night", "operators=llm", "budget.evaluations=30", f"llm.max_dollars={cap}", "evaluator.delay=0.05")
    with MessagesApi(latency=lambda number: 0.0 if number == 1 else 60.0) as api:
        process = begin(tmp_path, *words, f"llm.base_url={api.url}", ANTHROPIC_API_KEY=KEY)
        until = time.monotonic() + 200
        while len(api.asked) < 3 and process.poll() is None and time.monotonic() < until:
            time.sleep(0.02)
        time.sleep(0.5)  # for a fourth, which there is no room for
        process.kill()
        process.communicate(timeout=250)
        assert len(api.asked) == 3
    left = "(SELECT * FROM llm_requests ANTI JOIN llm_calls USING (request))"
    assert one(archive, f"count(*) FROM {left}") == 2
    at_most = one(archive, f"sum(dollars_at_most) FROM {left}")
    assert 0.3 < at_most <= cap - EACH
    with MessagesApi() as api:
        done = search(tmp_path, *words, f"llm.base_url={api.url}", ANTHROPIC_API_KEY=KEY)
        assert done.returncode == 0, done.stderr
        assert api.asked == [], "nothing fits any more"
        assert "the cap of $0.40" in done.stdout + done.stderr
        assert "of unknown bill" in done.stdout + done.stderr
        more = [word.replace("0.4", "0.8") for word in words]
        done = search(tmp_path, *more, f"llm.base_url={api.url}", ANTHROPIC_API_KEY=KEY)
        assert done.returncode == 0, done.stderr
        assert len(api.asked) > 0, "with a larger cap it goes on"
        assert len(api.asked) * EACH + EACH + at_most <= 0.8


@pytest.mark.slow
def test_several_models_without_a_key_are_left_out_and_named(tmp_path: Path) -> None:
    archive = tmp_path / "treewright.duckdb"
    with OpenAiApi(model="gpt-6.1-terra") as api:
        words = ("llm=several", "operators=llm", "budget.evaluations=12", f"llm.models.other.base_url={api.url}/v1")
        done = search(tmp_path, *words, OPENAI_API_KEY=KEY)
        doctor = search(tmp_path, "doctor", words[0], words[3], OPENAI_API_KEY=KEY)
    assert done.returncode == 0, done.stderr
    without = "without strong, since ANTHROPIC_API_KEY is not set; without fast, since ANTHROPIC_API_KEY is not set"
    assert done.stdout.splitlines()[0] == (
        f"Language model: gpt-6.1-terra, at most $2.00 and 1,000,000 tokens; {without}."
    )
    assert without in doctor.stdout
    assert {row["asked"] for row in sql(archive, "SELECT asked FROM llm_requests")} == {"other"}


@pytest.mark.slow
def test_a_server_that_does_not_count_is_said_and_never_taken_for_free(tmp_path: Path) -> None:
    archive = tmp_path / "treewright.duckdb"
    with OpenAiApi(model="mine", act=lambda number: Say(counted=False)) as api:
        words = ("llm=openai", "llm.model=mine", "llm.key=null", "operators=llm", "budget.evaluations=10")
        done = search(tmp_path, *words, f"llm.base_url={api.url}/v1")
        local = search(tmp_path, "llm=local", *words[1:2], *words[3:], f"llm.base_url={api.url}/v1")
    assert done.returncode == 0, done.stderr
    assert "mine, whose price is unknown: the cap of $2.00 cannot be kept" in done.stdout
    assert "calls of unknown cost and" in done.stdout
    assert "with an unknown number of tokens (with them the caps count" in done.stdout
    assert local.returncode == 0, local.stderr
    assert "calls of unknown cost" not in local.stdout, "a machine of one's own costs nothing"
    first, second = sql(archive, "SELECT run, count(dollars) AS known, sum(charged_tokens) AS charged FROM llm_calls "
                                 "GROUP BY run ORDER BY run")  # fmt: skip
    assert (first["known"], second["known"] > 0) == (0, True)
    assert min(first["charged"], second["charged"]) > 4096
