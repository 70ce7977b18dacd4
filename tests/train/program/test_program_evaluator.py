"""The evaluator of any program: outcomes, metrics, constraints, cases and trust. Candidates run in this process."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from scorers import InProcess, crash, task_of

from archive.records import Evaluation, Failed, Purpose, Request, Scored
from prepare.known import TaskError
from prepare.program import Constraint, ProgramTask
from prepare.task import Metric
from train.hardware.slots import Slot
from train.program.candidate import Candidates
from train.program.evaluator import ProgramEvaluator
from train.progress import Progress
from train.sandbox.base import NoSandbox, Sandbox, SandboxUnavailable, folder_seen

SLOT = Slot(index=0, device="cpu", gpu=None, cores=(), threads=1)
SCORER = """
import prepare
def cases(split, rng):
    for i in range(3):
        yield {"x": i, "split": split}
def score(candidate, case):
    value = candidate.call("answer", case.data["x"])
    return prepare.Score(value, {"size": 10 * value}, f"x was {case.data['x']}", certificate=[value])
"""


class InThisProcess(ProgramEvaluator):
    """Runs candidates in this process."""

    functions: dict[str, Callable[..., Any]]

    def _candidates(self, request: Request, slot: Slot, progress: Progress, cancelled: threading.Event) -> Candidates:
        return Here(InProcess(self.functions))


class Here(Candidates):
    def __init__(self, candidate: InProcess) -> None:
        self._candidate = candidate
        self._current = None

    @property
    def current(self) -> Any:
        return self._candidate

    def restart(self) -> None:
        pass


def evaluate(
    task: ProgramTask,
    purpose: Purpose = "screen",
    sandbox: Sandbox | None = None,
    parent: Mapping[str, float] | None = None,
    **functions: Any,
) -> Evaluation:
    evaluator = InThisProcess(task, sandbox or NoSandbox(tier="bwrap"))
    evaluator.functions = functions
    request = Request("n", "r", 1, {"main.py": "def answer(x): return x\n"}, 7, purpose, parent_cases=parent or {})
    return evaluator.evaluate(request, SLOT, threading.Event(), lambda *_: None)


COMPARING = """
def cases(split, rng):
    yield {"name": "one"}
    yield {"name": "two"}
def score(candidate, case):
    return candidate.call("answer", 1) - (case.parent or 0)
