"""The audited evaluator on whole programs: one honest evaluation, looked at from all sides, and how others fail."""

from __future__ import annotations

import dataclasses
import json
import math
import os
import tempfile
import threading
from pathlib import Path

import numpy as np
import psutil
import pytest
from underway import shared_and_writable

from archive.records import Evaluation, Failed, Request, Scored
from prepare.language_model import LanguageModelTask
from prepare.scoring import Floats, Symbols, bits_per_byte, target_log_probs
from train.hardware.slots import make_slots
from train.language_model.audit import within_bounds
from train.language_model.evaluation import EvaluationPipeline
from train.language_model.evaluator import AuditedEvaluator
from train.sandbox import owner
from train.sandbox.abort import Aborted
from train.sandbox.base import Bubblewrap, NoSandbox, SandboxUnavailable

PROGRAMS = Path(__file__).parent / "candidates"


def program(name: str) -> str:
    return (PROGRAMS / f"{name}.py").read_text()


@pytest.fixture(scope="module")
def watched() -> list[tuple[str, float]]:
    return []


@pytest.fixture(scope="module")
def honest(run_candidate, toy_seed: str, watched: list[tuple[str, float]]) -> Scored:
    evaluation: Evaluation = run_candidate(
        toy_seed, watch=lambda phase, share, loss=None: watched.append((phase, share))
    )
    assert isinstance(evaluation, Scored), evaluation
    return evaluation


def bigram_score(task: LanguageModelTask, split: str) -> float:
    """What the toy seed program must score, computed here without an evaluator."""
    return bits_per_byte(float(bigram_log_probs(task, task.evaluation_rows(split)).mean()))


def bigram_log_probs(task: LanguageModelTask, rows: Symbols, seed: int = 11) -> Floats:
    import torch

    stream = torch.frombuffer(bytearray(task.training_stream(seed)), dtype=torch.uint8).long()
    pairs = torch.bincount(256 * stream[:-1] + stream[1:], minlength=256 * 256).view(256, 256)
    table = (pairs + 0.1).log()
    return target_log_probs(lambda tokens: table[tokens], rows, 256, "cpu")


@pytest.mark.slow
def test_an_honest_program_is_scored_as_it_deserves(honest: Scored, toy_task: LanguageModelTask) -> None:
    assert honest.score == pytest.approx(bigram_score(toy_task, "val"), abs=1e-5)
    assert (honest.trust, honest.sandbox, honest.device, honest.split) == ("audited", "bwrap", "cpu", "val")
    assert honest.conditions.budget_seconds == toy_task.seconds


@pytest.mark.slow
def test_an_honest_program_passes_its_audit(honest: Scored, toy_task: LanguageModelTask) -> None:
    assert honest.audit is not None
    assert honest.audit.k == toy_task.audit_screen
    assert honest.audit.worst < 1e-5


@pytest.mark.slow
def test_what_an_evaluation_used_is_known(honest: Scored) -> None:
    assert set(honest.resources.phases) == {"launch", "rehearse", "startup", "train", "check", "score", "audit"}
    assert 0 < honest.resources.seconds <= 1.05
    assert honest.resources.peak_memory_mb > 1
    assert honest.resources.cpu_seconds > 0.1
    assert honest.metrics["parameters"] == 256 * 256
    assert honest.started_at <= honest.finished_at


@pytest.mark.slow
def test_the_log_and_the_curve_are_the_candidates_own(honest: Scored) -> None:
    assert honest.log.startswith("counted ")
    assert [point.step for point in honest.curve] == [1]
    assert honest.resources.steps == 1


@pytest.mark.slow
def test_workers_are_forked_with_all_that_a_training_imports(
    run_candidate, evaluator: AuditedEvaluator, toy_seed: str
) -> None:
    if not (isinstance(evaluator.sandbox, Bubblewrap) and evaluator.groups and evaluator.sandbox.forks(*make_slots(1))):
        pytest.skip("no worker is forked here")
    asking = "import os, sys\nprint('below', os.getppid(), 'torch._dynamo' in sys.modules)\n"
    assert "below 0 True" in run_candidate(asking + toy_seed).log
    server, _stage = evaluator._forks._running[0]
    assert shared_and_writable(psutil.Process(server._process.pid)) == []


@pytest.mark.slow
def test_progress_is_told(honest: Scored, watched: list[tuple[str, float]]) -> None:
    assert [phase for phase, _ in watched] == ["train", "audit", "score"]


@pytest.mark.slow
def test_a_claim_that_leads_is_audited_as_a_claim(
    run_candidate, toy_seed: str, honest: Scored, toy_task: LanguageModelTask
) -> None:
    """Again, after it has claimed; 80 positions of 32 rows, so rows are used more than once. Its score is the same."""
    again = run_candidate(toy_seed, leader_score=honest.score + 1.0)
    assert isinstance(again, Scored), again
    assert again.audit is not None
    assert again.audit.k == toy_task.audit_screen + toy_task.audit_claim
    assert again.score == pytest.approx(honest.score, abs=1e-6)


