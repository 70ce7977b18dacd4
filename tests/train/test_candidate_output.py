"""What a program prints, and the reason that its failure gets. A sandbox is launched, since the worker writes both."""

from __future__ import annotations

import pytest

from archive.records import Failed, Scored
from train.sandbox.log import error_line

TRACE = 'Traceback (most recent call last):\n  File "/candidate/train.py", line 3, in train\n    raise it\n'


@pytest.mark.parametrize(
    ("log", "line"),
    [
        ("", ""),
        ("epoch 1 loss 3.2\n\n  \n", "epoch 1 loss 3.2"),
        ("one\nValueError: \x1b[31mred\x07\n\n  \n", "ValueError: [31mred"),
        ("x" * 1000, "x" * 300),
        (f"epoch 1\n{TRACE}ValueError: first\nsecond\n", "ValueError: first"),
        (f"{TRACE}ValueError: shapes do not match\nepoch 1 loss 3.2\n", "ValueError: shapes do not match"),
        (f"{TRACE}ValueError: \nfirst\nsecond\n", "ValueError: first"),
        (f"{TRACE}ValueError\n", "ValueError"),
        (f"{TRACE}KeyError: 1\n\nDuring handling of it:\n\n{TRACE}ValueError: 2\nx", "ValueError: 2"),
        (f"{TRACE}    ^^^^\nSyntaxError: invalid syntax\n", "SyntaxError: invalid syntax"),
        (
            "  + Exception Group Traceback (most recent call last):\n  |   File 'x', line 1\n"
            "  | ExceptionGroup: two (2 sub-exceptions)\n  +-+--- 1 ---\n    | ValueError: a\n    +--\n",
            "ExceptionGroup: two (2 sub-exceptions)",
        ),
        (TRACE, "raise it"),
    ],
)
def test_the_reason_is_the_first_line_of_the_last_exception(log: str, line: str) -> None:
    assert error_line(log) == line


def program(body: str) -> str:
    lines = "".join(f"    {line}\n" for line in body.splitlines())
    return (
        "import sys, os, time, threading, torch\n\n\ndef train(session):\n    data = session.start()\n"
        f"{lines}    return {{'table': torch.zeros(256)}}\n\n\n"
        "def predict(state, task):\n    return lambda tokens: state['table'].expand(*tokens.shape, 256)\n"
    )


@pytest.mark.slow
def test_what_was_printed_before_an_exception_is_in_the_log_and_not_its_reason(run_candidate) -> None:
    body = "print('epoch 1 loss 3.2')\nprint('unfinished', end='')\nraise ValueError('first\\nsecond')"
    evaluation = run_candidate(program(body))
    assert isinstance(evaluation, Failed), evaluation
    assert (evaluation.outcome, evaluation.reason) == ("crashed", "training: ValueError: first")
    assert evaluation.log.startswith("epoch 1 loss 3.2\nunfinished\nTraceback")
    assert evaluation.log.endswith("ValueError: first\nsecond\n")


ENDS_BADLY = [
    ("print('epoch 1')\nos.kill(os.getpid(), 9)", "crashed", "training: it was ended by SIGKILL"),
    ("print('epoch 1')\nsys.stdout.close()\nsys.stderr.close()\nraise ValueError(7)", "crashed", "ValueError: 7"),
]
AT_NIGHT = [
    ("print('epoch 1')\nsys.exit('that is all\\nindeed')", "crashed", "training: SystemExit: that is all"),
    ("print('epoch 1')\ntime.sleep(60)", "timed_out", "the state had not arrived"),
    ("print('epoch 1')\nos._exit(3)", "crashed", "training: epoch 1"),
    ("print('epoch 1')\nsys.stdout = sys.stderr = None\nraise ValueError(7)", "crashed", "ValueError: 7"),
]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("body", "outcome", "reason"), [*ENDS_BADLY, *(pytest.param(*case, marks=pytest.mark.nightly) for case in AT_NIGHT)]
)
def test_a_program_that_ends_badly_has_a_log(run_candidate, body: str, outcome: str, reason: str) -> None:
    evaluation = run_candidate(program(body))
    assert isinstance(evaluation, Failed), evaluation
    assert evaluation.outcome == outcome
    assert reason in evaluation.reason
    assert evaluation.log.startswith("epoch 1\n")


APART = (
    "print('\\ud800')",
    "sys.stdout.close()",
    "os.close(1)\nos.close(2)",
    "sys.stderr.close()",
    "sys.stdout = None",
)


@pytest.mark.slow
@pytest.mark.parametrize(
    "body",
    [
        "print('\\ud800')\nsys.stdout.close()\nos.close(1)\nos.close(2)",
        *(pytest.param(body, marks=pytest.mark.nightly) for body in APART),
    ],
)
def test_a_program_may_do_what_it_likes_with_its_output(run_candidate, body: str) -> None:
    evaluation = run_candidate(program(body))
    assert isinstance(evaluation, Scored), evaluation
