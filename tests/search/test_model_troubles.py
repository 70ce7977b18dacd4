"""Whole searches whose language model is in trouble: they go on, count what it cost, and lose nothing.

The real SDKs against local servers, the real loop, meter and archive; only the evaluator is a stub.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from messages_api import MODEL as CLAUDE
from messages_api import MessagesApi
from model_server import TOKENS_IN, TOKENS_OUT, Act, Fail, Hang, ModelServer, Raw, Say, an_edit
from openai_api import MODEL as QWEN
from openai_api import OpenAiApi

from archive.storage.store import Archive
from operators.llm.base import LanguageModel
from operators.llm.claude import Claude
from operators.llm.compatible import OpenAICompatible
from search.run.controller import NothingMade

PRICE = {"input": 2, "output": 10}
EACH = (TOKENS_IN * 2 + TOKENS_OUT * 10) / 1e6
MOST = 3
"""Calls at the same time."""
LONG = "IDEA: long\n" + "y = 2\n" * 350_000
TROUBLES: tuple[Act, ...] = (
    Fail(429, "rate_limit_error", "slow down"),
    Fail(429, "rate_limit_error", "slow down", {"retry-after": "0"}),
    Fail(429, "rate_limit_error", "come back tomorrow", {"retry-after": "86400"}),
    Fail(529, "overloaded_error", "busy"),
    Fail(500, "api_error", "oops"),
    Hang(),
    Say(cut=True),
    Raw(b"{not json"),
    Raw(b"<html>a login page</html>", kind="text/html"),
    Raw(None),
    Say(""),
    Say(stop="refusal"),
    Say(an_edit(1, "this line is not there")),
    Say("half of an answer", stop="length"),
    Say(counted=False),
    Say(LONG),
    Fail(400, "invalid_request_error", "prompt is too long"),
)


@pytest.fixture(params=["claude-stream", "claude-whole", "openai-stream", "openai-whole"])
def service(request: pytest.FixtureRequest) -> Iterator[tuple[ModelServer, LanguageModel]]:
    kind, _, way = request.param.partition("-")
    more: Any = {"timeout": 1.5, "retries": 2, "api_key": "sk-x", "stream": way == "stream", "price": PRICE}
    with MessagesApi() if kind == "claude" else OpenAiApi() as api:
        if kind == "claude":
            yield api, Claude(CLAUDE, base_url=api.url, **more)
        else:
            yield api, OpenAICompatible(QWEN, base_url=f"{api.url}/v1", **more)


def one(archive: Path, sql: str) -> Any:
    with Archive.open(archive) as opened:
        return opened.query(sql)[0][0]


def nothing_is_lost(archive: Path, api: ModelServer) -> None:
    """Every request is a row, before and after; every proposal became a node or was refused with a reason.

    But for those that were on their way when the budget was used: their answers are in the books, for a resume.
    """
    assert one(archive, "SELECT count(*) FROM llm_calls") == one(archive, "SELECT count(*) FROM llm_requests")
    assert one(archive, "SELECT count(*) FROM llm_calls") == len(api.asked)
    assert one(archive, "SELECT count(*) FROM llm_requests ANTI JOIN llm_calls USING (request)") == 0
    made = "(SELECT count(*) FROM nodes) + (SELECT count(*) FROM refusals)"
    assert 0 <= one(archive, f"SELECT count(*) - ({made}) FROM moves WHERE kind = 'propose'") <= MOST


@pytest.mark.slow
def test_a_search_with_every_kind_of_trouble_goes_on(
    start: Callable[..., Any], tmp_path: Path, service: tuple[ModelServer, LanguageModel]
) -> None:
    api, model = service
    # Every second answer is fine, so that a repair or another attempt may be.
    api.act = lambda number: Say() if number % 2 else TROUBLES[(number // 2 - 1) % len(TROUBLES)]
    words = ("operators=llm", "claim.candidates=1", "claim.report_seeds=2", "claim.looks=1", "budget.evaluations=34")
    bench = start(*words, model=model, concurrency=MOST)
    archive = tmp_path / "archive.duckdb"
    assert bench.result.finished, bench.result.reason
    # A claim reports on pairs, so one evaluation may be left.
    assert 33 <= one(archive, "SELECT count(*) FROM evaluations") <= 34, bench.result.reason
    assert len(api.asked) >= 2 * len(TROUBLES), "all of them came"
    nothing_is_lost(archive, api)
    # What was named is known, to the token and the cent; what was not is unknown, and counts at the most.
    known = one(archive, "SELECT count(*) FROM llm_calls WHERE dollars > 0")
    assert one(archive, "SELECT sum(dollars) FROM llm_calls") == pytest.approx(EACH * known)
    assert one(archive, "SELECT count(*) FROM llm_calls WHERE outcome = 'refused' AND dollars > 0") >= 1
    assert one(archive, "SELECT count(*) FROM llm_calls WHERE outcome = 'answered' AND tokens_in IS NULL") >= 1
    assert one(archive, "SELECT bool_and(dollars IS NULL) FROM llm_calls WHERE reason LIKE 'Interrupted%'")
    assert one(archive, "SELECT bool_and(dollars = 0) FROM llm_calls WHERE reason LIKE 'Overloaded%'")
    assert one(archive, "SELECT min(charged_dollars) FROM llm_calls WHERE dollars IS NULL") > EACH
    kinds = one(archive, "SELECT count(DISTINCT split_part(reason, ':', 1)) FROM llm_calls WHERE outcome <> 'answered'")
    assert kinds == 5, "Overloaded, Interrupted, AnswerRefused, NoText, RequestRefused"


@pytest.mark.slow
@pytest.mark.parametrize("operators", ["llm", "auto"])
def test_a_quota_that_runs_out_in_the_middle(start: Callable[..., Any], tmp_path: Path, operators: str) -> None:
    """With other operators the search goes on without the model; alone it ends with a reason, and claims."""
    with OpenAiApi() as api:
        out = Fail(429, "insufficient_quota", "You exceeded your current quota")
        api.act = lambda number: Say() if number <= 3 else out
        model = OpenAICompatible(QWEN, base_url=f"{api.url}/v1", api_key="sk-x", timeout=20.0, price=PRICE)
        words = (
            f"operators={operators}",
            "budget.evaluations=30",
            "claim.candidates=1",
            "claim.report_seeds=2",
            "claim.looks=1",
        )
        bench = start(*words, model=model, concurrency=2, stub={"delay": 0.05})
    archive = tmp_path / "archive.duckdb"
    assert bench.result.finished
    nothing_is_lost(archive, api)
    assert 4 <= len(api.asked) <= 5, "those in flight, and no more"
    assert (
        one(archive, "SELECT count(*) FROM events WHERE kind = 'llm_closed' AND message LIKE '%no credit left%'") == 1
    )
    if operators == "auto":
        assert one(archive, "SELECT count(*) FROM evaluations") == 30
    else:
        assert "cannot be asked any more: no credit left" in bench.result.reason
        assert bench.result.verdict is not None


def test_a_model_that_is_never_there_ends_the_search_with_a_reason(start: Callable[..., Any], tmp_path: Path) -> None:
    with MessagesApi() as api:
        api.act = lambda number: Fail(404, "not_found_error", "model: claude-9")
        model = Claude("claude-9", base_url=api.url, api_key="sk-x", timeout=20.0)
        with pytest.raises(NothingMade, match=r"no candidate was made, since .* no model 'claude-9'"):
            start("operators=llm", "budget.evaluations=20", model=model, concurrency=1)
    nothing_is_lost(tmp_path / "archive.duckdb", api)
