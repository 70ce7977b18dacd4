"""A real model behind a real server: opt-in, since it takes minutes and a gigabyte. How to get one: ``model.py``.

    TREEWRIGHT_LIVE=http://127.0.0.1:8080/v1 python -m pytest tests/live

Sixteen proposals by the real operators through ``conf/llm/local.yaml``, and a paper on the shipped study. A small model
is often wrong, so what is asserted is what must hold for any model: each answer is counted and recorded, ends as a
candidate or with a reason, and some can be used; a paper passes its audit.
"""

from __future__ import annotations

import gzip
import json
import os
import sys
from pathlib import Path
from typing import Any

import pytest
from inside import archive as ask
from inside import run

sys.path.append(str(Path(__file__).parent))

from judging import Bench, summary
from proposals import NAME, Book, Maker, figures, judged, make, settings

from operators.base import NoCandidate
from operators.factory import build_meter
from prepare.load import find_file, task_from
from search import factory
from train.sandbox.base import find_sandbox

URL = os.environ.get("TREEWRIGHT_LIVE")
MODEL = os.environ.get("TREEWRIGHT_LIVE_MODEL", NAME)
PROPOSALS = 16
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(URL is None, reason="TREEWRIGHT_LIVE names no server; tests/live/model.py says how to have one"),
]


@pytest.fixture(scope="module")
def config() -> Any:
    return settings(str(URL), MODEL, 5000, 400)


@pytest.fixture(scope="module")
def book(config: Any, tmp_path_factory: pytest.TempPathFactory) -> Book:
    """All that was asked and answered; one set for all tests here."""
    task = task_from(config.task)
    task.corpus.prepare()
    bench = Bench.of(task, find_sandbox("auto"))
    book = Book.open(tmp_path_factory.mktemp("live") / "live.jsonl")
    program, seed = find_file(task.program).read_text(), factory.seed_files(task)
    make(Maker(config, book, "test", bench, program, seed), range(PROPOSALS), 0)
    return book


def test_the_server_knows_the_model(config: Any) -> None:
    meter = build_meter(config.llm)
    assert meter is not None
    meter.check()


def test_every_answer_is_counted(book: Book) -> None:
    calls = [row["call"] for row in book.of("call", "test")]
    assert len(calls) >= PROPOSALS
    assert {call["outcome"] for call in calls} == {"answered"}
    assert all(call["answer"] and call["tokens_in"] > 1000 and call["tokens_out"] > 0 for call in calls)
    assert {call["dollars"] for call in calls} == {0.0}


def test_every_proposal_is_a_candidate_or_has_a_reason(book: Book) -> None:
    made = list(book.of("proposal", "test"))
    assert len(made) == PROPOSALS
    assert all((row["refused"] is None) == ("files" in row) for row in made)
    assert NoCandidate.__name__ not in str(made)


def test_some_can_be_used(book: Book) -> None:
    """Far less than was measured for a model of 1.5 billion parameters: see tests/benchmarks/README.md."""
    found = summary(judged(book, "test"), figures)
    assert found["read"] >= 0.3
    assert found["accepted"] > 0


@pytest.mark.timeout(7200)
def test_a_paper_on_the_shipped_study_is_written_and_audited(tmp_path: Path) -> None:
    """Whatever the model writes, no number gets in that the archive does not have: what fails is left plain."""
    shipped = Path(__file__).parents[2] / "docs" / "studies" / "circles.duckdb.gz"
    (tmp_path / "circles.duckdb").write_bytes(gzip.decompress(shipped.read_bytes()))
    model = ("llm=local", f"llm.base_url={URL}", f"llm.model={MODEL}", "llm.prompt_tokens=6000", "llm.max_tokens=1200")
    words = ("write", "circles", "--out", "papers", "--repairs", "1", "--json", "archive=circles.duckdb", *model)
    done = run([sys.executable, "-m", "search", *words], tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    said = json.loads(done.stdout)
    print(said["left_plain"])
    audited = ask(tmp_path, "audit", "papers/circles-1", "--archive", "circles.duckdb")
    assert audited.returncode == 0, audited.stdout + audited.stderr
