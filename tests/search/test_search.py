"""The loop, the claim and resume, with a stub for the evaluator and a real archive."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping
from itertools import count, dropwhile, groupby
from pathlib import Path
from typing import Any

import pytest
from model_server import an_edit

from archive.records import Evaluation, Landed, MoveRecord, Replicate
from archive.storage.store import Archive
from operators.llm import base
from operators.llm.base import Answer, Prompt
from operators.llm.scripted import Scripted
from operators.numeric.tune import Tune
from search.run import lookahead, loop
from search.run.engine import Engine, SearchStopped
from train.executors.local import LocalExecutor

Start = Callable[..., Any]


def rows(folder: Path, sql: str, name: str = "archive.duckdb") -> list[tuple[Any, ...]]:
    with Archive.open(folder / name) as archive:
        return archive.query(sql)


def test_a_search_spends_its_budget_and_finds_a_champion(start: Start, tmp_path: Path) -> None:
    bench = start(slots=1)
    assert bench.search.tree.evaluated == 29
    assert bench.result.finished
    assert bench.result.verdict.kind == "champion"
    assert bench.result.verdict.difference.low > 0
    purposes = Counter(e.request.purpose for e in bench.display.landings)
    assert purposes["report"] == 6, "three a side find a lead as clear as this one"
    assert purposes["screen"] > 15, "what a claim of 14 would keep is searched with"
    assert len(bench.search.tree) > 13  # 12 experiments and the root, which was run three times
    assert bench.search.tree.runs[0] == 3
    assert rows(tmp_path, "SELECT kind FROM decisions WHERE kind <> 'leader'") == [("champion",)]


def test_screening_scores_never_enter_the_claim(start: Start) -> None:
    bench = start()
    reported = [e for e in bench.display.landings if e.request.purpose == "report"]
    verdict = bench.result.verdict
    assert sorted(verdict.baseline + verdict.champion) == sorted(e.score for e in reported)


@pytest.mark.slow
def test_no_improvement_is_said_when_there_is_none(start: Start) -> None:
    """With noise far above every effect nobody may be crowned (false positives are simulated elsewhere)."""
    noisy = ("claim.least_power=0", "budget.evaluations=29")
    verdicts = [start(f"seed={n}", f"run=r{n}", *noisy, stub={"noise": 5.0}).result.verdict for n in range(4)]
    assert sum(v.kind == "champion" for v in verdicts) <= 1
    assert any("no improvement beyond noise" in v.reason for v in verdicts)


def test_target_stops_the_search(start: Start) -> None:
    bench = start("budget.target=3.12", "budget.evaluations=200", stub={"noise": 0.0001})
    assert "target" in bench.result.reason
    assert bench.search.tree.evaluated < 60


@pytest.mark.slow
def test_hours_stop_the_search(start: Start) -> None:
    """Whether they leave time for the claim is tested by another clock (test_loop)."""
    bench = start("budget.evaluations=null", "budget.hours=0.001", stub={"delay": 0.05})
    assert bench.result.finished
    assert "The hours for searching are used." in bench.result.reason
    assert bench.search.tree.runs[0] >= 1  # a short budget is searched with, not only set aside


def test_a_small_budget_makes_no_claim_and_says_so(start: Start) -> None:
    bench = start("budget.evaluations=5")
    assert bench.result.verdict is None
    assert "a claim needs at least 4 evaluations" in bench.result.reason
    assert bench.search.tree.evaluated <= 5


def test_failures_are_rows_and_charge_their_parents(start: Start, tmp_path: Path) -> None:
    bench = start(stub={"fail_every": 4, "defect": "File audit.py, line 3\nZeroDivisionError"})
    outcomes = dict(rows(tmp_path, "SELECT outcome, count(*) FROM evaluations GROUP BY outcome"))
    assert outcomes["crashed"] >= 2
    assert rows(tmp_path, "SELECT count(*) FROM evaluations WHERE outcome = 'crashed' AND score IS NOT NULL") == [(0,)]
    events = rows(tmp_path, "SELECT DISTINCT message FROM events WHERE kind = 'defect' AND node_id IS NOT NULL")
    assert events == [("File audit.py, line 3\nZeroDivisionError",)]  # a defect of the evaluator is not hidden
    tree = bench.search.tree
    for node in tree.nodes[1:]:
        if not tree.runs[tree.index[node.node_id]]:
            assert all(tree.visits[tree.index[parent]] >= 1 for parent in node.parents)


def test_a_seed_program_that_fails_stops_the_search_with_its_traceback(start: Start) -> None:
    with pytest.raises(SearchStopped) as caught:
        start("run=night", stub={"fail_every": 1})
    assert "the seed program did not get a score (crashed: the stub was told to fail)" in str(caught.value)
    assert "Traceback\nOops" in str(caught.value)
    assert not set(str(caught.value)) & {"\x1b", "\x07"}
    with pytest.raises(SearchStopped, match="seed program"):  # and a resume does not go on without a root
        start("run=night")


def test_lost_trainings_are_run_again_and_charge_nobody(start: Start, tmp_path: Path) -> None:
    with pytest.raises(SearchStopped, match="lost 3 times"):
        start(stub={"fail_every": 3, "outcome": "lost"})
    assert rows(tmp_path, "SELECT count(*) FROM evaluations WHERE outcome = 'lost'")[0][0] >= 3


# ---------------------------------------------------------------- slots and a language model


class Author(Scripted):
    """A model whose edits apply to any program, no two alike; it remembers how many calls were in flight at most."""

    def __init__(self, **options: Any) -> None:
        numbers = count(1)
        super().__init__(lambda prompt: an_edit(next(numbers)), **options)
        self.most = 0
        self._flying = 0
        self._flying_lock = threading.Lock()

    def complete(self, prompt: Prompt) -> Answer:
        with self._flying_lock:
            self._flying += 1
            self.most = max(self.most, self._flying)
        try:
            return super().complete(prompt)
        finally:
            with self._flying_lock:
                self._flying -= 1


@pytest.fixture
def at_record(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, int]]:
    """(purpose, evaluations in flight) whenever an evaluation is about to be recorded."""
    seen: list[tuple[str, int]] = []
    real = Engine.tell

    def tell(self: Engine, evaluation: Evaluation) -> None:
        executor: Any = self.wake.__self__  # type: ignore[attr-defined]
        seen.append((evaluation.request.purpose, executor.in_flight))
        real(self, evaluation)

    monkeypatch.setattr(Engine, "tell", tell)
    return seen


@pytest.fixture
def patient_slots(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let an evaluation land once all is committed and a proposal is ready or none is pending, on any machine."""
    engines: list[Engine] = []
    start, wait = Engine.start, LocalExecutor.wait

    def began(self: Engine, files: Mapping[str, str]) -> None:
        engines.append(self)
        start(self, files)

    def patient(self: LocalExecutor, seconds: float) -> list[Landed]:
        engine = engines[-1]
        if not engine.archive.is_flushed or (engine.pending and not engine.ready):
            time.sleep(0.001)
            return []
        return wait(self, seconds)

    monkeypatch.setattr(Engine, "start", began)
    monkeypatch.setattr(LocalExecutor, "wait", patient)


