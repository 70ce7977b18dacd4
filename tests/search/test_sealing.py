"""Claims in two halves: no judgement before all trainings of its stage, in one session and across several.

Everything is real but the evaluations and their clock. A session that is left without being closed in order is one that
was killed: what it had recorded is durable, what it had not is gone.
"""

from __future__ import annotations

import pickle
import shutil
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

import search
from archive.query.query import open_reader
from archive.query.verify import verify
from archive.records import Failed, Landed, Outcome, Request, Resources, Scored, Trained
from search.function_task import FunctionEvaluator
from search.run.controller import RunResult
from search.run.engine import SearchStopped
from train.hardware.slots import Slot

ROOMY = {"budget": {"evaluations": 60, "target": 0.01}}
"""The search ends early, so that the claim can pay for repeats."""
BUDGET = 29  # 15 screenings, 6 confirmations of 3 finalists, 4 reports of each side in a single look
TASK = search.OwnTask(
    lambda request: 0.0, "X = 1.0  # tune: 0.001..10 log\n", direction="minimise", name="halves", seconds=10.0
)
HERE = FunctionEvaluator(TASK).conditions(Slot(index=0, device="cpu", gpu=None, cores=(), threads=1))
TAKES = {"train": 10.0, "score": 2.0}
PHASES_OF = {"whole": ("train", "score"), "train": ("train",), "judge": ("score",)}


def score(request: Request) -> float:
    values: dict[str, Any] = {}
    exec(request.files["train.py"], values)
    return float(values["X"]) ** 2 + (request.seed % 1000) * 1e-6


def half_of(request: Request) -> str:
    return "train" if request.seal else "judge" if request.trained is not None else "whole"


def evaluated(request: Request, outcome: Outcome | None = None) -> Landed:
    """Either half, or a whole screening; ``outcome``: of a failure."""
    half = half_of(request)
    phases = {name: TAKES[name] for name in PHASES_OF[half]}
    common: dict[str, Any] = {
        "request": request, "conditions": HERE, "resources": Resources(10.0, {"launch": 1.0, **phases}, 5.0, 100.0),
        "trust": "audited", "sandbox": "bwrap", "device": "cpu", "started_at": 100.0, "finished_at": 110.0,
    }  # fmt: skip
    if outcome is not None:
        return Failed(**common, outcome=outcome, reason="as was told")
    if half == "train":
        return Trained(**common, state=repr((request.node_id, request.seed)).encode(), metrics={"parameters": 7.0})
    if request.trained is not None:
        assert request.trained.state == repr((request.node_id, request.seed)).encode(), "another one's state"
        pickle.dumps(request.trained)  # it travels to workers
    return Scored(**common, score=score(request), metrics={"windows": 3.0})


@dataclass
class Session:
    """One session on made-up slots: ``issued`` and ``told`` are in the order in which they came."""

    path: Path
    slots: int = 2
    fails: Callable[[Request], Outcome | None] = lambda request: None
    overrides: dict[str, Any] = field(default_factory=dict)
    issued: list[Request] = field(default_factory=list)
    told: list[Landed] = field(default_factory=list)

    def play(self, until: Callable[[Session], bool] = lambda session: False) -> RunResult | None:
        """Play to the end, or until it is killed; None then."""
        settings = {"run": "night", "budget": BUDGET, "overrides": ["claim.looks=1"], **self.overrides}
        with search.Search(TASK, operators="tune", archive=self.path, **settings) as self.search:
            flying: list[Request] = []
            while True:
                while len(flying) < self.slots and (request := self.search.ask(self.slots - len(flying))) is not None:
                    self._check(request, flying)
                    flying.append(request)
                    self.issued.append(request)
                if not flying:
                    return self.search.result
                if until(self):
                    return None
                request = flying.pop(0)
                landed = self.landed(request, self.fails(request))
                self.search.tell(landed)
                self.told.append(landed)

    def landed(self, request: Request, outcome: Outcome | None) -> Landed:
        return evaluated(request, outcome)

    def _check(self, request: Request, flying: list[Request]) -> None:
        """The wall itself: while anything of a stage is to be trained, nothing of it is shown."""
        tree = self.search.tree
        if half_of(request) == "judge":
            stage = [n for n, record in tree.moves.items() if getattr(record.move, "purpose", "") == request.purpose]
            untrained = {n for n in stage if n in tree.open_moves} - tree.trained
            assert not untrained, "something of this stage is not trained yet"
            assert not any(half_of(other) == "train" for other in flying)
            assert request.position_key
        else:
            assert not request.position_key or request.purpose == "screen", "a training that knows the judged set"
            assert request.move not in tree.trained, "trained again, although it is sealed"

    def halves(self, purpose: str) -> list[str]:
        return [half_of(request) for request in self.issued if request.purpose == purpose]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "a.duckdb"


