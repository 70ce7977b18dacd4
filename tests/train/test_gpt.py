"""A task on tokens from its text to an audited score: the same evaluator, sandboxes, gates and audit as with bytes."""

from __future__ import annotations

import base64
import dataclasses
import json
import math
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from archive.records import Evaluation, Scored
from operators.languages.parameters import set_parameters
from prepare.data.packing import BOS
from prepare.language_model import LanguageModelTask
from prepare.load import ROOT, task_named
from prepare.smoke_test import synthetic_rows
from train.language_model import predict_sandbox
from train.language_model.evaluator import AuditedEvaluator
from train.sandbox.base import find_sandbox

LOOK_AHEAD = (ROOT / "tests/attacks/candidates/look_ahead.py").read_text()

RunCandidate = Callable[..., Evaluation]

HEADER = "the_same_header_of_many_files_which_everybody_knows"

UNIFORM = '''
"""Every token is as likely as any other. Says what it was given."""
import torch

def train(session):
    data = session.start()
    width = session.task.context + 1
    rows = data.view(-1, width)
    print(data.dtype, len(rows), bool((rows[:, 0] == 0).all()), int(rows.max()) < session.task.vocab)
    return {"nothing": torch.zeros(1)}

def predict(state, task):
    return lambda tokens: torch.zeros(*tokens.shape, task.vocab)
'''

ECHO = UNIFORM.replace(
    "torch.zeros(*tokens.shape, task.vocab)", "3.0 * torch.nn.functional.one_hot(tokens, task.vocab).float()"
)
"""Every token once more: causal, and different from place to place."""


@pytest.fixture(scope="module")
def texts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Files of made-up words, some of them much more frequent than others."""
    folder, rng = tmp_path_factory.mktemp("texts"), np.random.default_rng(7)
    words = ["".join(map(chr, rng.integers(97, 123, size=rng.integers(2, 9)))) for _ in range(300)]
    chances = 1.0 / np.arange(1, 301)
    for number in range(240):
        drawn = rng.choice(words, size=30 + 2 * number, p=chances / chances.sum())
        (folder / f"{number}.txt").write_text(f"{HEADER}\n" * (number % 3 == 0) + " ".join(drawn))
    return folder


@pytest.fixture(scope="module", autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Where all tests of this file keep their data."""
    folder = tmp_path_factory.mktemp("cache")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TREEWRIGHT_CACHE", str(folder))
        yield folder


@pytest.fixture(scope="module")
def gpt_task(texts: Path, cache: Path) -> LanguageModelTask:
    """The task gpt with its preset for a CPU, made smaller still."""
    task = task_named("gpt", ["data=folder", f"data.path={texts}", "task.context=64", "task.vocab=512"], "cpu")
    task.prepare()
    patience = {"startup_seconds": 60.0, "check_seconds": 60.0, "score_seconds": 120.0, "audit_seconds": 240.0}
    limits = dataclasses.replace(task.limits, memory_mb=3000, **patience)
    small = {"seconds": 4.0, "rows": 32, "batch": 16, "audit_screen": 24, "audit_claim": 64, "constants": {}}
    return dataclasses.replace(task, limits=limits, **small)


@pytest.fixture
def gpt(gpt_task: LanguageModelTask) -> AuditedEvaluator:
    return AuditedEvaluator(gpt_task, find_sandbox("auto"))


@pytest.fixture(scope="module")
def seed_program() -> str:
    source = (ROOT / "train/seeds/gpt.py").read_text()
    return set_parameters(source, {"WIDTH": 64, "DEPTH": 2, "HEAD_SIZE": 32, "BATCH": 8, "MICRO": 8})


def scored(evaluation: Evaluation) -> Scored:
    assert isinstance(evaluation, Scored), (getattr(evaluation, "reason", ""), evaluation.log)
    return evaluation


@pytest.mark.slow
def test_the_seed_program_learns_and_is_audited(
    gpt: AuditedEvaluator, run_candidate: RunCandidate, seed_program: str
) -> None:
    found = scored(run_candidate(seed_program, by=gpt))
    uniform = scored(run_candidate(UNIFORM, by=gpt))
    assert found.trust == "audited"
    assert math.isfinite(found.score)
    assert found.score < uniform.score - 0.3
    assert found.audit is not None
    assert found.audit.k == 24
    assert found.audit.worst < 2e-3
    assert found.resources.steps > 1


@pytest.mark.slow
def test_a_score_is_bits_per_byte_of_the_text(
    gpt_task: LanguageModelTask, gpt: AuditedEvaluator, run_candidate: RunCandidate
) -> None:
    found = scored(run_candidate(UNIFORM, by=gpt))
    assert gpt_task.tokenised is not None
    targets = gpt_task.evaluation_rows("val")[:, 1:]
    size = int(gpt_task.tokenised.vocabulary.lengths(512)[targets].sum())
    bits = int((targets != BOS).sum()) * math.log2(512)
    assert found.score == pytest.approx(bits / size, rel=1e-6)
    assert (targets == BOS).any()
    rows = gpt_task.training_size() // 65
    assert f"torch.int16 {rows} True True" in found.log
    claimed = scored(run_candidate(UNIFORM, by=gpt, purpose="report"))
    targets = gpt_task.claim_rows("holdout")[:, 1:]
    size = int(gpt_task.tokenised.vocabulary.lengths(512)[targets].sum())
    expected = int((targets != BOS).sum()) * math.log2(512) / size
    assert claimed.score == pytest.approx(expected, rel=0.01), "an estimate, by some positions of each window"


