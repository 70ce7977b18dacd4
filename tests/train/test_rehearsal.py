"""The rehearsal inside a sandbox: what it finds, what it leaves to the training, and that it leaves nothing behind."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from archive.records import Failed, Scored
from prepare.task import Task
from train.language_model.evaluator import AuditedEvaluator
from train.sandbox.base import find_sandbox

pytestmark = pytest.mark.xdist_group("clock")

CANDIDATES = Path(__file__).parent / "candidates"
FOUND = "(found in the rehearsal, before any training time was spent)"

PROGRAM = """
import torch
{top}
def train(session):
    {before}
    data = session.start()
    step = 0
    while session.remaining() > 0.4:
        {within}
        step += 1
        session.report(step=step, loss=1.0)
    {after}
    return {{"table": torch.zeros(256, 256)}}

def predict(state, task):
    {predict}
    return lambda tokens: state["table"][tokens]
"""


def program(
    *, top: str = "", before: str = "pass", within: str = "pass", after: str = "pass", predict: str = "pass"
) -> str:
    return PROGRAM.format(top=top, before=before, within=within, after=after, predict=predict)


FOUND_BEFORE = [
    ("after", "return torch.nn.Linear(2, 2)", "TypeError: train(session) returned Linear; expected a non-empty dict"),
    ("predict", "state['tabel']", "KeyError: 'tabel'"),
    ("after", "return {'big': torch.zeros(400_000)}", "the state has 400,000 elements; 100,000 are allowed"),
    ("after", "retrun_nothing()", "NameError: name 'retrun_nothing' is not defined"),
    ("top", "import no_such_package", "ModuleNotFoundError: No module named 'no_such_package'"),
    ("within", "data[0] = 1", "SIGSEGV (perhaps it wrote to the training data"),
]


@pytest.mark.slow
@pytest.mark.parametrize(("place", "line", "reason"), FOUND_BEFORE)
def test_an_error_is_found_before_the_budget_is_spent(run_candidate, place: str, line: str, reason: str) -> None:
    evaluation = run_candidate(program(**{place: line}))
    assert isinstance(evaluation, Failed), evaluation
    assert evaluation.outcome == ("invalid" if "elements" in reason else "crashed")
    assert reason in evaluation.reason
    assert evaluation.reason.endswith(FOUND)
    assert not evaluation.violation
    assert evaluation.resources.seconds == 0.0
    assert "train" not in evaluation.resources.phases
    assert evaluation.curve == ()


def test_a_wrong_shape_is_found_before_the_budget_is_spent(run_candidate) -> None:
    evaluation = run_candidate(program(predict="return lambda tokens: state['table'][tokens][:, 1:]"))
    assert isinstance(evaluation, Failed), evaluation
    assert "shape (16, 31, 256) for tokens [16, 32]" in evaluation.reason
    assert evaluation.reason.endswith(FOUND)
    assert "Traceback" in evaluation.log


LEFT_TO_THE_TRAINING = {
    "needs many steps": "if step < 7: raise ZeroDivisionError(step)",
    "no best state yet": "if step < 7: return None",
    "an empty average": "if step < 7: torch.stack([])",
}


@pytest.mark.parametrize(
    "line",
    [
        LEFT_TO_THE_TRAINING["needs many steps"],
        *(pytest.param(line, marks=pytest.mark.slow) for line in list(LEFT_TO_THE_TRAINING.values())[1:]),
    ],
)
def test_what_only_few_steps_cause_is_no_failure(run_candidate, line: str) -> None:
    evaluation = run_candidate(program(after=line))
    assert isinstance(evaluation, Scored), evaluation


@pytest.mark.slow
def test_the_limits_hold_for_the_real_state_as_well(run_candidate) -> None:
    """A rehearsal that looks well proves nothing."""
    evaluation = run_candidate(program(after="if step > 6: return {'big': torch.zeros(5_000_000)}"))
    assert isinstance(evaluation, Failed), evaluation
    assert evaluation.reason.endswith("the state is larger than the 1 MB (and 100,000 elements) allowed")


def rehearsing(task: Task, seconds: float) -> AuditedEvaluator:
    limits = dataclasses.replace(task.limits, rehearsal_seconds=seconds)
    return AuditedEvaluator(dataclasses.replace(task, limits=limits), find_sandbox("auto"))


def test_nothing_of_it_is_left_behind(run_candidate, toy_task: Task) -> None:
    """Neither its module, its generators, its settings nor its processes; and its output is not in the log."""
    top = "import numpy, os, random, subprocess, sys, time\nCOUNT = []\n"
    before = (
        "COUNT.append(1); numbers = [p for p in os.listdir('/proc') if p.isdigit()]; "
        "print('FOUND', len(COUNT), torch.rand(1).item(), len(numbers), torch.get_default_dtype(), "
        "os.environ.get('MARK'), sys.path.count('/candidate'), hasattr(sys.modules['train'], 'LEFT')); "
        "globals()['LEFT'] = 1; "
        "torch.set_default_dtype(torch.float64); os.environ['MARK'] = 'left'; "
        "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)'])"
    )
    evaluation = run_candidate(program(top=top, before=before))
    unrehearsed = run_candidate(program(top=top, before=before), by=rehearsing(toy_task, 0.0))
    assert isinstance(evaluation, Scored), evaluation
    assert isinstance(unrehearsed, Scored), unrehearsed
    assert evaluation.log.count("FOUND") == 1
    assert evaluation.log == unrehearsed.log


def test_the_real_text_is_not_in_it(run_candidate, toy_task: Task) -> None:
    """What a program may keep from its rehearsal is a made-up text, as long as the real one or shorter."""
    keep = (
        "kept = '/tmp/torchinductor_kept'; import os; text = data.numpy().tobytes(); "
        "print('REAL', os.path.exists(kept), len(text), text[:2000] in open(kept, 'rb').read()) "
        "if os.path.exists(kept) else open(kept, 'wb').write(text)"
    )
    evaluation = run_candidate(program(after=keep))
    assert isinstance(evaluation, Scored), evaluation
    assert f"REAL True {len(toy_task.training_stream(11))} False" in evaluation.log


@pytest.mark.slow
def test_a_program_that_cannot_run_twice_is_run_again_without_a_rehearsal(run_candidate) -> None:
    evaluation = run_candidate((CANDIDATES / "once_a_process.py").read_text())
    assert isinstance(evaluation, Scored), evaluation
    assert evaluation.score == pytest.approx(8.0)
    assert evaluation.log == "this is the real training\n"
    assert [point.step for point in evaluation.curve] == [1]
    assert evaluation.resources.phases["rehearse"] > 0.0


@pytest.mark.slow
def test_a_program_that_keeps_its_own_time_is_broken_off(run_candidate, toy_task: Task) -> None:
    """After three times the seconds of a rehearsal, though it catches what it can."""
    own = (
        "import time; end = time.monotonic() + 0.9 * session.seconds\n"
        "    while time.monotonic() < end:\n"
        "        try: time.sleep(0.01)\n"
        "        except Exception: pass"
    )
    evaluation = run_candidate(program(after=own, within="break"), by=rehearsing(toy_task, 0.1))
    assert isinstance(evaluation, Scored), evaluation


@pytest.mark.slow
def test_messages_that_nobody_asked_for_are_a_violation(run_candidate) -> None:
    forged = (
        "import gc; from prepare.wire import Channel; "
        "[c for c in gc.get_objects() if isinstance(c, Channel)][0].send({'type': 'state'})"
    )
    evaluation = run_candidate(program(before=forged))
    assert isinstance(evaluation, Failed), evaluation
    assert (evaluation.outcome, evaluation.violation) == ("invalid", True)
    assert "sent 'state' before it called session.start()" in evaluation.reason


@pytest.mark.slow
def test_files_of_the_rehearsal_are_gone(run_candidate) -> None:
    """A table that is kept in a file would otherwise be the made-up text's."""
    evaluation = run_candidate(
        program(
            top="import os, pathlib",
            before="print('found', [p for p in ('/tmp/a', '/tmp/b/c', '/dev/shm/d') if os.path.exists(p)])",
            after=(
                "pathlib.Path('/tmp/a').write_text('x'); os.makedirs('/tmp/b', exist_ok=True); "
                "pathlib.Path('/tmp/b/c').write_text('x'); pathlib.Path('/dev/shm/d').write_text('x')"
            ),
        )
    )
    assert isinstance(evaluation, Scored), evaluation
    assert "found []" in evaluation.log
