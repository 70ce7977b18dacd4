"""The climbmix data from a server of ours: shards, splits, what a resume and another number of shards do."""

from __future__ import annotations

import contextlib
import dataclasses
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import duckdb
import numpy as np
import pytest
from shard_server import Behaviour, Files, serving
from small_tasks import task_on_tokens

from prepare.__main__ import main
from prepare.data import climbmix
from prepare.data.climbmix import ClimbMix
from prepare.data.corpora import EVALUATION, PreparationError
from prepare.data.download import RetryPolicy
from prepare.data.tokenised import TextSource

LAST = 3


def shard(folder: Path, texts: list[str]) -> bytes:
    """A parquet file with a column ``text``."""
    path = folder / "made.parquet"
    with duckdb.connect() as connection:
        connection.execute("CREATE TABLE documents (text VARCHAR, other INTEGER)")
        connection.executemany("INSERT INTO documents VALUES (?, 1)", [[text] for text in texts])
        connection.execute(f"COPY documents TO '{path}' (FORMAT parquet, ROW_GROUP_SIZE 16)")
    return path.read_bytes()


def document(number: int) -> str:
    words = np.random.default_rng(number).choice(["river", "mountain", "naïve", "ocean", "storm", "你好"], size=60)
    return f"Document {number}. " + " ".join(words)


