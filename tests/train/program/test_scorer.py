"""The scorer's process: what it may return, what is the candidate's fault, and what is the task's."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scorers import InProcess, crash, task_of

from prepare.known import TaskError
from prepare.program import CaseCounts
from train.program.scorer_process import CaseResults, CaseSet, ScorerProcess
from train.sandbox.abort import Aborted

Judge = Callable[..., CaseResults]


@pytest.fixture
def judge(tmp_path: Path) -> Iterator[Judge]:
    """Judge functions of this process with a ``score.py``: one scorer process for each text."""
    scorers: dict[str, ScorerProcess] = {}

    def judged(text: str, split: str = "val", seed: int = 1, files: Any = None, **functions: Any) -> CaseResults:
        if text not in scorers:
            scorers[text] = ScorerProcess(task_of(tmp_path / f"task{len(scorers)}", text))
        results = CaseResults()
        candidate = InProcess(functions, files)
        scorers[text].judge(split, seed, candidate, results, threading.Event())  # type: ignore[arg-type]
        return results

    yield judged
    for scorer in scorers.values():
        scorer.close()


ECHO = """
import prepare

def cases(split, rng):
    for name in "ab":
        yield {"name": name, "x": int(rng.integers(100))}

def score(candidate, case):
    value = candidate.call("answer", case.data["x"])
    if value < 0:
        raise prepare.Invalid(f"{value} is below 0")
    return prepare.Score(value, {"seed": case.seed}, f"case {case.name}", certificate={"x": value})
"""


def test_a_score_comes_by_case_and_one_process_judges_many(judge: Judge) -> None:
    first, second = (judge(ECHO, answer=lambda x, add=add: x + add) for add in (0, 1))
    assert [case.case for case in first.cases] == ["a", "b"]
    assert [b.value - a.value for a, b in zip(first.cases, second.cases, strict=True)] == [1.0, 1.0]
    assert first.cases[0].metrics == {"seed": 1.0}
    assert first.cases[0].feedback == "case a"
    assert first.certificate is not None
    assert first.certificate.startswith('{"a": {"x": ')


def test_invalid_is_the_candidates_fault_and_its_cases_before_stay(judge: Judge) -> None:
    values = iter([5, -3])
    results = CaseResults()
    with pytest.raises(Aborted, match="-3 is below 0") as ended:
        judge(ECHO, answer=lambda x: next(values))
    assert ended.value.outcome == "invalid"
    assert judge(ECHO, answer=lambda x: 7).cases[0].value == 7
    del results


def test_a_candidate_that_ends_is_no_exception_that_a_scorer_can_catch(judge: Judge) -> None:
    text = "def score(c, case):\n    try:\n        c.call('f')\n    except Exception:\n        return 1e9\n"
    with pytest.raises(Aborted, match="too small"):
        judge(text, f=crash)
    assert judge(text + "    return 2\n", f=lambda: 1).cases[0].value == 2


def test_a_malformed_value_is_the_candidates_fault(judge: Judge) -> None:
    with pytest.raises(Aborted, match="cut off"):
        judge(ECHO, answer=lambda x: b"\0")


@pytest.mark.parametrize(
    ("returned", "message"),
    [
        ("True", "returned True"),
        ("None", "returned None"),
        ("'0.5'", "returned '0.5'"),
        ("float('nan')", "returned nan .*expected a finite number"),
        ("float('inf')", "returned inf"),
        ("prepare.Score(1, {'m': True})", "metric 'm' returned True"),
        ("prepare.Score(1, certificate=float('nan'))", "not JSON compliant"),
        ("1/0", "ZeroDivisionError"),
        ("exit(3)", "SystemExit: 3"),
        ("__import__('os').kill(__import__('os').getpid(), 9)", "failed"),
    ],
)
def test_what_is_no_score_is_an_error_of_the_task(judge: Judge, returned: str, message: str) -> None:
    with pytest.raises(TaskError, match=message):
        judge(f"import prepare\nprint('words of the scorer')\ndef score(candidate, case):\n    return {returned}\n")


def test_a_scorer_that_forks_answers_once(judge: Judge) -> None:
    text = "import os\ndef score(candidate, case):\n    os.fork()\n    return 4\n"
    assert [judge(text).cases[0].value for _ in range(3)] == [4.0] * 3


def test_numbers_of_numpy_are_scores(judge: Judge) -> None:
    text = "import numpy as np\ndef score(candidate, case):\n    return np.float32(candidate.call('f').sum())\n"
    assert judge(text, f=lambda: np.arange(4)).cases[0].value == 6.0


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("def nothing(): pass\n", "defines no function score"),
        ("x = 1 +\n", "SyntaxError"),
        ("import nowhere\n", "No module named 'nowhere'"),
        ("def cases(split, rng): return []\ndef score(candidate, case): return 1\n", "yields no case"),
        ("def cases(split, rng): return [{'name': 1}] * 2\ndef score(candidate, case): return 1\n", "two cases named"),
    ],
)
def test_an_unusable_scorer_is_told_with_its_traceback(judge: Judge, text: str, message: str) -> None:
    with pytest.raises(TaskError, match=message):
        judge(text)


def test_services_are_called_back(judge: Judge) -> None:
    text = """