@pytest.mark.slow
@pytest.mark.usefixtures("patient_slots")
def test_a_freed_slot_is_fed_before_what_landed_is_recorded(start: Start, at_record: list[tuple[str, int]]) -> None:
    bench = start("operators=llm", "claim.looks=1", "budget.evaluations=20", slots=1, model=Author())
    assert 18 <= bench.search.tree.evaluated <= 20
    screenings = [in_flight for purpose, in_flight in at_record if purpose == "screen"]
    assert screenings[:2] == [1, 1], "the replicates were chosen while the root was trained"
    assert sum(screenings) >= len(screenings) - 3
    assert screenings[-1] == 0, "nothing more is started than the budget of the search pays for"


@pytest.mark.slow
@pytest.mark.usefixtures("patient_slots")
def test_a_target_is_looked_at_before_anything_more_is_started(start: Start, at_record: list[tuple[str, int]]) -> None:
    start("operators=llm", "budget.target=1.0", slots=1, model=Author())
    assert {in_flight for _, in_flight in at_record} == {0}


def test_an_answer_is_taken_up_as_it_comes(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    """With a patience of 20 s between looks, a slot would wait for an answer that had long been there."""
    idle = []
    wait = LocalExecutor.wait

    def patient(self: LocalExecutor, seconds: float) -> list[Evaluation]:
        began = time.monotonic()
        landed = wait(self, seconds)
        if 1 < seconds <= time.monotonic() - began:
            idle.append(seconds)
        return landed

    monkeypatch.setattr(loop, "_PATIENCE", 20.0)
    monkeypatch.setattr(LocalExecutor, "wait", patient)
    bench = start("operators=llm", "budget.evaluations=7", model=Author(latency=0.05), stub={"delay": 0.01})
    assert bench.search.tree.evaluated == 7
    assert idle == []


@pytest.mark.slow
def test_a_slow_model_is_asked_for_more_at_once_but_never_for_more_than_allowed(start: Start) -> None:
    stub = {"delay": 0.02}
    slow = Author(latency=0.2)
    start("operators=llm", "budget.evaluations=30", slots=1, model=slow, stub=stub)
    assert slow.most > 4
    few = Author(latency=0.2)
    bench = start("operators=llm", "budget.evaluations=24", "run=few", slots=1, model=few, stub=stub, concurrency=3)
    assert few.most == 3
    assert bench.display.pending == 3, "what could not be asked for yet is not chosen yet"


def test_no_answer_is_bought_that_the_budget_cannot_try(start: Start) -> None:
    model = Author(latency=0.1)
    picky = ("hybrid", "simplify", "draft", "crossover")  # they want other answers than this model gives
    others = (f"operators.{name}.weight=0" for name in picky)
    bench = start("operators=llm", *others, "budget.evaluations=20", model=model, stub={"delay": 0.02})
    assert len(model.prompts) == len(bench.search.tree) - 1


def test_a_cap_is_no_reason_for_refusals_while_calls_are_in_flight(start: Start, tmp_path: Path) -> None:
    """The cap leaves room for two calls at a time, where more are wanted. Refusals in a row would stop the search."""
    model = Author(model="claude-sonnet-5-5", latency=0.1)
    bench = start("operators=llm", "budget.evaluations=12", slots=2, model=model, dollars=0.12, stub={"delay": 0.01})
    assert model.most == 2
    assert bench.search.tree.evaluated > 3
    assert rows(tmp_path, "SELECT reason FROM refusals WHERE reason LIKE '%in flight%'") == []


@pytest.mark.slow
def test_dollars_end_a_search_and_what_they_have_bought_is_tried(start: Start, tmp_path: Path) -> None:
    model = Author(model="claude-sonnet-5-5", latency=0.05)
    words = ("operators=llm", "budget.dollars=0.15", "run=night")
    bench = start(*words, slots=2, model=model, dollars=0.15, stub={"delay": 0.01})
    assert bench.result.reason.startswith("The dollars for searching are used (budget.dollars=0.15): the cap")
    assert bench.result.verdict is not None
    assert 0.05 < rows(tmp_path, "SELECT sum(dollars) FROM llm_calls")[0][0] <= 0.15
    assert bench.search.tree.open_moves == {}, "nothing that was paid for was left untried"
    again = start(*words, slots=2, model=model, dollars=0.15)
    assert again.evaluator.asked == [], "what earlier sessions spent counts"
    assert again.result.verdict == bench.result.verdict


@pytest.mark.slow
def test_a_service_that_is_busy_for_a_while_does_not_stop_a_search_that_lives_on_it(
    start: Start, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An outage is no refusal: the moves stay open, and are made once the service answers."""
    monkeypatch.setattr(lookahead, "_PAUSES", (0.5, 0.5))
    over, end = threading.Event(), threading.Event()

    class Overloaded(Author):
        def complete(self, prompt: Prompt) -> Answer:
            if not over.is_set():
                over.set()
                threading.Timer(3.0, end.set).start()
            if not end.is_set():
                raise base.Overloaded("try again later")
            return super().complete(prompt)

    bench = start("operators=llm", "budget.evaluations=7", model=Overloaded())
    assert bench.search.tree.evaluated == 7
    assert rows(tmp_path, "SELECT count(*) FROM refusals WHERE reason LIKE 'no answer%'") == [(0,)]
    ((failed,),) = rows(tmp_path, "SELECT count(*) FROM llm_calls WHERE reason LIKE 'Overloaded%'")
    assert failed >= 1
    assert len([line for line in bench.display.lines if "is not available and is asked again" in line]) == 1


@pytest.mark.slow
def test_other_operators_feed_a_slot_that_a_model_keeps_waiting(
    start: Start, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The model answers once three numbers were tuned meanwhile."""
    tuned, fed, tell = [], threading.Event(), Engine.tell

    def counted(self: Engine, evaluation: Evaluation) -> None:
        tell(self, evaluation)
        if self.tree[evaluation.request.node_id].candidate.operator == "tune":
            tuned.append(evaluation)
        if len(tuned) >= 3:
            fed.set()

    class Waiting(Author):
        def complete(self, prompt: Prompt) -> Answer:
            fed.wait(200)
            return super().complete(prompt)

    monkeypatch.setattr(Engine, "tell", counted)
    seldom = ("operators.tune.weight=0.001", "operators.crossover.weight=0.001")
    start("operators=all", "budget.evaluations=40", *seldom, model=Waiting(), stub={"delay": 0.02})
    assert fed.is_set()
    made = dict(rows(tmp_path, "SELECT operator, count(*) FROM nodes GROUP BY operator"))
    assert made["tune"] >= 3


# ---------------------------------------------------------------- resume


@pytest.mark.slow
def test_a_stopped_search_goes_on_where_it_was(start: Start, tmp_path: Path) -> None:
    first = start("run=night", stop_after=7)
    assert not first.result.finished
    known = rows(tmp_path, "SELECT node_id, seed, purpose, score FROM evaluations ORDER BY ALL")
    second = start("run=night")
    assert second.opened.resumed
    assert second.result.finished
    after = rows(tmp_path, "SELECT node_id, seed, purpose, score FROM evaluations ORDER BY ALL")
    assert len(after) == 29
    assert set(known) <= set(after)
    assert rows(tmp_path, "SELECT count(*) FROM (SELECT DISTINCT node_id, seed, purpose FROM evaluations)") == [(29,)]
    # What was chosen before the stop was trained, not chosen anew: every move has exactly one outcome.
    assert rows(
        tmp_path,
        "SELECT count(*) FROM moves WHERE move NOT IN (SELECT move FROM evaluations UNION SELECT move FROM refusals)",
    ) == [(0,)]


@pytest.mark.slow
def test_with_one_slot_a_resumed_search_makes_the_same_moves(start: Start, tmp_path: Path) -> None:
    start("run=night", slots=1, name="whole.duckdb")
    start("run=night", slots=1, name="parts.duckdb", stop_after=9)
    start("run=night", slots=1, name="parts.duckdb")
    ask = (
        "SELECT move, kind, moves.operator, purpose, seed, idea FROM moves LEFT JOIN nodes USING (run, move) "
        "ORDER BY move"
    )
    whole, parts = (rows(tmp_path, ask, f"{name}.duckdb") for name in ("whole", "parts"))
    assert whole == parts


def purposes_after(bench: Any, landed: int) -> Counter[str]:
    """What the evaluations after the first ``landed`` ones were for."""
    found = sorted((e for each in bench.search.tree.evaluations.values() for e in each), key=lambda e: e.request.move)
    return Counter(evaluation.request.purpose for evaluation in found[landed:])


@pytest.mark.slow
def test_budgets_may_grow_on_resume_and_a_second_claim_follows(start: Start, tmp_path: Path) -> None:
    start("run=night")
    bench = start("run=night", "budget.evaluations=60")
    assert 57 <= bench.search.tree.evaluated <= 60, "all but what is too little for one more finalist"
    assert "claim 2 of this run" in bench.result.verdict.reason
    assert purposes_after(bench, 29)["screen"] >= 15, "at least half of what was added"
    kinds = rows(tmp_path, "SELECT count(*) FROM decisions WHERE kind <> 'leader'")
    assert kinds == [(2,)]


@pytest.mark.slow
@pytest.mark.parametrize("added", [1, 5, 7, 11])
def test_what_is_added_to_a_budget_buys_experiments_first(start: Start, added: int) -> None:
    before = start("run=night")
    first = before.search.tree.evaluated
    bench = start("run=night", f"budget.evaluations={29 + added}")
    bought = purposes_after(bench, first)
    assert 27 + added <= bench.search.tree.evaluated <= 29 + added
    assert bought["screen"] >= (added + 1) // 2
    if not bought["report"]:
        assert "no" in bench.result.reason
        assert bench.result.standing.node_id == before.result.verdict.node_id


@pytest.mark.slow
def test_a_larger_budget_completes_a_claim_that_was_killed_before_it_searches_on(start: Start, tmp_path: Path) -> None:
    start("run=night", stop_after=25)
    bench = start("run=night", "budget.evaluations=50")
    assert rows(tmp_path, "SELECT count(*) FROM decisions WHERE kind <> 'leader'") in ([(1,)], [(2,)])
    assert 47 <= bench.search.tree.evaluated <= 50
    assert not bench.search.tree.open_moves
    order = "SELECT purpose = 'screen' AS s FROM evaluations WHERE run = 'night' ORDER BY move"
    stages = [s for (s,) in rows(tmp_path, order)]
    assert [key for key, _ in groupby(stages)][:3] == [True, False, True]
    assert len(list(dropwhile(bool, stages))) > 14


@pytest.mark.slow
def test_a_claim_of_little_power_is_not_begun_and_its_share_is_searched_with(start: Start, tmp_path: Path) -> None:
    """With this seed: with others, luck shows a lead that a claim would confirm or not."""
    words, noisy = ("run=night", "seed=5"), {"noise": 5.0}
    bench = start(*words, stub=noisy)
    assert bench.search.tree.evaluated == 29
    assert purposes_after(bench, 0) == {"screen": 29}
    assert "no claim was begun: with 4 fresh seeds a side" in bench.result.reason
    assert "claim.least_power=0" in bench.result.reason
    again = start(*words, stub=noisy)
    assert again.evaluator.asked == []
    events = "SELECT kind, count(*) FROM events WHERE kind IN ('searched', 'no_claim') GROUP BY ALL ORDER BY ALL"
    assert rows(tmp_path, events) == [("no_claim", 1), ("searched", 1)]
    willing = start(*words, "claim.least_power=0", "budget.evaluations=43", stub=noisy)
    assert willing.result.verdict is not None


@pytest.mark.slow
def test_what_a_claim_does_not_need_is_searched_with(start: Start) -> None:
    """Nothing is better than the root, so nothing can be claimed."""
    bench = start("run=night", stub={"noise": 0.0, "effect": 0.0})
    assert purposes_after(bench, 0) == {"screen": 29}
    assert bench.result.verdict.code == "none_better"


@pytest.mark.slow
def test_claim_off_leaves_the_claim_out(start: Start) -> None:
    for word in ("claim=off", "claim=null"):
        bench = start(f"run={word[6:]}", word)
        assert purposes_after(bench, 0) == {"screen": 29}
        assert (bench.result.verdict, bench.result.standing) == (None, None)


@pytest.mark.slow
def test_a_finished_run_started_again_spends_nothing_and_says_the_same(start: Start, tmp_path: Path) -> None:
    first = start("run=night")
    second = start("run=night")
    assert second.evaluator.asked == []
    assert second.result.verdict == first.result.verdict
    assert rows(tmp_path, "SELECT count(*) FROM decisions WHERE kind <> 'leader'") == [(1,)]
    assert rows(tmp_path, "SELECT count(*) FROM events WHERE kind = 'searched'") == [(1,)]
    start("run=night", "budget.evaluations=60")
    start("run=night", "budget.evaluations=60")
    assert rows(tmp_path, "SELECT count(*) FROM events WHERE kind = 'searched'") == [(2,)], "one for each end"


def test_a_run_too_small_for_a_claim_says_so_once(start: Start, tmp_path: Path) -> None:
    for _ in range(3):
        start("run=night", "budget.evaluations=3")
    ends = "SELECT kind, count(*) FROM events WHERE kind IN ('searched', 'no_claim') GROUP BY ALL ORDER BY kind"
    assert rows(tmp_path, ends) == [("no_claim", 1), ("searched", 1)]


@pytest.mark.slow
@pytest.mark.parametrize("then", ["budget.evaluations=60", "claim=null"])
def test_what_a_killed_claim_had_chosen_does_not_stay_open(start: Start, tmp_path: Path, then: str) -> None:
    root = start("run=night", stop_after=25).search.tree.root
    with Archive.open(tmp_path / "archive.duckdb") as archive:  # a kill between the choice and the evaluation
        ((last,),) = archive.query("SELECT max(move) FROM moves")
        archive.choose(MoveRecord("night", last + 1, Replicate(root, "report"), 1))
    bench = start("run=night", then)
    closed = (
        "SELECT count(*) FROM moves WHERE move NOT IN (SELECT move FROM evaluations UNION SELECT move FROM refusals)"
    )
    assert rows(tmp_path, closed) == [(0,)]
    assert not bench.search.tree.open_moves
    withdrawn = "SELECT move, purpose FROM refusals JOIN moves USING (run, move) WHERE refusals.operator = 'withdrawn'"
    assert ((last + 1, "report") in rows(tmp_path, withdrawn)) == (then == "claim=null"), "else the claim is completed"
    assert {purpose for _, purpose in rows(tmp_path, withdrawn)} <= {"confirm", "report"}
    assert rows(tmp_path, "SELECT count(*) FROM operator_stats WHERE operator = 'withdrawn'") == [(0,)]


@pytest.mark.slow
def test_a_stop_in_the_middle_of_the_claim_resumes_the_claim(start: Start) -> None:
    start("run=night", stop_after=20)
    bench = start("run=night")
    assert bench.result.verdict is not None
    assert bench.search.tree.evaluated == 29


def test_an_operator_that_stumbles_refuses_and_the_search_goes_on(
    start: Start, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stumble(self: Tune, move: Any, context: Any) -> Any:
        raise OverflowError("int too large")

    monkeypatch.setattr(Tune, "propose", stumble)
    bench = start("operators=tune", slots=1)
    assert "refused" in bench.result.reason or bench.search.stopped is not None
    reasons = rows(tmp_path, "SELECT DISTINCT reason FROM refusals")
    assert reasons == [("the operator tune failed on it: OverflowError: int too large",)]


def test_runs_get_new_names(start: Start, tmp_path: Path) -> None:
    start("budget.evaluations=5")
    start("budget.evaluations=5")
    assert rows(tmp_path, "SELECT run FROM runs ORDER BY run") == [("shakespeare-1",), ("shakespeare-2",)]
