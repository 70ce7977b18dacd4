"""Ctrl-C and outages while a language model is asked, with a real process where a signal is needed."""

from __future__ import annotations

import itertools
import json
import re
import signal
import threading
import time
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any, cast

import inside
import pytest
from launching import begin, one, sql
from messages_api import MODEL as CLAUDE
from messages_api import MessagesApi
from model_server import Act, Fail, Hang, ModelServer, Raw, Say
from openai_api import MODEL as QWEN
from openai_api import OpenAiApi

from archive.storage.store import Archive
from operators.base import NoCandidate
from operators.llm.claude import Claude
from operators.llm.compatible import OpenAICompatible
from search.run import controller, lookahead
from search.run.proposals import GRACE_SECONDS, PendingProposal, ProposalPool

BY_A_MODEL = ("run=night", "operators=llm", "sandbox=none")
KEY = {"ANTHROPIC_API_KEY": "sk-ant-test-0123456789"}

SILENT: tuple[Act, ...] = (
    Hang(),
    Say(trickle=30.0),
    Fail(429, "rate_limit_error", "slow down", {"retry-after": "20"}),
)


def stopped(tmp_path: Path, api: ModelServer, wanted: int) -> tuple[str, int]:
    """Start a search by a model alone, stop it once ``wanted`` requests have come; its output, and the requests.

    A process, since a signal stops one. The stub runs no candidate, so it has no sandbox to try.
    """
    process = begin(tmp_path, *BY_A_MODEL, "budget.evaluations=40", f"llm.base_url={api.url}", **KEY)
    seen, until = -1, time.monotonic() + 200
    while (len(api.headers) < wanted or len(api.headers) > seen) and time.monotonic() < until:
        seen = len(api.headers)  # no more come: those that are in flight together have all been sent
        time.sleep(1.0)
    process.send_signal(signal.SIGINT)
    asked = len(api.asked)
    said, errors = process.communicate(timeout=250)
    assert process.returncode == 130, said + errors
    assert "Traceback" not in said + errors
    assert len(api.asked) == asked, "nothing is sent after the stop"
    return said, asked


@pytest.mark.slow
def test_ctrl_c_ends_pauses_and_gives_up_silent_calls(tmp_path: Path) -> None:
    """``communicate`` would wait for the 300 s of ``llm.timeout`` otherwise: the server hangs for 30 s and more.

    Of three requests one gets no answer, one the beginning of an answer, and one is to come again in 20 s.
    """
    with MessagesApi(act=lambda number: SILENT[number % len(SILENT)]) as api:
        said, asked = stopped(tmp_path, api, 2 * len(SILENT))
    assert "Ctrl-C again leaves at once" in said
    assert "Resume with:" in said
    given_up = re.search(r"Given up: (\d+) answers", said)
    assert given_up
    assert int(given_up[1]) == sum(
        isinstance(SILENT[number % len(SILENT)], Hang | Say) for number in range(1, asked + 1)
    )
    archive = tmp_path / "treewright.duckdb"
    left = "(SELECT * FROM llm_requests ANTI JOIN llm_calls USING (request))"
    assert one(archive, f"count(*) FROM {left}") == int(given_up[1]), "counted at the most, as after a kill"
    assert one(archive, "count(*) FROM llm_requests") == asked
    assert one(archive, "count(*) FROM refusals") == 0, "a stop is no refusal of a proposal"
    with MessagesApi() as api:
        words = (*BY_A_MODEL, "budget.evaluations=12", f"llm.base_url={api.url}", "llm.max_dollars=9")
        done = inside.search(tmp_path, *words, **KEY)
        assert done.returncode == 0, done.stdout + done.stderr
    assert sql(archive, "SELECT count(*) AS n FROM nodes")[0]["n"] > 1, "the moves are made after all"


def test_silent_calls_are_waited_for_once() -> None:
    """A search closes its proposals when it stops, and again when everything is put away."""
    answer, clock, any_move = threading.Event(), itertools.count(), cast(Any, None)

    class Silent:
        def propose(self, move: Any, context: Any) -> NoCandidate:
            answer.wait(60)
            return NoCandidate("at last")

    pool = ProposalPool(4, None, lambda: float(next(clock)), lambda: None)
    pool.add(PendingProposal(0, cast(Any, Silent()), any_move, any_move))
    pool.start()
    began = next(clock)
    assert pool.close(lambda: True, lambda: 0, lambda running: None) == 1
    given_up = next(clock)
    assert pool.close(lambda: True, lambda: 0, lambda running: None) == 1
    assert given_up - began > GRACE_SECONDS > next(clock) - given_up
    answer.set()