def score(candidate, case):
    asked = []
    def llm(prompt):
        asked.append(prompt)
        return prompt.upper()
    answer = candidate.call("solve", "q", services={"llm": llm})
    return len(asked) if answer == "A B" else -1
"""
    assert judge(text, solve=lambda q, llm: f"{llm('a')} {llm('b')}").cases[0].value == 2
    with pytest.raises(Aborted, match="missing a required argument"):
        judge(text, solve=lambda q, llm: llm())


def test_commands_and_files_of_the_candidate(judge: Judge) -> None:
    text = """
def score(candidate, case):
    done = candidate.run(["a", "b"], stdin="c")
    return len(done.stdout) + len(candidate.read("out.txt"))
"""
    assert judge(text, files={"out.txt": b"123"}).cases[0].value == 7
    with pytest.raises(Aborted, match="no file out"):
        judge(text)


def test_a_ratio_of_times_has_an_interval(judge: Judge) -> None:
    text = """
def score(candidate, case):
    timing = candidate.time("f", lambda i: (i,), pairs=7)
    assert timing.value == timing.baseline_value == list(range(7))
    return timing.low <= timing.ratio <= timing.high and 1.0 * len(timing.value)
"""
    assert judge(text, f=lambda i: i).cases[0].value == 7.0


def test_the_scorer_has_no_network_and_writes_nothing(judge: Judge) -> None:
    text = """
import os, pathlib, socket
def refused(action):
    try:
        action()
    except OSError:
        return 1
    return 0
def score(candidate, case):
    network = refused(lambda: socket.create_connection(("127.0.0.1", 9), 1)) and len(os.listdir("/sys/class/net")) >= 0
    return network + refused(lambda: pathlib.Path("x").write_text("")) + ("SECRET" not in os.environ)
"""
    assert judge(text).cases[0].value == 3


@pytest.mark.slow
def test_cases_are_the_same_in_every_process_unless_they_are_drawn_from_the_clock(tmp_path: Path) -> None:
    def digests(name: str, text: str) -> set[CaseSet]:
        found = set()
        for _ in range(2):
            scorer = ScorerProcess(task_of(tmp_path / name, text))
            found |= {scorer.cases("val"), scorer.cases("val")}
            scorer.close()
        return found

    assert len(digests("fixed", ECHO)) == 1
    drawn = "import os\ndef cases(split, rng): yield os.urandom(8)\ndef score(candidate, case): return 1\n"
    assert len(digests("drawn", drawn)) == 4


@pytest.mark.slow
def test_val_is_sampled_the_same_way_in_every_process_and_other_splits_are_whole(tmp_path: Path) -> None:
    text = "def cases(split, rng):\n    yield from range(40)\ndef score(candidate, case):\n    return case.data\n"

    def used(folder: str, split: str, count: int | None) -> tuple[set[str], CaseSet]:
        cases = None if count is None else CaseCounts(count)
        scorer, results = ScorerProcess(task_of(tmp_path / folder, text, cases=cases)), CaseResults()
        scorer.judge(split, 1, InProcess({}), results, threading.Event())  # type: ignore[arg-type]
        found = scorer.cases(split)  # type: ignore[arg-type]
        scorer.close()
        assert found.size == len(results.cases)
        return {case.case for case in results.cases}, found

    (few, first), (again, second), (more, third) = used("a", "val", 8), used("b", "val", 8), used("a", "val", 20)
    assert (len(few), few, first) == (8, again, second), "the folder's place does not matter"
    assert few < more, "a larger sample contains a smaller one"
    assert len({first, third, used("a", "val", None)[1]}) == 3, "scores of different subsets have other conditions"
    assert few != {str(i) for i in range(8)}
    assert used("a", "holdout", 8) == used("a", "holdout", None)