"""


def test_a_scorer_is_told_what_the_parent_had_on_each_case(tmp_path: Path) -> None:
    found = evaluate(task_of(tmp_path, COMPARING), parent={"one": 0.25}, answer=lambda x: x)
    assert isinstance(found, Scored)
    assert [case.value for case in found.cases] == [0.75, 1.0]
    assert found.request.parent_cases == {}, "which would stay in memory with every node"


def test_the_score_is_the_mean_over_cases_with_metrics_and_feedback(tmp_path: Path) -> None:
    found = evaluate(task_of(tmp_path, SCORER), answer=lambda x: x + 1)
    assert isinstance(found, Scored)
    assert found.score == 2.0
    assert found.metrics == {"size": 20.0}
    assert found.trust == "verified"
    assert [(case.case, case.value, case.feedback) for case in found.cases] == [
        ("0", 1.0, "x was 0"),
        ("1", 2.0, "x was 1"),
        ("2", 3.0, "x was 2"),
    ]
    assert found.certificate == '{"0": [1], "1": [2], "2": [3]}'
    assert found.windows is not None
    assert found.windows.scores.tolist() == [1.0, 2.0, 3.0]


def test_feedback_of_claims_is_not_kept_and_their_cases_can_be_paired(tmp_path: Path) -> None:
    task = task_of(tmp_path, SCORER)
    found = [evaluate(task, purpose, answer=lambda x: x + 1) for purpose in ("confirm", "report")]
    sets = set()
    for each in found:
        assert isinstance(each, Scored)
        assert [case.feedback for case in each.cases] == [""] * 3
        assert each.windows is not None
        assert each.windows.scores.tolist() == [1.0, 2.0, 3.0]
        sets.add(each.windows.position_set)
    assert len(sets) == 2


def test_cases_of_a_claim_follow_from_the_archives_key_and_those_of_val_do_not(tmp_path: Path) -> None:
    """Real scorer processes, since the key has to reach what they draw; the second one is a resumed search."""
    task = task_of(tmp_path, SCORER.replace('"x": i,', '"x": int(rng.integers(10**9)),'))
    evaluator, resumed = (InThisProcess(task, NoSandbox(tier="bwrap")) for _ in range(2))

    def drawn(purpose: Purpose, key: bytes, judge: InThisProcess = evaluator) -> tuple[str, tuple[float, ...]]:
        judge.functions = {"answer": lambda x: x}
        request = Request("n", "r", 1, task.seed_files(), 7, purpose, case_key=key)
        found = judge.evaluate(request, SLOT, threading.Event(), lambda *_: None)
        assert isinstance(found, Scored)
        assert found.windows is not None
        return found.windows.position_set, tuple(case.value for case in found.cases)

    assert drawn("screen", b"one") == drawn("screen", b"other")
    sets = [drawn("confirm", b"one"), *(drawn("report", key) for key in (b"one", b"other", b""))]
    assert drawn("report", b"one", resumed) == sets[1]
    assert len({name for name, _ in sets}) == 4, "the name of a set tells archives apart: only equal ones are compared"
    assert len({value for _, values in sets for value in values}) == 12


def test_a_broken_constraint_is_no_score_and_keeps_its_figures(tmp_path: Path) -> None:
    task = task_of(tmp_path, SCORER, constraints=[{"metric": "size", "at_most": 15}])
    found = evaluate(task, answer=lambda x: x + 1)
    assert isinstance(found, Failed)
    assert (found.outcome, found.reason) == ("infeasible", "size is 20; at most 15 is allowed")
    assert found.metrics == {"size": 20.0, "value": 2.0}
    assert isinstance(evaluate(task, answer=lambda x: 1), Scored)


def test_a_constraint_on_a_metric_that_is_missing_is_broken() -> None:
    assert "no metric 'speed'" in (Constraint("speed", at_least=1.0).broken_by({}) or "")
    assert Constraint("speed", at_least=1.0).broken_by({"speed": 1.0}) is None


def test_a_crash_keeps_the_cases_before_it(tmp_path: Path) -> None:
    found = evaluate(task_of(tmp_path, SCORER), answer=lambda x: x if x < 2 else crash())
    assert isinstance(found, Failed)
    assert (found.outcome, found.reason, len(found.cases)) == ("crashed", "ValueError: too small", 2)


def test_a_defect_of_the_evaluator_is_recorded_and_names_no_text_of_the_candidate(tmp_path: Path) -> None:
    def broken(x: int) -> int:
        raise ZeroDivisionError("the candidate's own words")

    found = evaluate(task_of(tmp_path, SCORER), answer=broken)
    assert isinstance(found, Failed)
    assert found.outcome == "invalid"
    assert "a defect of Treewright" in found.reason
    assert found.defect.endswith("ZeroDivisionError")
    assert "own words" not in found.reason


def test_a_folder_whose_scorer_candidates_could_read_is_refused(tmp_path: Path) -> None:
    class Showing(NoSandbox):
        def mounted(self) -> tuple[Path, ...]:
            return (tmp_path / "shown",)

    (tmp_path / "shown").mkdir()
    with pytest.raises(SandboxUnavailable, match=r"score\.py is hidden from candidates, and they can read .*shown"):
        ProgramEvaluator(task_of(tmp_path / "shown" / "task", SCORER), Showing())
    (tmp_path / "around" / "shown").mkdir(parents=True)  # as an environment in the task's folder
    assert folder_seen(Showing(), tmp_path) is not None
    ProgramEvaluator(task_of(tmp_path, SCORER), Showing())


def test_a_score_outside_of_the_metric_is_invalid(tmp_path: Path) -> None:
    task = task_of(tmp_path, SCORER, metric=Metric("value", "maximise", upper=3.0))
    found = evaluate(task, answer=lambda x: 100)
    assert isinstance(found, Failed)
    assert "outside [-inf, 3]" in found.reason


def test_two_values_of_the_metric_are_an_error_of_the_task(tmp_path: Path) -> None:
    scorer = "import prepare\ndef score(candidate, case):\n    return prepare.Score(1.0, {'value': 2.0})\n"
    with pytest.raises(TaskError, match="two values for value"):
        evaluate(task_of(tmp_path, scorer))


def test_a_task_whose_cases_differ_from_call_to_call_is_refused(tmp_path: Path) -> None:
    scorer = "import os\ndef cases(split, rng): yield os.urandom(4)\ndef score(candidate, case): return 1\n"
    with pytest.raises(TaskError, match="gives other data each time"):
        evaluate(task_of(tmp_path, scorer))


@pytest.mark.slow
def test_conditions_follow_scorer_data_and_cases(tmp_path: Path) -> None:
    def fingerprint(name: str, scorer: str, **more: Any) -> str:
        evaluator = ProgramEvaluator(task_of(tmp_path / name, scorer, **more), NoSandbox())
        return evaluator.conditions(SLOT).fingerprint

    same = {fingerprint("a", SCORER), fingerprint("b", SCORER), fingerprint("c", SCORER, seed="def answer(x): pass\n")}
    assert len(same) == 1
    assert fingerprint("d", SCORER + "# changed\n") not in same
    assert fingerprint("e", SCORER, constraints=[Constraint("size", at_most=3)]) not in same


def test_without_a_sandbox_a_score_is_self_reported(tmp_path: Path) -> None:
    task = task_of(tmp_path, SCORER)
    assert evaluate(task, sandbox=NoSandbox(), answer=lambda x: x).trust == "self_reported"
    assert evaluate(task_of(tmp_path, SCORER, trust="self_reported"), answer=lambda x: x).trust == "self_reported"


def test_a_failing_scorer_blames_no_candidate(tmp_path: Path) -> None:
    with pytest.raises(TaskError, match="KeyError"):
        evaluate(task_of(tmp_path, "def score(candidate, case):\n    return {}['x']\n"))
