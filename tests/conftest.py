"""Fixtures that several packages share: a toy task whose whole evaluation takes about four seconds."""

from __future__ import annotations

import atexit
import itertools
import os
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

# As in search/__main__.py, and before numpy is imported: threads of its own would spin on the candidates' cores.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
os.environ.setdefault("TREEWRIGHT_KEEP_IMAGE", "1")

import duckdb
import hypothesis
import numpy as np
import pytest

from archive.records import Evaluation, Purpose, Request
from archive.storage import schema, store
from archive.storage.database import connect, create_atomically
from prepare.data.corpora import Folder
from prepare.language_model import LanguageModelTask, Limits
from prepare.task import Metric
from train.hardware.slots import make_slots
from train.language_model.evaluator import AuditedEvaluator
from train.progress import ProgressCallback
from train.sandbox.base import Bubblewrap, find_sandbox
from train.sandbox.image.folder import KEEP, remove_unused

hypothesis.settings.register_profile("by day", deadline=None, max_examples=50)  # a busy machine is no failure
hypothesis.settings.register_profile("at night", deadline=None, max_examples=300)

CANDIDATES = Path(__file__).parent / "train" / "candidates"
MEMORY = Path("/dev/shm")
LEAST_ROOM = 4 << 30
TEMPORARY = "PYTEST_DEBUG_TEMPROOT"
"""Environment variable of pytest: where ``tmp_path`` is made."""


def pytest_configure(config: pytest.Config) -> None:
    if is_fit_for_tests(MEMORY):
        os.environ.setdefault(TEMPORARY, str(MEMORY))
    hypothesis.settings.load_profile("by day" if "not nightly" in config.option.markexpr else "at night")
    keep_to_own_cores()
    atexit.register(end_in_silence)


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Keep tests that share something which is made for their module on one worker: two workers make it twice."""
    for item in items:
        if isinstance(item, pytest.Function) and item.get_closest_marker("xdist_group") is None and _shares(item):
            item.add_marker(pytest.mark.xdist_group(item.path.stem))


def _shares(test: pytest.Function) -> bool:
    named = test._fixtureinfo.name2fixturedefs.items()
    return any(found[-1].scope == "module" for name, found in named if name != "browser_of_a_module")


def end_in_silence() -> None:
    """Write no errors any more: DuckDB's binding would list the objects that live when the interpreter ends."""
    with open(os.devnull, "wb") as nothing:
        os.dup2(nothing.fileno(), 2)


def is_fit_for_tests(folder: Path) -> bool:
    """Return whether a folder in memory has room and lets programs run: each commit waits for a disk otherwise."""
    try:
        facts = os.statvfs(folder)
    except OSError:
        return False
    return not facts.f_flag & os.ST_NOEXEC and facts.f_bavail * facts.f_frsize >= LEAST_ROOM


def keep_to_own_cores() -> None:
    """Give each worker of pytest-xdist cores of its own, so that candidates of two workers never share one."""
    worker, workers = os.environ.get("PYTEST_XDIST_WORKER"), os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1")
    if worker is not None and hasattr(os, "sched_setaffinity"):
        cores = sorted(os.sched_getaffinity(0))
        number, count = int(worker.removeprefix("gw")), min(int(workers), len(cores))
        os.sched_setaffinity(0, cores[number % count :: count])


