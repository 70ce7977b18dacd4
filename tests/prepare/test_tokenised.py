"""A corpus as rows of tokens: made once, checked when used, and worth bits per byte of the text."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
from pathlib import Path

import numpy as np
import pytest
from small_tasks import task_on_tokens

from prepare.data import tokenised
from prepare.data.corpora import Folder, PreparationError
from prepare.data.packing import BOS
from prepare.language_model import LanguageModelTask
from prepare.scoring import Measure, storage

SPLITS = ("val", "select", "holdout")


def texts(folder: Path, count: int = 40) -> Path:
    """Files of made-up sentences, all different."""
    folder.mkdir(exist_ok=True)
    rng = np.random.default_rng(3)
    words = ["".join(chr(97 + letter) for letter in rng.integers(0, 26, size=5)) for _ in range(60)]
    for number in range(count):
        drawn = rng.choice(words, size=400 + 20 * number)
        (folder / f"{number}.txt").write_text(f"File {number}. " + " ".join(drawn) + ".\n")
    return folder


def corpus(folder: Path) -> Folder:
    return Folder("own", str(folder))


@pytest.fixture
def task(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> LanguageModelTask:
    monkeypatch.setenv("TREEWRIGHT_CACHE", str(tmp_path / "cache"))
    return task_on_tokens(corpus(texts(tmp_path / "texts")))


def test_rows_hold_the_texts_of_their_split(task: LanguageModelTask) -> None:
    assert not task.is_prepared()
    task.prepare()
    assert task.is_prepared()
    assert task.tokenised is not None
    words = task.tokenised.vocabulary
    for split in SPLITS:
        rows = task.evaluation_rows(split)
        assert rows.shape == (16, 33)
        assert rows.dtype == np.uint16
        assert (rows[:, 0] == BOS).all()
        text = task.corpus.evaluation(split).tobytes()  # type: ignore[arg-type]
        for row in rows.tolist():
            parts = [list(part) for part in np.split(np.array(row), np.flatnonzero(np.array(row) == BOS))]
            assert all(words.decode(part) in text for part in parts if part)


def test_the_order_of_the_training_rows_follows_the_seed(task: LanguageModelTask) -> None:
    task.prepare()
    first, second = (np.frombuffer(task.training_stream(seed), np.uint16).reshape(-1, 33) for seed in (1, 2))
    assert len(first) * 33 == task.training_size()
    assert not np.array_equal(first, second)
    assert sorted(map(tuple, first.tolist())) == sorted(map(tuple, second.tolist()))
    assert bytes(task.training_stream(1)) == first.tobytes()


def test_a_uniform_model_has_the_bits_that_its_tokens_have(task: LanguageModelTask) -> None:
    task.prepare()
    rows = task.evaluation_rows("val")
    measure = task.measure(rows)
    claims = np.full((16, 32), -math.log(300))
    targets = rows[:, 1:]
    assert task.tokenised is not None
    lengths = task.tokenised.vocabulary.lengths(300)
    # Nats of the targets that are not special, over the bytes of all targets: special ones have none.
    expected = (targets != BOS).sum() * math.log(300) / math.log(2) / lengths[targets].sum()
    assert measure.bits_per_byte(float(measure.only_counted(claims).mean())) == pytest.approx(expected)
    assert (targets == BOS).any()
    places = np.argwhere(np.ones_like(claims, dtype=bool))
    at = measure.only_counted_at(places, claims.ravel())
    assert np.array_equal(at.reshape(claims.shape), measure.only_counted(claims))


def test_a_task_on_bytes_is_measured_as_ever() -> None:
    assert Measure().bits_per_byte(-1.25) == 1.25 / math.log(2)
    values = np.ones((2, 3))
    assert Measure().only_counted(values) is values
    assert (storage(256), storage(257)) == (np.dtype("u1"), np.dtype("<u2"))


def test_what_is_there_is_not_made_again(task: LanguageModelTask, monkeypatch: pytest.MonkeyPatch) -> None:
    task.prepare()
    before = task.fingerprint()

    def train(*_: object) -> None:
        raise AssertionError("trained again")

    monkeypatch.setattr(tokenised.Tokenizer, "train", train)
    again = dataclasses.replace(task)
    again.prepare()
    assert again.fingerprint() == before
    longer = dataclasses.replace(task, context=48)
    longer.prepare()  # packed again, from the tokens that are there
    assert longer.evaluation_rows("val").shape == (16, 49)
    assert longer.fingerprint() != before


def test_the_tokenizer_is_part_of_the_fingerprint_and_sees_the_training_split_alone(
    task: LanguageModelTask, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[str] = []
    train = tokenised.Tokenizer.train

    def watched(given: object, vocab: int) -> object:
        drawn = list(given)  # type: ignore[call-overload]
        seen.extend(drawn)
        return train(drawn, vocab)

    monkeypatch.setattr(tokenised.Tokenizer, "train", watched)
    task.prepare()
    assert "".join(seen).encode() == b"".join(d.tobytes() for d in task.corpus.documents())
    other = dataclasses.replace(task, vocab=310)
    other.prepare()
    assert other.fingerprint() != task.fingerprint()
    assert "bpe300-" in task.fingerprint()


def test_another_rule_makes_everything_anew(task: LanguageModelTask, monkeypatch: pytest.MonkeyPatch) -> None:
    task.prepare()
    before = task.fingerprint()
    monkeypatch.setattr(tokenised, "RULE", 2)
    again = dataclasses.replace(task)
    assert not again.is_prepared()
    again.prepare()
    assert again.fingerprint() != before


@pytest.mark.parametrize("name", ["T32/val.rows", "T32/manifest.json", "T32/train.rows", "vocabulary.json"])
def test_what_is_damaged_is_noticed(task: LanguageModelTask, name: str) -> None:
    task.prepare()
    assert task.tokenised is not None
    path = task.tokenised.directory() / name
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data if path.suffix == ".rows" else data[:-2])
    with pytest.raises(PreparationError, match="is damaged"):
        dataclasses.replace(task).prepare()


def test_damaged_tokens_are_not_packed(task: LanguageModelTask) -> None:
    task.prepare()
    assert task.tokenised is not None
    path = task.tokenised.directory() / "train.tokens"
    path.write_bytes(path.read_bytes()[:-2])
    with pytest.raises(PreparationError, match="is damaged"):
        dataclasses.replace(task, context=48).prepare()


def test_an_interrupted_preparation_leaves_nothing_that_counts(
    task: LanguageModelTask, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(tokenised, "lay_out", stop)
        with pytest.raises(KeyboardInterrupt):
            task.prepare()
    assert not task.is_prepared()
    task.prepare()
    assert task.is_prepared()


def test_too_little_text_is_refused_with_the_cure(task: LanguageModelTask) -> None:
    many = dataclasses.replace(task, rows=5000)
    many.prepare()
    with pytest.raises(ValueError, match=r"task.rows asks for 5,000. Give the corpus more text, or lower task.rows"):
        many.evaluation_rows("val")
    with pytest.raises(PreparationError, match="too few for one row of 60,001"):
        dataclasses.replace(task, context=60_000).prepare()


def test_text_that_is_not_utf8_is_refused(tmp_path: Path, task: LanguageModelTask) -> None:
    (tmp_path / "texts" / "latin.txt").write_bytes("naïve".encode("latin-1") * 30)
    with pytest.raises(PreparationError, match="is not UTF-8 text"):
        task_on_tokens(corpus(tmp_path / "texts")).prepare()


def test_a_corpus_without_texts_is_refused() -> None:
    class Numbers:
        name = "numbers"

    with pytest.raises(PreparationError, match=r"Numbers cannot be read as tokens; expected .*texts\(split\)"):
        tokenised.Tokenised(Numbers(), 300, 8).prepare()


def test_all_folders_that_hold_text_are_known(task: LanguageModelTask) -> None:
    task.prepare()
    assert task.tokenised is not None
    assert task.tokenised.directory() in task.locations()
    assert set(task.corpus.locations()) < set(task.locations())


@pytest.mark.parametrize(
    ("changes", "message"),
    [({"encoding": "letters"}, "expected bytes or tokens"), ({"vocab": 40_000}, "at most 32,768"),
     ({"encoding": "bytes"}, "at most 256 with task.encoding=bytes"), ({"vocab": 256}, "at least 257"),
     ({"encoding": "bytes", "vocab": 0}, "at least 1 with")],
)  # fmt: skip
def test_what_makes_no_sense_is_refused(tmp_path: Path, changes: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        task_on_tokens(corpus(tmp_path), **changes)


def test_the_digest_is_of_the_tokens(task: LanguageModelTask) -> None:
    task.prepare()
    assert task.tokenised is not None
    path = task.tokenised.directory() / "vocabulary.json"
    tokens = ["", *json.loads(path.read_text())]  # the first is BOS
    assert task.tokenised.vocabulary.digest() == hashlib.sha256("\0".join(tokens).encode()).hexdigest()[:12]