def states(path: Path) -> list[Path]:
    """In the order of their moves."""
    return sorted(Path(f"{path}.states").glob("*.safetensors"), key=lambda file: int(file.stem.partition("-")[2]))


def verdicts(path: Path) -> list[Any]:
    return open_reader(path).query("SELECT kind, detail FROM decisions WHERE kind <> 'leader'").rows


def rows_are_in_order(path: Path) -> None:
    """What can be shown to anybody afterwards: by the rows alone, nothing was judged before all was trained."""
    reader = open_reader(path)
    late = reader.query(
        "WITH halves AS (SELECT m.purpose, t.arrival AS sealed, j.arrival AS began, "
        "(SELECT count(*) FROM moves AS s WHERE s.purpose = 'screen' AND s.move < m.move) AS claim "
        "FROM moves AS m JOIN trainings AS t USING (run, move) LEFT JOIN judgements AS j USING (run, move)) "
        "SELECT purpose FROM halves GROUP BY claim, purpose HAVING max(sealed) > min(began)"
    ).rows
    assert late == []
    assert not verify(reader).rows


# ---------------------------------------------------------------- one session


@pytest.mark.slow
@pytest.mark.parametrize("slots", [1, 2, 5])
def test_all_trainings_of_a_stage_come_before_its_first_judgement(path: Path, slots: int) -> None:
    session = Session(path, slots)
    result = session.play()
    assert session.halves("confirm") == ["train"] * 6 + ["judge"] * 6
    assert session.halves("report") == ["train"] * 8 + ["judge"] * 8
    assert set(session.halves("screen")) == {"whole"}
    assert result is not None
    assert result.verdict is not None
    assert (result.verdict.kind, len(result.verdict.champion)) == ("champion", 4)
    assert len(open_reader(path).query("FROM evaluations").rows) == BUDGET, "each evaluation counts once"
    rows_are_in_order(path)


def test_no_slot_is_idle_while_something_is_to_be_trained(path: Path) -> None:
    session = Session(path, slots=3)
    flying_at: list[tuple[str, int]] = []
    session.play(lambda s: flying_at.append((half_of(s.issued[-1]), len(s.issued) - len(s.told))) or False)
    trainings = [count for half, count in flying_at if half == "train"]
    assert trainings.count(3) >= len(trainings) - 4, "only the last ones of the two stages may leave a slot empty"


@pytest.mark.slow
def test_both_halves_are_one_row(path: Path) -> None:
    Session(path).play()
    reader = open_reader(path)
    columns = "wall_seconds, phases, cpu_seconds, metrics"
    found = reader.query(f"SELECT DISTINCT {columns} FROM evaluations WHERE purpose = 'report'")
    ((wall, phases, cpu, metrics),) = found.rows
    assert (wall, cpu) == (14.0, 10.0)
    assert phases == '{"launch": 2.0, "train": 10.0, "score": 2.0}'
    assert metrics == '{"parameters": 7.0, "windows": 3.0}'


def test_the_states_are_removed_after_the_verdict(path: Path) -> None:
    session, most = Session(path), 0

    def watch(session: Session) -> bool:
        nonlocal most
        most = max(most, len(states(path)))
        return False

    session.play(watch)
    assert most >= 8
    assert verdicts(path)
    assert not Path(f"{path}.states").exists()


def test_without_a_claim_nothing_is_sealed(path: Path) -> None:
    session = Session(path, overrides={"claim": False})
    session.play()
    assert {half_of(request) for request in session.issued} == {"whole"}
    assert not Path(f"{path}.states").exists()


def test_the_tree_keeps_no_states(path: Path) -> None:
    session = Session(path)
    session.play()
    kept = [e.request for each in session.search.tree.evaluations.values() for e in each]
    assert all(request.trained is None for request in kept)


# ---------------------------------------------------------------- failures


def nth(purpose: str, half: str, *numbers: int, outcome: Outcome = "crashed") -> Callable[[Request], Outcome | None]:
    """Fails the evaluations of these numbers among those of a purpose and half, from 0."""
    seen: dict[tuple[str, str], int] = {}

    def fails(request: Request) -> Outcome | None:
        key = (request.purpose, half_of(request))
        seen[key] = seen.get(key, -1) + 1
        return outcome if key == (purpose, half) and seen[key] in numbers else None

    return fails