@pytest.fixture(scope="session", autouse=True)
def archives_from_a_template(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Make new archives as copies of one that the program made: defining the views takes 0.2 s, a thousand times.

    Those in memory are files, too, whose names are removed while they are open.
    """
    folder = tmp_path_factory.mktemp("template")
    template, numbers = folder / "empty.duckdb", itertools.count()
    create_atomically(template, lambda connection: schema.create(connection, time.time()))

    def copied(path: Path, build: Callable[[duckdb.DuckDBPyConnection], None]) -> bool:
        if path.exists() or not path.parent.is_dir() or Path(f"{path}.wal").exists():
            return create_atomically(path, build)
        try:
            shutil.copyfile(template, path)
        except OSError:
            path.unlink(missing_ok=True)
            return create_atomically(path, build)
        return True

    def in_memory(kind: type[store.Archive], *, clock: Callable[[], float] = time.time) -> store.Archive:
        copy = folder / f"{next(numbers)}.duckdb"
        shutil.copyfile(template, copy)
        connection = connect(copy, read_only=False)
        copy.unlink()
        return kind(Path(":memory:"), connection, clock)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(store, "create_atomically", copied)
        patch.setattr(store.Archive, "in_memory", classmethod(in_memory))
        yield


@pytest.fixture(scope="session", autouse=True)
def define_views() -> Iterator[Callable[[duckdb.DuckDBPyConnection, float], None]]:
    """Define the views of an archive only if it has others: an opening that defines them anew takes thrice as long.

    A writer defines them at each opening, in case they were changed by hand. The function that does is yielded.
    """
    put, wanted = schema._put_views, (schema.SCHEMA_VERSION, schema._views_digest())

    def put_if_others(connection: duckdb.DuckDBPyConnection, now: float) -> None:
        if schema._state(connection) != wanted:
            put(connection, now)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(schema, "_put_views", put_if_others)
        yield put


@pytest.fixture(scope="session", autouse=True)
def compositions_from_memory() -> Iterator[None]:
    """Read the YAML files of ``conf/`` once a session, and again after a change: a composition takes 0.12 s."""
    from composing import remembered  # not above: programs that tests start import this file without tests/support

    with remembered():
        yield


@pytest.fixture(scope="session", autouse=True)
def each_kind_of_sandbox_is_probed_once() -> Iterator[None]:
    """Ask once a session whether a sandbox can be made here: each command asks, which takes 0.2 s."""
    works: set[Bubblewrap] = set()
    probe = Bubblewrap.probe

    def once(bubblewrap: Bubblewrap) -> str | None:
        problem = None if bubblewrap in works else probe(bubblewrap)
        if problem is None:
            works.add(bubblewrap)
        return problem

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Bubblewrap, "probe", once)
        yield


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Remove the image that sandboxes mount, which was kept from one command of the tests to the next."""
    os.environ.pop(KEEP, None)
    if "PYTEST_XDIST_WORKER" not in os.environ:
        remove_unused()


def write_texts(folder: Path, files: int = 16, words: int = 1000) -> Path:
    """Text files of made-up words, in a made-up language that is the same every time."""
    rng = np.random.default_rng(1616)
    letters = np.array(list("abcdefghijklmnopqrstuvwxyz"))
    dictionary = ["".join(rng.choice(letters, size=rng.integers(2, 9))) for _ in range(300)]
    frequency = 1.0 / np.arange(1, len(dictionary) + 1)
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(files):
        text = " ".join(rng.choice(dictionary, size=words, p=frequency / frequency.sum()))
        (folder / f"{number:02}.txt").write_text(text)
    return folder


@pytest.fixture(scope="session")
def toy_task(tmp_path_factory: pytest.TempPathFactory) -> LanguageModelTask:
    """One second of training, context 32, 32 rows, and tight limits. Its cache lies in a temporary folder."""
    home = tmp_path_factory.mktemp("toy")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TREEWRIGHT_CACHE", str(home / "cache"))
        corpus = Folder("toy", str(write_texts(home / "texts")))
        corpus.prepare()
    return LanguageModelTask(
        name="toy",
        corpus=corpus,
        metric=Metric("val_bpb", "minimise", 0.0, 64.0, "bpb"),
        seed_file=str(CANDIDATES / "bigram.py"),
        program=str(CANDIDATES / "program.md"),
        seconds=1.0,
        context=32,
        rows=32,
        batch=16,
        limits=Limits(
            startup_seconds=5.0,
            check_seconds=5.0,
            score_seconds=10.0,
            predict_seconds=1.5,
            audit_seconds=10.0,
            memory_mb=1200,
            processes=64,
            parameters=100_000,
            state_mb=1.0,
            log_kb=8,
        ),
        audit_screen=24,
        audit_claim=80,
    )


@pytest.fixture(scope="session")
def toy_seed() -> str:
    """Source of an honest program: a table of byte pairs."""
    return (CANDIDATES / "bigram.py").read_text()


@pytest.fixture(scope="session")
def evaluator(toy_task: LanguageModelTask) -> Iterator[AuditedEvaluator]:
    """``TREEWRIGHT_TEST_TIER=landlock pytest tests/attacks`` runs the attacks on another tier."""
    found = AuditedEvaluator(toy_task, find_sandbox(os.environ.get("TREEWRIGHT_TEST_TIER", "auto")))
    (slot,) = make_slots(1)
    found.keep(slot)
    yield found
    found.release(slot)


RunCandidate = Callable[..., Evaluation]


@pytest.fixture(scope="session")
def run_candidate(evaluator: AuditedEvaluator) -> RunCandidate:
    """``run_candidate(source, seed=, purpose=, leader_score=, by=)``: one evaluation on the first slot."""

    def run(
        source: str,
        *,
        seed: int = 11,
        purpose: Purpose = "screen",
        leader_score: float | None = None,
        by: AuditedEvaluator | None = None,
        cancelled: threading.Event | None = None,
        watch: ProgressCallback = lambda phase, share, loss=None: None,
    ) -> Evaluation:
        request = Request("node", "run", 0, {"train.py": source}, seed, purpose, leader_score=leader_score)
        if by is not None and by.sandbox == evaluator.sandbox and by.groups is not None:
            by._forks = evaluator._forks  # torch is imported once for all tests
        return (by or evaluator).evaluate(request, make_slots(1)[0], cancelled or threading.Event(), watch)

    return run