@pytest.mark.slow
@pytest.mark.parametrize("whole", [0, pytest.param(1 << 40, marks=pytest.mark.nightly)], ids=["told", "whole rows"])
def test_who_looks_ahead_is_caught_whether_positions_are_told_or_not(
    gpt: AuditedEvaluator, run_candidate: RunCandidate, monkeypatch: pytest.MonkeyPatch, whole: int
) -> None:
    monkeypatch.setattr(predict_sandbox, "_WHOLE_ROW", whole)
    honest = scored(run_candidate(ECHO, by=gpt))
    assert honest.audit is not None
    assert honest.audit.worst < 1e-5
    cheat = run_candidate(LOOK_AHEAD, by=gpt)
    assert cheat.outcome == "invalid"
    assert "the audit disagrees" in getattr(cheat, "reason", "")


@pytest.mark.slow
def test_gates_know_the_text_of_a_task_on_tokens(
    gpt_task: LanguageModelTask, gpt: AuditedEvaluator, seed_program: str
) -> None:
    assert gpt.gate({"train.py": seed_program}) is None
    for split in ("val", "select", "holdout"):
        text = gpt_task.corpus.evaluation(split).tobytes()[1000:1060]  # type: ignore[arg-type]
        for spelling in (repr(text.decode()), repr(base64.b64encode(text)), repr(list(text))):
            reason = gpt.gate({"train.py": f"{seed_program}\nQUOTE = {spelling}\n"})
            assert reason is not None
            assert "text of an evaluation split" in reason
    trained = gpt_task.corpus.documents()[0][1000:1060].tobytes().decode()
    assert gpt.gate({"train.py": f"{seed_program}\nQUOTE = {trained!r}\n"}) is None
    assert HEADER.encode() in gpt_task.corpus.evaluation("val").tobytes()  # type: ignore[arg-type]
    assert gpt.gate({"train.py": f"{seed_program}\n{HEADER} = 1\n"}) is None
    heavy = base64.b85encode(np.random.default_rng(0).bytes(6000)).decode()
    reason = gpt.gate({"train.py": f"{seed_program}\nTABLE = {heavy!r}\n"})
    assert reason is not None
    assert "4,096 are allowed" in reason


def test_data_in_a_folder_that_candidates_see_are_refused(
    gpt_task: LanguageModelTask,
) -> None:
    from train.language_model.evaluator import _refuse_leaks
    from train.sandbox.base import SandboxUnavailable

    class Open:
        def mounted(self) -> tuple[Path, ...]:
            assert gpt_task.tokenised is not None
            return (gpt_task.tokenised.directory().parent,)

    with pytest.raises(SandboxUnavailable, match=r"has its text in .*tokens"):
        _refuse_leaks(gpt_task, Open())  # type: ignore[arg-type]


def test_made_up_rows_are_like_real_ones() -> None:
    rows = synthetic_rows(seed=1, size=10_000, context=64)
    assert rows.shape == (10_000 // 130, 65)
    assert rows.dtype == np.uint16
    assert (rows[:, 0] == BOS).all()
    assert (rows[:, 1:] > 0).all()
    assert rows.max() <= 256
    assert synthetic_rows(1, 10, 64).shape == (1, 65)


@pytest.mark.nightly
def test_a_whole_small_search(texts: Path, tmp_path: Path) -> None:
    settings = [
        *("task=gpt", "data=folder", f"data.path={texts}", "task.context=64", "task.vocab=512", "task.rows=32"),
        *("task.seconds=3", "task.audit_screen=24", "task.audit_claim=64", "operators=tune", "executor.slots=1"),
        *("budget.evaluations=4", "claim.candidates=1", "claim.confirm_seeds=1", "claim.report_seeds=2"),
        *("task.limits.startup_seconds=60", "archive=tokens.duckdb", "run=tokens"),
    ]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "search", *settings]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=900)
    assert done.returncode == 0, done.stdout + done.stderr
    query = "SELECT outcome, trust, count(*) AS n FROM evaluations GROUP BY ALL"
    found = subprocess.run(
        [sys.executable, "-m", "archive", "--archive", "tokens.duckdb", "--json", query],
        cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=300, check=True,
    )  # fmt: skip
    assert json.loads(found.stdout) == [{"outcome": "scored", "trust": "audited", "n": 4}]
    again = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=900)
    assert again.returncode == 0, again.stderr  # the same task: it goes on, and has nothing left to do
    assert "Resuming run 'tokens', 4 evaluations so far" in again.stdout


@pytest.mark.slow
def test_the_seed_program_runs_alone(texts: Path) -> None:
    words = ["data=folder", f"data.path={texts}", "task.context=64", "task.vocab=512", "task.rows=32"]
    environment = {**os.environ, "CUDA_VISIBLE_DEVICES": ""}
    command = [sys.executable, "train/seeds/gpt.py", "--seconds", "1", *words]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr
    assert 0.5 < float(done.stdout.split("val_bpb ")[1].split()[0]) < 6.0
    short = subprocess.run(
        [*command[:-1], "task.rows=100000"], cwd=ROOT, env=environment, capture_output=True, text=True, timeout=600
    )
    assert short.returncode == 1
    assert short.stderr.startswith("error: the val split fills")