@pytest.mark.slow
def test_a_failed_training_is_replaced_before_anything_is_judged(path: Path) -> None:
    """Another finalist is trained in its place; the failed one's other training is not judged any more."""
    session = Session(path, slots=1, fails=nth("confirm", "train", 0))
    result = session.play()
    halves = session.halves("confirm")
    assert halves == sorted(halves, reverse=True), "trainings first"
    failed = session.told[[half_of(r) for r in session.issued].index("train")].request.node_id
    assert not any(r.node_id == failed and half_of(r) == "judge" for r in session.issued)
    assert result is not None
    assert result.verdict is not None
    assert result.verdict.kind == "champion"
    rows_are_in_order(path)


def test_a_root_training_that_fails_is_repeated_before_anything_is_judged(path: Path) -> None:
    session = Session(path, slots=1, fails=nth("report", "train", 1), overrides=ROOMY)
    result = session.play()
    assert result is not None
    assert result.verdict is not None
    assert "the root failed 1 of its report runs" in result.verdict.reason
    halves = session.halves("report")
    assert halves == ["train"] * halves.count("train") + ["judge"] * halves.count("judge")
    assert len(result.verdict.baseline) == len(result.verdict.champion)
    rows_are_in_order(path)


def test_what_fails_when_it_is_judged_is_neither_replaced_nor_repeated(path: Path) -> None:
    """A nominee that fails there ends the claim: a stand-in would be trained after the holdout was shown."""
    session = Session(path, slots=1, fails=nth("report", "judge", 0), overrides=ROOMY)
    result = session.play()
    assert result is not None
    assert result.verdict is not None
    assert (result.verdict.kind, result.verdict.code) == ("no_champion", "no_finalist")
    assert "no finalist is left whose training was done before" in result.verdict.reason
    halves = session.halves("report")
    assert halves == ["train"] * (len(halves) - 1) + ["judge"]
    assert not Path(f"{path}.states").exists()
    rows_are_in_order(path)
    again = Session(path, overrides=ROOMY)
    assert again.play() is not None
    assert (again.issued, len(verdicts(path))) == ([], 1)


def test_a_root_that_fails_when_it_is_judged_leaves_the_others_scores(path: Path) -> None:
    session = Session(path, slots=1, fails=nth("report", "judge", 1), overrides=ROOMY)
    result = session.play()
    assert result is not None
    assert result.verdict is not None
    assert len(result.verdict.champion) - len(result.verdict.baseline) == 1
    rows_are_in_order(path)


def test_a_finalist_that_fails_its_confirmation_is_out(path: Path) -> None:
    session = Session(path, slots=1, fails=nth("confirm", "judge", 0))
    result = session.play()
    assert session.halves("confirm") == ["train"] * 6 + ["judge"] * 5, "its other training need not be judged"
    assert result is not None
    assert result.verdict is not None
    assert result.verdict.kind == "champion"
    rows_are_in_order(path)


@pytest.mark.parametrize("half", ["train", "judge"])
def test_a_lost_half_is_made_again(path: Path, half: str) -> None:
    session = Session(path, slots=2, fails=nth("report", half, 0, 2, outcome="lost"))
    result = session.play()
    assert session.halves("report").count(half) == 10
    assert result is not None
    assert result.verdict is not None
    assert len(result.verdict.baseline) == len(result.verdict.champion) == 4
    rows_are_in_order(path)


def test_a_judgement_that_is_always_lost_stops_the_search(path: Path) -> None:
    with pytest.raises(SearchStopped, match="lost 3 times"):
        Session(path, slots=1, fails=nth("report", "judge", 0, 1, 2, outcome="lost")).play()
    assert len(states(path)) == 14, "nothing that was trained is lost"


# ---------------------------------------------------------------- several sessions


def stages(session: Session, purpose: str, half: str) -> int:
    return sum((each.request.purpose, half_of(each.request)) == (purpose, half) for each in session.told)


@pytest.mark.slow
@pytest.mark.parametrize("purpose", ["confirm", "report"])
@pytest.mark.parametrize(("half", "number"), [("train", 1), ("train", 5), ("train", 6), ("judge", 1), ("judge", 3)])
def test_a_killed_claim_resumes_and_trains_nothing_twice(path: Path, purpose: str, half: str, number: int) -> None:
    first = Session(path)
    assert first.play(lambda s: stages(s, purpose, half) >= number) is None
    second = Session(path)
    result = second.play()
    assert result is not None
    assert result.verdict is not None
    assert len(result.verdict.champion) == 4
    landed = [*first.told, *second.told]
    keys = [(e.request.node_id, e.request.seed, half_of(e.request)) for e in landed]
    assert len(keys) == len(set(keys)) == 15 + 2 * 14
    rows_are_in_order(path)
    assert not Path(f"{path}.states").exists()