@pytest.fixture(scope="module")
def shards(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    folder = tmp_path_factory.mktemp("shards")
    texts = {number: [document(1000 * number + i) for i in range(60)] for number in range(LAST + 1)}
    texts[LAST] += [document(1000 * LAST).upper() + "\n", document(1000 * LAST + 59)]  # twice, but for layout
    texts[0].insert(5, document(1000 * LAST + 1).replace(" ", "\n"))  # a training document that is evaluated, too
    texts[1].append("")
    return {f"shard_{number:05d}.parquet": shard(folder, some) for number, some in texts.items()}


@pytest.fixture
def files(shards: dict[str, bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Files]:
    monkeypatch.setenv("TREEWRIGHT_CACHE", str(tmp_path / "cache"))
    with serving(Files(dict(shards))) as served:
        yield served


def corpus(files: Files, **options: object) -> ClimbMix:
    retry = RetryPolicy(attempts=3, timeout=20.0, sleep=lambda seconds: None)
    return dataclasses.replace(
        ClimbMix(shards=2, url=files.url, evaluation_mb=0.004, last=LAST, retry=retry),
        **options,  # type: ignore[arg-type]
    )


def test_shards_come_once_and_are_dealt(files: Files) -> None:
    data = corpus(files)
    assert isinstance(data, TextSource)
    assert not data.is_prepared()
    assert data.prepare() == data.directory()
    assert data.is_prepared()
    assert [path for path, _ in files.asked] == ["/shard_00000.parquet", "/shard_00001.parquet", "/shard_00003.parquet"]
    splits = {split: list(data.texts(split)) for split in EVALUATION}
    for split, texts in splits.items():
        assert data.evaluation(split).tobytes() == b"".join(texts)
        assert 4000 <= sum(map(len, texts)) < 5000
        assert data.text_bytes(split) == sum(map(len, texts))
    everything = [text for texts in splits.values() for text in texts]
    assert len(set(everything)) == len(everything)
    assert b"Document 3001. " in b"".join(everything)
    trained = list(data.texts("train"))
    assert len(trained) == 120  # without the copy of an evaluated one, and the empty one
    assert trained[0] == document(0).encode()
    assert trained[-1] == document(1059).encode()
    assert [part.tobytes() for part in data.documents()] == trained
    again = corpus(files)
    again.prepare()
    assert len(files.asked) == 3
    assert again.fingerprint() == data.fingerprint()


def test_a_shard_that_is_there_is_not_shown_as_missing(files: Files, monkeypatch: pytest.MonkeyPatch) -> None:
    corpus(files).prepare()
    told: dict[str, float] = {}

    @contextlib.contextmanager
    def watched(what: str, total: float) -> Iterator[Callable[[float], None]]:
        yield lambda done: told.update({what: done})

    monkeypatch.setattr(climbmix, "progress", watched)
    corpus(files).prepare()
    sizes = [len(files.contents[f"shard_{number:05d}.parquet"]) / 1e6 for number in (0, 1, LAST)]
    assert told == {f"shard {place + 1} of 3": size for place, size in enumerate(sizes)}


def test_more_shards_fetch_only_what_is_missing_and_evaluate_on_the_same(files: Files) -> None:
    few, many = corpus(files), corpus(files, shards=3)
    few.prepare()
    many.prepare()
    assert [path for path, _ in files.asked[3:]] == ["/shard_00002.parquet"]
    assert all(np.array_equal(few.evaluation(split), many.evaluation(split)) for split in EVALUATION)
    assert few.fingerprint() != many.fingerprint()


def test_a_connection_that_drops_in_every_shard(files: Files) -> None:
    files.behave = lambda number: Behaviour(send=1500) if number % 2 == 0 else Behaviour()
    corpus(files).prepare()
    assert [asked for _, asked in files.asked] == [None, "bytes=1500-"] * 3


def test_the_other_size_of_evaluation_is_other_data(files: Files) -> None:
    one, two = corpus(files), corpus(files, evaluation_mb=0.003)
    one.prepare()
    two.prepare()
    assert one.fingerprint() != two.fingerprint()
    assert len(one.evaluation("val")) > len(two.evaluation("val"))


def test_the_same_size_of_evaluation_is_the_same_data_however_it_is_written(files: Files) -> None:
    one, two = corpus(files, evaluation_mb=1), corpus(files, evaluation_mb=1.0)
    one.prepare()
    assert two.is_prepared()
    assert one.fingerprint() == two.fingerprint()


def test_what_is_no_shard_is_refused(files: Files) -> None:
    files.contents["shard_00001.parquet"] = b"<html>Please log in</html>"
    with pytest.raises(PreparationError, match=r"not a parquet file \(it begins with b'<htm'"):
        corpus(files).prepare()
    files.contents["shard_00001.parquet"] = b"PAR1" + b"?" * 5000 + b"PAR1"
    data = corpus(files)
    data.prepare()
    with pytest.raises(PreparationError, match="cannot be read as a shard"):
        list(data.texts("train"))


def test_a_shard_that_is_not_there_names_the_address(files: Files) -> None:
    with pytest.raises(PreparationError, match=r"shard_00000\.parquet is not available: the server answered 404"):
        corpus(files, url=f"{files.url}/elsewhere").prepare()


def test_without_the_library_nothing_is_fetched(files: Files, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "duckdb", None)
    with pytest.raises(PreparationError, match="Run: pip install duckdb"):
        corpus(files).prepare()
    assert files.asked == []


def test_nothing_is_used_before_it_is_prepared(files: Files) -> None:
    data = corpus(files)
    for action in (data.fingerprint, lambda: data.evaluation("val"), lambda: list(data.texts("val"))):
        with pytest.raises(PreparationError, match="python -m prepare task=NAME"):
            action()


def test_damaged_evaluation_splits_are_noticed(files: Files) -> None:
    data = corpus(files)
    data.prepare()
    [path] = data.directory().glob("evaluation-*/val.json")
    path.write_bytes(path.read_bytes().replace(b"river", b"rivEr", 1))
    with pytest.raises(PreparationError, match="is damaged"):
        corpus(files).prepare()


@pytest.mark.parametrize(
    "options", [{"shards": 0}, {"shards": LAST + 1}, {"shards": 1.5}, {"shards": "two"}, {"evaluation_mb": 0}]
)
def test_numbers_that_make_no_sense_are_refused(files: Files, options: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=r"data\."):
        corpus(files, **options)


def test_a_task_on_its_tokens(files: Files) -> None:
    task = task_on_tokens(corpus(files), rows=8)
    task.prepare()
    assert task.is_prepared()
    assert task.evaluation_rows("holdout").shape == (8, 33)
    assert task.fingerprint().startswith("climbmix-")


def test_python_m_prepare_with_shards(files: Files, capsys: pytest.CaptureFixture[str]) -> None:
    files.contents["shard_06542.parquet"] = files.contents[f"shard_{LAST:05d}.parquet"]
    files.behave = lambda number: Behaviour(send=1500) if number == 1 else Behaviour()
    words = ["task=gpt", "shards=2", f"data.url={files.url}/", "data.evaluation_mb=0.004", "device=cpu"]
    small = ["task.context=32", "task.vocab=300", "task.rows=8"]
    assert main([*words, *small]) == 0
    asked = [path for path, _ in files.asked]
    assert asked == [f"/shard_{number:05d}.parquet" for number in (0, 1, 1, 6542)]
    assert "climbmix: prepared in" in capsys.readouterr().out
    assert main([*words, *small]) == 0
    assert len(files.asked) == 4
    assert "climbmix: already prepared in" in capsys.readouterr().out