@pytest.mark.slow
def test_ctrl_c_while_the_service_is_checked(tmp_path: Path) -> None:
    with MessagesApi(listing=Hang()) as api:
        said, asked = stopped(tmp_path, api, 1)
    assert "Stopped before the search began" in said
    assert asked == 0


def one_of(archive: Path, statement: str) -> Any:
    with Archive.open(archive) as opened:
        return opened.query(statement)[0][0]


@pytest.mark.slow
@pytest.mark.parametrize(
    "act",
    [
        pytest.param(Fail(529, "overloaded_error", "busy"), id="529"),
        pytest.param(Fail(503, "x", "down"), id="503", marks=pytest.mark.nightly),
    ],
)
def test_an_outage_is_no_refusal_and_the_moves_are_made_after_it(
    start: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, act: Act
) -> None:
    """Refusals in a row would widen the search, and end it with "nothing new"."""
    monkeypatch.setattr(lookahead, "_PAUSES", (0.01, 0.01))
    with OpenAiApi(act=lambda number: act if 3 < number <= 15 else Say()) as api:
        model = OpenAICompatible(QWEN, base_url=f"{api.url}/v1", key=None, retries=0, timeout=20.0)
        bench = start("operators=llm", "budget.evaluations=8", "claim=null", model=model, concurrency=4)
    archive = tmp_path / "archive.duckdb"
    assert bench.result.finished
    assert one_of(archive, "SELECT count(*) FROM llm_calls WHERE outcome = 'failed'") == 12
    assert one_of(archive, "SELECT count(*) FROM refusals WHERE reason LIKE 'no answer%'") == 0
    assert one_of(archive, "SELECT count(*) FROM events WHERE kind = 'widened'") == 0
    assert one_of(archive, "SELECT count(*) FROM evaluations") == 8


def test_an_outage_without_an_end_ends_a_search_that_has_nothing_else(
    start: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(controller, "LONGEST_OUTAGE", 0.5)
    monkeypatch.setattr(lookahead, "_PAUSES", (0.01, 0.01))
    with MessagesApi(act=lambda number: Fail(529, "overloaded_error", "busy")) as api:
        model = Claude(CLAUDE, base_url=api.url, api_key="sk-x", retries=0, timeout=20.0)
        with pytest.raises(controller.NothingMade, match=r"no candidate was made, since .* 529 busy"):
            start("operators=llm", "budget.evaluations=20", model=model, concurrency=2)


@pytest.mark.slow
@pytest.mark.parametrize("alone", [True, False])
def test_a_setting_that_is_refused_is_tried_twice(start: Callable[..., Any], tmp_path: Path, alone: bool) -> None:
    """A model alone has then made nothing, which is an error."""
    error = pytest.raises(controller.NothingMade, match=r"does not support 0\.7.* Set llm\.temperature=null")
    with OpenAiApi(act=lambda number: Fail(400, "invalid", "'temperature' does not support 0.7")) as api:
        model = OpenAICompatible(QWEN, base_url=f"{api.url}/v1", key=None, temperature=0.7, timeout=20.0)
        words = (f"operators={'llm' if alone else 'auto'}", "budget.evaluations=30", "claim=null")
        with error if alone else nullcontext():
            start(*words, model=model, concurrency=1, stub={"delay": 0.05})
    archive = tmp_path / "archive.duckdb"
    assert len(api.asked) == 2
    assert one_of(archive, "SELECT count(*) FROM events WHERE kind = 'llm_closed' AND message LIKE '%=null%'") == 1
    if not alone:
        assert one_of(archive, "SELECT count(*) FROM evaluations") == 30, "the search goes on without the model"


@pytest.mark.slow
def test_the_bodies_that_are_sent_can_be_read(start: Callable[..., Any]) -> None:
    """A lone surrogate in an answer is repaired before it is quoted in the repair turn, and is billed once."""
    with OpenAiApi() as api:
        odd = api.whole(Say(), "IDEA: \ud83d no edit", 1)
        api.act = lambda number: Raw(json.dumps(odd).encode()) if number == 1 else Say()
        model = OpenAICompatible(QWEN, base_url=f"{api.url}/v1", key=None, stream=False, timeout=20.0)
        bench = start("operators=llm", "budget.evaluations=5", "claim=null", model=model, concurrency=1)
    assert bench.result.finished
    repair = next(body for body in api.asked if len(body["messages"]) > 2)
    assert repair["messages"][2]["content"] == "IDEA: � no edit"