@pytest.mark.slow
def test_a_search_killed_again_and_again_ends_as_one_that_was_not(path: Path, tmp_path: Path) -> None:
    told: list[Landed] = []
    for _ in range(20):
        session = Session(path)
        result = session.play(lambda s: len(s.told) >= 5)
        told += session.told
        if result is not None:
            break
    other = tmp_path / "other.duckdb"
    whole = Session(other)
    assert whole.play() is not None
    assert [kind for kind, _ in verdicts(path)] == [kind for kind, _ in verdicts(other)]
    assert len(told) == len(whole.told)
    rows_are_in_order(path)


@pytest.mark.slow
def test_a_changed_state_is_refused_and_trained_anew_while_nothing_was_judged(path: Path) -> None:
    Session(path, overrides=ROOMY).play(lambda s: stages(s, "report", "train") >= 6)
    changed, missing = states(path)[-2:]
    changed.write_bytes(changed.read_bytes()[:-1] + b"x")
    missing.unlink()
    second = Session(path, overrides=ROOMY)
    result = second.play()
    assert result is not None
    assert result.verdict is not None
    assert len(result.verdict.baseline) == len(result.verdict.champion) >= 4, "others were trained in their place"
    withdrawn = open_reader(path).query("SELECT reason FROM refusals WHERE operator = 'withdrawn'").rows
    assert len(withdrawn) == 2
    assert "was changed" in withdrawn[0][0]
    rows_are_in_order(path)


@pytest.mark.slow
def test_a_state_changed_after_the_first_judgement_is_left_out(path: Path) -> None:
    """A new training would come after the holdout was shown: the claim is decided by fewer seeds."""
    Session(path, slots=1, overrides=ROOMY).play(lambda s: stages(s, "report", "judge") >= 1)
    states(path)[-1].write_bytes(b"something else")
    second = Session(path, overrides=ROOMY)
    result = second.play()
    assert "train" not in second.halves("report")
    assert result is not None
    assert result.verdict is not None
    assert len(result.verdict.baseline) + len(result.verdict.champion) == 7
    rows_are_in_order(path)


@pytest.mark.slow
def test_a_backup_without_its_states_trains_again(path: Path) -> None:
    Session(path, overrides=ROOMY).play(lambda s: stages(s, "report", "train") >= 6)
    shutil.rmtree(f"{path}.states")
    second = Session(path, overrides=ROOMY)
    result = second.play()
    assert result is not None
    assert result.verdict is not None
    assert len(result.verdict.champion) >= 4
    rows_are_in_order(path)


@pytest.mark.slow
def test_a_grown_budget_trains_nothing_more_once_something_was_judged(path: Path) -> None:
    Session(path).play(lambda s: stages(s, "report", "judge") >= 1)
    second = Session(path, overrides={"budget": 200})
    second.play(lambda s: s.search.archive.last_verdict("night") is not None)
    first_claim = [r for r in second.issued if r.purpose == "report" and r.move < 15 + 14]
    assert all(half_of(r) == "judge" for r in first_claim)
    rows_are_in_order(path)


def test_trainings_of_a_claim_that_the_search_has_left_behind_are_withdrawn(path: Path) -> None:
    """Sealed under other conditions: they are not judged, and their states are removed."""
    Session(path).play(lambda s: stages(s, "report", "train") >= 6)
    assert len(states(path)) >= 6
    with search.Search(TASK, operators="tune", archive=path, run="night", budget=BUDGET) as s:
        s.begin()
        s.engine.withdraw_claim()
        assert s.engine.ask_judgement() is None
        assert not Path(f"{path}.states").exists()


def test_a_state_of_other_conditions_is_not_judged(path: Path) -> None:
    Session(path).play(lambda s: stages(s, "report", "train") >= 7)
    with search.Search(TASK, operators="tune", archive=path, run="night", budget=BUDGET) as s:
        s.begin()
        s.tree.conditions = replace(HERE, hardware="another machine")
        while (request := s.engine.ask("report")) is not None:
            s.engine.tell(evaluated(request))
        assert s.engine.ask_judgement() is None
        assert len(s.archive.query("FROM refusals WHERE operator = 'withdrawn'")) == 8
