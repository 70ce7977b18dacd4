"""The examples run as they stand; those that train do so in the slow tier, with a small budget."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from launching import environment
from pages import HOUSE

import search
from archive.records import Request
from operators.factory import build_operators
from prepare.language_model import LanguageModelTask
from prepare.load import task_from
from search import factory
from search.settings import config_for

EXAMPLES = HOUSE / "examples"
SHORT = ("task.seconds=1", "executor.slots=1", "llm=none")


def run(folder: Path, *words: str, **variables: str) -> str:
    done = subprocess.run(
        [sys.executable, *words],
        cwd=folder,
        env=environment(**variables),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def score(request: Request) -> float:
    values: dict[str, float] = {}
    exec(request.files["train.py"], values)
    return (values["X"] - 0.3) ** 2


@pytest.mark.slow
def test_the_notebook_finds_better_constants(tmp_path: Path) -> None:
    printed = run(tmp_path, str(EXAMPLES / "notebook.py"))
    assert "Champion" in printed
    assert "STEP = 0.5" not in printed
    assert list(tmp_path.iterdir()) == []


def test_the_plugins_search(monkeypatch: pytest.MonkeyPatch) -> None:
    """Policy and operator come from their YAML files, as ``--config-dir`` finds them."""
    folder = EXAMPLES / "plugins"
    monkeypatch.setattr(sys, "path", [*sys.path])
    config = config_for(["policy=tournament", "operators=jitter"], "cpu", folder)
    policy = factory.build_policy(config.policy)
    operators = build_operators(config.operators, None).operators
    task = search.OwnTask(score, "X = 1.0  # tune: -2..2\n", direction="minimise")
    with search.Search(task, policy, operators=operators, budget=20) as s:
        while (request := s.ask()) is not None:
            s.tell(s.evaluate(request))
        assert {node.candidate.operator for node in s.tree.nodes} == {"seed", "jitter"}
        assert s.tree.mean(s.best.node_id) < 0.4


@pytest.fixture
def corpus_task(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> LanguageModelTask:
    monkeypatch.syspath_prepend(str(EXAMPLES / "corpus"))
    monkeypatch.setenv("TREEWRIGHT_CACHE", str(tmp_path))
    return task_from(config_for(["task=arithmetic"], "cpu", EXAMPLES / "corpus").task)


def test_the_corpus_has_splits_that_share_no_line(corpus_task: LanguageModelTask) -> None:
    corpus_task.prepare()
    held_out = [bytes(corpus_task.corpus.evaluation(split)) for split in ("val", "select", "holdout")]
    splits = [set(text.splitlines()) for text in (bytes(corpus_task.corpus.documents()[0]), *held_out)]
    assert sum(map(len, splits)) == len(set().union(*splits)) == 60_000
    assert corpus_task.evaluation_rows("val").shape == (512, 129)


@pytest.mark.nightly
def test_the_notebook_trains(tmp_path: Path) -> None:
    assert "3 scored" in run(tmp_path, str(EXAMPLES / "notebook.py"), "--train")


@pytest.mark.slow
def test_the_corpus_trains_from_the_command_line(tmp_path: Path) -> None:
    words = ("task=arithmetic", "budget.evaluations=1", *SHORT, f"archive={tmp_path / 'a.duckdb'}")
    assert "1 scored" in run(EXAMPLES / "corpus", "-m", "search", "--config-dir", ".", *words)


@pytest.mark.slow
def test_the_plugins_run_from_the_command_line(tmp_path: Path) -> None:
    """In a copy with the stub evaluator beside them: what is new here is how classes are found."""
    shutil.copytree(EXAMPLES / "plugins", tmp_path / "plugins")
    shutil.copytree(HOUSE / "tests" / "conf" / "evaluator", tmp_path / "plugins" / "evaluator")
    words = ("policy=tournament", "operators=jitter", "evaluator=stub", "budget.evaluations=6", *SHORT)
    assert "6 scored" in run(tmp_path / "plugins", "-m", "search", "--config-dir", ".", *words)