@pytest.mark.slow
def test_a_report_is_judged_at_secret_positions_of_the_holdout(
    run_candidate, evaluator: AuditedEvaluator, toy_seed: str, toy_task: LanguageModelTask
) -> None:
    """Every window counts once, and the score is what the program gives to the targets there."""
    report = run_candidate(toy_seed, purpose="report")
    assert isinstance(report, Scored), report
    assert (report.split, report.trust) == ("holdout", "audited")
    assert report.audit is not None
    assert (report.audit.k, report.audit.correction) == (toy_task.audit_screen, 0.0)
    chosen, windows = evaluator.positions(report.request), toy_task.claim_rows("holdout")
    assert report.windows is not None
    assert report.windows.position_set == chosen.name
    assert report.metrics["windows"] == len(report.windows.scores) == len(windows)
    log_probs = bigram_log_probs(toy_task, windows)[np.arange(len(windows)), chosen.positions]
    assert report.windows.scores == pytest.approx(-log_probs / math.log(2), abs=1e-5)
    assert report.score == pytest.approx(bits_per_byte(float(log_probs.mean())), abs=1e-5)


FAILURES = [
    ("crashes", "crashed", "training: KeyError: 'no such key'"),
    ("memory_bomb", "out_of_memory", "shared memory and scratch files together; 1,200 MB are allowed"),
]
SLOW_FAILURES = [
    ("diverges", "stopped", "a loss of nan at step 3"),
    ("starts_twice", "crashed", "session.start() was called twice"),
    ("closes_session", "crashed", "it closed its session without an answer"),
    ("dropout", "invalid", "predict must be causal, deterministic (no dropout)"),
]
FAILURES_AT_NIGHT = [  # what fails in the same place as another of these, as one in test_rehearsal.py or as an attack
    ("crashes_in_scoring", "crashed", "what it printed is withheld"),
    ("never_ends", "timed_out", "the state had not arrived when the 1 s of training"),
    ("never_starts", "timed_out", "session.start() was not called within 6 s"),
    ("huge_state", "invalid", "the state has 5,000,000 elements; 100,000 are allowed"),
    ("writes_data", "crashed", "SIGSEGV (perhaps it wrote to the training data, which is read-only"),
    ("no_numbers", "invalid", "a log-probability was not a finite number"),
    ("forged_claim", "invalid", "a target's log-probability was below -10,000 nats"),
    ("wrong_shape", "crashed", "returned shape (16, 31, 256) for tokens [16, 32]; expected [16, 32, 256]"),
    ("too_many_parameters", "invalid", "the state has 300,000 elements; 100,000 are allowed"),
    ("leaves", "crashed", "it exited without a result (exit status 0)"),
]


@pytest.mark.parametrize(
    ("name", "outcome", "reason"),
    [
        *FAILURES,
        *(pytest.param(*case, marks=pytest.mark.slow) for case in SLOW_FAILURES),
        *(pytest.param(*case, marks=pytest.mark.nightly) for case in FAILURES_AT_NIGHT),
    ],
)
def test_a_failure_is_an_outcome_with_a_reason(
    run_candidate, toy_task: LanguageModelTask, name: str, outcome: str, reason: str
) -> None:
    evaluation = run_candidate(program(name))
    assert isinstance(evaluation, Failed), evaluation
    assert (evaluation.outcome, reason in evaluation.reason) == (outcome, True), evaluation.reason
    assert len(evaluation.log) <= 1000 * toy_task.limits.log_kb + 100
    if name in ("crashes", "wrong_shape", "starts_twice"):
        assert "Traceback" in evaluation.log
        assert 'File "/candidate/train.py"' in evaluation.log or name == "wrong_shape"
    if name == "writes_data":
        assert "Segmentation fault" in evaluation.log
    if name == "crashes_in_scoring":
        quoted = toy_task.evaluation_rows("val")[0].tobytes()[:12]
        assert quoted.decode() not in evaluation.log + evaluation.reason


@pytest.mark.nightly
def test_logits_of_any_offset_are_normalised(run_candidate) -> None:
    """A model that knows nothing scores 8 bits a byte, whatever constant it adds to its logits."""
    evaluation = run_candidate(program("scaled"))
    assert isinstance(evaluation, Scored), evaluation
    assert evaluation.score == pytest.approx(8.0, abs=1e-6)


@pytest.mark.slow
def test_a_program_gets_the_31_bits_of_its_seed_that_every_generator_accepts(run_candidate, toy_seed: str) -> None:
    failing = "def train(session):\n    torch.manual_seed(session.seed)\n    raise ValueError(session.seed)\n"
    evaluation = run_candidate(f"{toy_seed}\n{failing}", seed=2**62 + 2**31 + 77)
    assert evaluation.reason == "training: ValueError: 77"
    assert evaluation.request.seed == 2**62 + 2**31 + 77


