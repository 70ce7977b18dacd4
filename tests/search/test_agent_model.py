"""The search's language model as agents ask it: the same caps and records as the operators', nothing paid for twice."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from archive.llm_calls import LlmCall
from archive.records import AGENT, Request
from operators.llm.base import AnswerRefused, BudgetSpent, LlmError, NoText, Overloaded, RequestRefused
from operators.llm.meter import Meter
from operators.llm.scripted import Scripted
from prepare.config import SettingsError
from search.api import Search
from search.run.agent_model import FIRST_TURN, AgentModel
from search.run.engine import SearchStopped
from train.program.model import ModelUnavailable

REQUEST = Request("node", "run", 7, {}, 1, "screen")
YAML = """
name: echo
metric: {name: right, direction: maximise, lower: 0, upper: 1}
workspace: {editable: [agent.py]}
scorer: score.py
seconds: 5
llm: {item: {calls: 2}}
"""
AGENT_PY = "def solve(text, llm):\n    return llm(text)\n"
SCORE = """
import prepare

def cases(split, rng):
    for name in "ab":
        yield {"name": name}

def score(candidate, case):
    attempt = candidate.attempt("solve", case.name, services={"llm": candidate.llm})
    return prepare.graded(attempt, lambda answer: answer == case.name)
"""


def metered(answers: list[str | LlmError], paid: list[LlmCall] | None = None, **caps: Any) -> tuple[Any, list[LlmCall]]:
    calls: list[LlmCall] = []
    meter = Meter(
        Scripted(answers, model="claude-haiku-4-5"),
        **{"max_dollars": 1.0, "max_tokens": 10**6, **caps},
        record=calls.append,
    )
    return AgentModel(meter, "small", lambda run, move: paid or []).session(REQUEST), calls


def test_calls_are_recorded_with_the_move_of_the_evaluation() -> None:
    session, calls = metered(["4", "5"])
    first = session("2 + 2", "be brief")
    assert (first.text, first.refused) == ("4", "")
    assert first.tokens > 0
    assert first.dollars > 0
    session("2 + 3", "")
    assert [(c.run, c.move, c.turn, c.operator) for c in calls] == [
        ("run", 7, FIRST_TURN + 1, AGENT),
        ("run", 7, FIRST_TURN + 2, AGENT),
    ]


def test_an_evaluation_that_is_repeated_pays_for_new_prompts_alone() -> None:
    first, calls = metered(["4", "5"])
    replies = [first("2 + 2", ""), first("2 + 2", "")]
    again, paid = metered(["new"], calls)
    assert [again("2 + 2", ""), again("2 + 2", "")] == replies
    assert again("2 + 2", "").text == "new"
    assert [call.turn for call in paid] == [FIRST_TURN + 3]


@pytest.mark.parametrize(
    ("error", "refused"),
    [(RequestRefused("too long"), "too long"), (AnswerRefused("no"), "no"), (NoText("only reasoning"), "")],
)
def test_what_the_model_refuses_is_the_agents_to_handle(error: LlmError, refused: str) -> None:
    session, _ = metered([error])
    reply = session("prompt", "")
    assert (reply.text, reply.refused) == ("", refused)


@pytest.mark.parametrize("error", [Overloaded("busy"), BudgetSpent("the cap")])
def test_what_is_nobodys_fault_loses_the_evaluation(error: LlmError) -> None:
    session, _ = metered([error])
    with pytest.raises(ModelUnavailable, match=str(error)):
        session("prompt", "")


def test_the_caps_of_the_search_hold_for_agents() -> None:
    session, calls = metered(["4"], max_dollars=0.0001)
    with pytest.raises(ModelUnavailable, match=r"the cap of \$0\.00"):
        session("2 + 2", "")
    assert calls == []


# ---------------------------------------------------------------- whole searches, in real sandboxes


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "echo"
    folder.mkdir()
    for name, text in {"task.yaml": YAML, "agent.py": AGENT_PY, "score.py": SCORE}.items():
        (folder / name).write_text(text)
    return folder


def played(folder: Path, archive: Path, answers: str, *more: str) -> Search:
    overrides = ["llm=scripted", f"llm.answers={answers}", *more]
    search = Search(
        str(folder), operators="numeric", archive=archive, run="r", budget=1, claim=False, overrides=overrides
    )
    try:
        while (request := search.ask()) is not None:
            search.tell(search.evaluate(request))
    except SearchStopped:
        search.close()
        raise
    return search


@pytest.mark.slow
def test_a_search_lends_its_model_records_the_calls_and_names_it_in_the_conditions(
    folder: Path, tmp_path: Path
) -> None:
    with played(folder, tmp_path / "a.duckdb", "[a,x]") as search:
        (evaluation,) = search.tree.evaluations[search.tree.root]
        assert (evaluation.outcome, [case.ending for case in evaluation.cases]) == ("scored", ["right", "wrong"])
        assert "Scripted" in evaluation.conditions.fingerprint
        rows = search.archive.query("SELECT operator, move, answer_sha <> '' FROM llm_calls")
        assert rows == [(AGENT, 0, True)] * 2
        sql = 'SELECT items, "right", wrong, errors, calls, tokens_per_right = tokens FROM items'
        assert search.archive.query(sql) == [(2, 1, 1, 0, 2.0, True)]


@pytest.mark.slow
def test_a_search_whose_agent_cannot_ask_stops_and_resumes_with_what_was_paid(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(SearchStopped, match="the script has no answer"):
        played(folder, tmp_path / "a.duckdb", "[a]")
    with played(folder, tmp_path / "a.duckdb", "[b]") as search:
        assert search.archive.query("SELECT count(*) FROM llm_calls WHERE outcome = 'answered'") == [(2,)]
        assert search.tree.means[0] == 1.0


def test_a_task_without_a_scripted_model_needs_a_live_one(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"ask a live language model, and there is none \(llm=none\)"):
        Search(str(folder), operators="numeric", archive=tmp_path / "a.duckdb", overrides=["llm=none"])
