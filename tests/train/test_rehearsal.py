"""The rehearsal, in a sandbox of its own: what it finds, what it leaves to the training, and what is left of it."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from archive.records import Failed, Scored
from prepare.language_model import LanguageModelTask
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
    ("after", "return {'big': torch.zeros(400_000)}", "the state has 400,000 elements; 100,000 are allowed"),
    ("top", "import no_such_package", "ModuleNotFoundError: No module named 'no_such_package'"),
    ("within", "data[0] = 1", "SIGSEGV (perhaps it wrote to the training data"),
]


FOUND_AT_NIGHT = [
    ("predict", "state['tabel']", "KeyError: 'tabel'"),
    ("after", "retrun_nothing()", "NameError: name 'retrun_nothing' is not defined"),
]
"""An exception in ``predict`` is found as the wrong shape below is, one in ``train`` as that of an import."""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("place", "line", "reason"),
    [*FOUND_BEFORE, *(pytest.param(*case, marks=pytest.mark.nightly) for case in FOUND_AT_NIGHT)],
)
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


@pytest.mark.slow
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


@pytest.mark.slow
@pytest.mark.parametrize(
    "line",
    [
        LEFT_TO_THE_TRAINING["needs many steps"],
        *(
            pytest.param(LEFT_TO_THE_TRAINING[kind], marks=pytest.mark.nightly)
            for kind in ("no best state yet", "an empty average")
        ),
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


def rehearsing(task: LanguageModelTask, seconds: float) -> AuditedEvaluator:
    limits = dataclasses.replace(task.limits, rehearsal_seconds=seconds)
    return AuditedEvaluator(dataclasses.replace(task, limits=limits), find_sandbox("auto"))


LEAVES = """
import ctypes, os, socket, subprocess, sys, time
FILES = ("/kept", "/etc/kept", "/tmp/kept", "/tmp/torchinductor_kept", "/dev/shm/sem.kept", "/var/tmp/kept")

def found():
    others = [p for p in os.listdir("/proc") if p.isdigit() and int(p) not in (1, os.getpid())]
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as door:
        listening = door.connect_ex("\\0kept") == 0
    return getattr(sys, "kept", None), [f for f in FILES if os.path.exists(f)], others, listening, torch.rand(1).item()

def leave(data):
    sys.kept = 1
    for name in FILES:
        try: open(name, "wb").write(data)
        except OSError: pass
    sys.door = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    sys.door.bind("\\0kept")
    sys.door.listen()
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0: time.sleep(600)
        os._exit(0)
    torch.set_default_dtype(torch.float64)
"""


@pytest.mark.slow
def test_nothing_of_it_is_left_behind(run_candidate, toy_task: LanguageModelTask) -> None:
    """Neither modules, files, sockets, processes nor settings: they gave 28 s of training before the clock started."""
    source = program(top=LEAVES, before="print('FOUND', *found())", after="leave(data.numpy().tobytes())")
    evaluation = run_candidate(source)
    unrehearsed = run_candidate(source, by=rehearsing(toy_task, 0.0))
    assert isinstance(evaluation, Scored), evaluation
    assert isinstance(unrehearsed, Scored), unrehearsed
    assert evaluation.log.startswith("FOUND None [] [] False ")
    assert evaluation.log == unrehearsed.log
    assert evaluation.resources.phases["rehearse"] > 0.0


@pytest.mark.slow
def test_its_text_is_made_up(run_candidate, toy_task: LanguageModelTask) -> None:
    """As long as the real one, and another one."""
    shown = "if step < 7: raise NameError(f'{len(data)} {bytes(data[:2000].tolist())!r}')"
    evaluation = run_candidate(program(after=shown))
    assert isinstance(evaluation, Failed), evaluation
    assert evaluation.reason.endswith(FOUND)
    size, _, text = evaluation.reason.partition("NameError: ")[2].partition(" ")
    assert int(size) == len(toy_task.training_stream(11))
    assert text[2:100].encode() not in toy_task.training_stream(11)


@pytest.mark.slow
def test_a_program_that_can_run_once_in_a_process_is_rehearsed_in_another(run_candidate) -> None:
    evaluation = run_candidate((CANDIDATES / "once_a_process.py").read_text())
    assert isinstance(evaluation, Scored), evaluation
    assert evaluation.score == pytest.approx(8.0)
    assert evaluation.log == "this is the real training\n"
    assert [point.step for point in evaluation.curve] == [1]
    assert evaluation.resources.phases["rehearse"] > 0.0


@pytest.mark.slow
def test_a_program_that_keeps_its_own_time_is_broken_off(run_candidate, toy_task: LanguageModelTask) -> None:
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