@pytest.mark.slow
def test_nothing_of_ours_is_in_a_sandbox(run_candidate, monkeypatch: pytest.MonkeyPatch) -> None:
    """No variable (API keys!), no network, no process, no descriptor, no place to write."""
    monkeypatch.setenv("ANTHROPIC_API_KEY", "sk-secret-of-ours")
    evaluation = run_candidate(program("curious"))
    assert "sk-secret" not in evaluation.log
    found = json.loads(evaluation.log.split("FOUND ", 1)[1].splitlines()[0])
    assert set(found["environment"]) <= {
        *("PATH", "HOME", "USER", "TMPDIR", "LANG", "PWD", "LD_LIBRARY_PATH", "CUDA_VISIBLE_DEVICES"),
        *("PYTHONDONTWRITEBYTECODE", "PYTHONHASHSEED", "PYTHONUNBUFFERED"),
        *("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "TORCHINDUCTOR_COMPILE_THREADS"),
        "TORCHINDUCTOR_CACHE_DIR",  # torch sets it
    }
    assert found["interfaces"] == ["lo"]
    assert found["connect"].startswith("refused")
    assert found["write"].startswith("refused")
    assert found["processes"] == []
    assert found["first"].startswith("refused")
    assert found["user"] != 0
    assert found["collects"]
    known = {"bin", "candidate", "dev", "etc", "lib", "lib32", "lib64", "library", "proc", "python", "sbin"}
    assert set(found["root"]) <= known | {"site", "site1", "tmp", "usr"}
    assert set(found["descriptors"]) <= {"/dev/null", "pipe", "socket"}


@pytest.mark.slow
def test_no_sandbox_works_and_says_so(run_candidate, toy_task: LanguageModelTask, toy_seed: str) -> None:
    evaluation = run_candidate(toy_seed, by=AuditedEvaluator(toy_task, NoSandbox()))
    assert isinstance(evaluation, Scored), evaluation
    assert evaluation.sandbox == "none"
    assert evaluation.score == pytest.approx(bigram_score(toy_task, "val"), abs=1e-5)


def test_a_sandbox_that_does_not_start_is_lost(run_candidate, toy_task: LanguageModelTask, toy_seed: str) -> None:
    evaluation = run_candidate(toy_seed, by=AuditedEvaluator(toy_task, Bubblewrap(Path("/bin/false"))))
    assert isinstance(evaluation, Failed)
    assert evaluation.outcome == "lost"
    assert "the sandbox did not start" in evaluation.reason


def test_a_sandbox_that_is_missing_is_lost(run_candidate, toy_task: LanguageModelTask, toy_seed: str) -> None:
    evaluation = run_candidate(toy_seed, by=AuditedEvaluator(toy_task, Bubblewrap(Path("/no/such/bwrap"))))
    assert isinstance(evaluation, Failed)
    assert (evaluation.outcome, "/no/such/bwrap" in evaluation.reason) == ("lost", True)


def test_a_full_disk_is_lost(run_candidate, toy_seed: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("tempfile.mkdtemp", full)
    evaluation = run_candidate(toy_seed)
    assert isinstance(evaluation, Failed)
    assert (evaluation.outcome, "No space left" in evaluation.reason) == ("lost", True)


def test_a_cancelled_evaluation_is_lost(run_candidate, toy_seed: str) -> None:
    cancelled = threading.Event()
    cancelled.set()
    evaluation = run_candidate(toy_seed, cancelled=cancelled)
    assert isinstance(evaluation, Failed)
    assert evaluation.outcome == "lost"


def test_a_defect_of_the_evaluator_is_a_failure_that_says_where(
    run_candidate, toy_seed: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The search goes on. The exception's own message, which may quote what a candidate sent, is left out."""

    def broken(self: EvaluationPipeline, sent: str = "to be or not to be"[::-1]) -> None:
        raise ZeroDivisionError(sent[::-1])

    monkeypatch.setattr(EvaluationPipeline, "run", broken)
    evaluation = run_candidate(toy_seed)
    assert isinstance(evaluation, Failed)
    assert (evaluation.outcome, evaluation.violation) == ("invalid", False)
    assert "ZeroDivisionError in test_evaluator.py, line" in evaluation.reason
    assert "in broken" in evaluation.defect
    assert "to be or not" not in repr(evaluation)


def test_claims_are_bounded() -> None:
    """Half of the largest float for one target made the audit divide by zero, and ended the search."""
    claims = np.full((4, 8), -3.0)
    assert within_bounds(claims) is claims
    claims[2, 3] = -1.7e308
    with pytest.raises(Aborted, match="below -10,000 nats") as ended:
        within_bounds(claims)
    assert (ended.value.outcome, ended.value.violation) == ("invalid", False)


def test_what_the_gate_refuses_is_never_run(run_candidate) -> None:
    evaluation = run_candidate("def train(session): ...\n")
    assert isinstance(evaluation, Failed)
    assert (evaluation.outcome, evaluation.resources.phases) == ("invalid", {})


def test_text_in_a_mounted_folder_is_refused(toy_task: LanguageModelTask, tmp_path: Path) -> None:
    class Showing(NoSandbox):
        def mounted(self) -> tuple[Path, ...]:
            return (tmp_path,)

    inside = dataclasses.replace(toy_task.corpus, path=str(tmp_path))
    for corpus in (inside, dataclasses.replace(toy_task.corpus, path=str(tmp_path.parent))):
        corpus.__dict__["_directory"] = toy_task.corpus.directory()
        with pytest.raises(SandboxUnavailable, match="candidates can read"):
            AuditedEvaluator(dataclasses.replace(toy_task, corpus=corpus), Showing())


def test_a_package_that_holds_the_text_is_refused(toy_task: LanguageModelTask, tmp_path: Path) -> None:
    class Showing(NoSandbox):
        def mounted(self) -> tuple[Path, ...]:
            return (tmp_path,)

    (tmp_path / "lib/python3.11/site-packages/plays").mkdir(parents=True)
    corpus = dataclasses.replace(toy_task.corpus, forbidden_packages=("plays",))
    corpus.__dict__["_directory"] = toy_task.corpus.directory()
    with pytest.raises(SandboxUnavailable, match=r"'plays' .* holds the evaluation text.* uninstall plays"):
        AuditedEvaluator(dataclasses.replace(toy_task, corpus=corpus), Showing())


@pytest.mark.parametrize(
    ("change", "message"), [({"rows": 10_000}, "lower task.rows"), ({"vocab": 100}, "task.vocab is 100")]
)
def test_a_task_that_does_not_fit_its_text_is_refused(
    toy_task: LanguageModelTask, change: dict[str, int], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        AuditedEvaluator(dataclasses.replace(toy_task, **change), NoSandbox())


def test_other_seeds_bring_the_data_in_another_order(toy_task: LanguageModelTask) -> None:
    first, second = (np.frombuffer(toy_task.training_stream(seed), np.uint8) for seed in (1, 2))
    assert not np.array_equal(first, second)
    assert np.array_equal(np.sort(first), np.sort(second))
    assert toy_task.training_stream(1) == first.tobytes()


def test_conditions_name_what_scores_depend_on(evaluator: AuditedEvaluator, toy_task: LanguageModelTask) -> None:
    conditions = evaluator.conditions(make_slots(1)[0])
    assert conditions.fingerprint == toy_task.fingerprint()
    assert "/T32/rows32" in conditions.fingerprint
    assert "x1 thread / torch" in conditions.hardware


def test_stages_of_killed_processes_are_swept(
    toy_task: LanguageModelTask, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    place, number, birth = owner.tag().split("-")
    swept = [f"treewright-{place}-{number}-{int(birth) - 1}-x", f"treewright-elsewhere-{number}-1-old"]
    kept = [f"treewright-{owner.tag()}-x", "treewright-mine", "treewright-my-own-2", "else-1-x"]
    for name in (*swept, *kept):
        (tmp_path / name).mkdir()
        os.utime(tmp_path / name, (0, 0))
    os.utime(tmp_path / swept[0])  # of a process of this machine that is dead: its age does not matter
    young = f"treewright-elsewhere-{number}-1-new"
    (tmp_path / young).mkdir()
    (tmp_path / "outside").mkdir()
    (tmp_path / f"treewright-{place}-{number}-1-link").symlink_to(tmp_path / "outside")
    AuditedEvaluator(toy_task, NoSandbox())
    left = [*kept, young, "outside", f"treewright-{place}-{number}-1-link"]
    assert sorted(p.name for p in tmp_path.iterdir()) == sorted(left)


@pytest.mark.slow
def test_the_strictness_decides_how_many_positions_are_audited(
    evaluator, toy_seed: str, toy_task: LanguageModelTask
) -> None:
    """The strictness of a request decides how many positions are audited; infinity gives the smallest audit."""

    def audited(strictness: float) -> int:
        request = Request("n", "r", 0, {"train.py": toy_seed}, 11, "screen", strictness=strictness, leader_score=64.0)
        done = evaluator.evaluate(request, make_slots(1)[0], threading.Event(), lambda phase, share, loss=None: None)
        assert isinstance(done, Scored), done
        assert done.audit is not None
        return done.audit.k

    assert audited(math.inf) == toy_task.audit_screen
    assert audited(40 * 0.005) >= 2 * toy_task.audit_screen
