"""Claims are judged at secret positions: what is sent, what the score estimates, what remembering it is worth."""

from __future__ import annotations

import contextlib
import math
import threading
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest

from archive.difference import Difference, paired_sampling, welch
from archive.records import Evaluation, Purpose, Request, Scored
from prepare.language_model import LanguageModelTask
from prepare.scoring import Bytes, Floats, Measure, Symbols
from train.hardware.slots import make_slots
from train.language_model.evaluation import EvaluationPipeline
from train.language_model.evaluator import AuditedEvaluator
from train.language_model.judgement import LENGTHS, batches, secret_positions
from train.language_model.predict_sandbox import PredictSandbox
from train.sandbox.base import NoSandbox

KEY, CONTEXT, WINDOWS = b"k" * 32, 16, 50
FILLER = bytes([255]) * 1000  # a byte that the windows do not hold


@pytest.fixture
def windows() -> Bytes:
    return np.random.default_rng(5).integers(0, 200, size=(WINDOWS, CONTEXT + 1)).astype(np.uint8)


def positions(key: bytes = KEY, corpus: str = "text-1", split: str = "holdout", measure: Measure | None = None) -> list:
    found = secret_positions(key, corpus, split, (WINDOWS, CONTEXT), measure or Measure())  # type: ignore[arg-type]
    return [found.name, *found.positions.tolist()]


# ---------------------------------------------------------------- the positions


def test_positions_are_fixed_for_an_archive_a_corpus_and_a_split() -> None:
    sets = [positions(), positions(b"j" * 32), positions(corpus="text-2"), positions(split="select")]
    assert positions() == sets[0]
    assert len({tuple(each) for each in sets}) == len({each[0] for each in sets}) == 4
    assert sum(a == b for a, b in zip(sets[0][1:], sets[1][1:], strict=True)) < WINDOWS / 3


def test_positions_are_spread_evenly_and_each_is_as_likely() -> None:
    found = np.array([positions(number.to_bytes(32, "little"))[1:] for number in range(600)])
    counts = np.array([np.bincount(each, minlength=CONTEXT) for each in found])
    assert (counts.max(axis=1) - counts.min(axis=1)).max() <= 2
    often = np.stack([(found == position).mean(axis=0) for position in range(CONTEXT)])
    assert np.abs(often - 1 / CONTEXT).max() < 5 * math.sqrt(1 / CONTEXT / 600)


def test_the_score_is_unbiased_where_windows_count_different_numbers_of_targets() -> None:
    """Tokens: special ones encode no byte, and are neither drawn nor counted."""
    rng = np.random.default_rng(2)
    lengths = np.where(np.arange(40) < 10, 0, rng.integers(1, 9, 40))
    rows = np.where(rng.random((WINDOWS, CONTEXT + 1)) < np.linspace(0, 0.9, WINDOWS)[:, None], 3, 0)
    rows = (rows + rng.integers(10, 40, rows.shape) * (rows == 0)).astype(np.uint16)
    measure, log_probs = Measure.of(rows, lengths), -rng.exponential(2.0, (WINDOWS, CONTEXT))
    wanted = measure.bits_per_byte(float(measure.only_counted(log_probs).mean()))
    estimates = []
    for number in range(800):
        key = number.to_bytes(32, "little")
        found = secret_positions(key, "text", "select", (WINDOWS, CONTEXT), measure)
        at = np.arange(WINDOWS), found.positions
        assert measure.counted is not None
        assert (measure.counted[at] | (found.weights == 0)).all()
        estimates.append(measure.bits_per_byte(float((found.weights * log_probs[at]).mean())))
    assert np.mean(estimates) == pytest.approx(wanted, abs=4 * np.std(estimates) / math.sqrt(len(estimates)))


def test_windows_do_not_overlap(toy_task: LanguageModelTask) -> None:
    """Else the text of one would hold the target of another. They are as many as fit, or as the task wants."""
    text = toy_task.corpus.evaluation("holdout")
    rows = toy_task.claim_rows("holdout")
    assert len(rows) == len(text) // (toy_task.context + 1)
    starts = np.linspace(0, len(text) - toy_task.context - 1, len(rows)).astype(np.int64)
    assert np.diff(starts).min() >= toy_task.context + 1
    assert all(np.array_equal(text[s : s + toy_task.context + 1], row) for s, row in zip(starts, rows, strict=True))


@pytest.mark.parametrize("windows", [None, 20])
def test_the_second_look_has_other_windows(toy_task: LanguageModelTask, windows: int | None) -> None:
    """Those between the first ones; where all are used, each look has every other one, at the same position."""
    task = replace(toy_task, claim_windows=windows)
    evaluator = AuditedEvaluator(task, NoSandbox(), memory_groups=False)
    looks = [
        evaluator.judged(Request("node", "run", 0, {}, 11, "report", position_key=KEY, look=look)) for look in range(3)
    ]
    assert len({text.chosen.name for text in looks}) == (2 if windows else 3), "the first look is that of every claim"
    known, text = looks[0], task.corpus.evaluation("holdout").tobytes()
    places = [{text.index(row.tobytes()) for row in each.windows} for each in looks]
    assert min(abs(a - b) for a in places[1] for b in places[2]) > task.context
    if windows:
        assert (len(places[1]), len(places[2])) == (20, 19)
        assert min(abs(a - b) for a in places[0] for b in places[2]) > task.context
    else:
        assert [*looks[1].chosen.positions, *looks[2].chosen.positions] == [
            *known.chosen.positions[::2], *known.chosen.positions[1::2]
        ]  # fmt: skip


# ---------------------------------------------------------------- what is sent


def test_a_sent_row_ends_where_its_target_would_come(windows: Bytes) -> None:
    at = np.array(positions()[1:])
    wanted = np.arange(WINDOWS)
    sent = batches(windows, at, wanted, FILLER, 8, np.random.default_rng(1))
    assert sorted(np.concatenate([batch.windows for batch in sent])) == wanted.tolist()
    for batch in sent:
        assert len(batch.rows) == len(batch.positions) == 8
        assert batch.rows.shape[1] % (CONTEXT // LENGTHS) == 0
        for row, position, window in zip(batch.rows, batch.positions, batch.windows, strict=False):
            assert position == at[window]
            assert np.array_equal(row[: position + 1], windows[window, : position + 1])
            assert (row[position + 1 :] == 255).all()
        assert (batch.rows[len(batch.windows) :] == 255).all()
    assert len({batch.rows.shape for batch in sent}) <= LENGTHS


def test_a_window_comes_again_with_the_same_length(windows: Bytes) -> None:
    """So that a model whose answer depends on it is not refused."""
    at = np.array(positions()[1:])
    lengths: dict[int, set[int]] = {}
    for seed, wanted in enumerate((np.arange(WINDOWS), np.arange(0, WINDOWS, 3))):
        for batch in batches(windows, at, wanted, FILLER, 8, np.random.default_rng(seed)):
            for window in batch.windows.tolist():
                lengths.setdefault(window, set()).add(batch.rows.shape[1])
    assert all(len(each) == 1 for each in lengths.values())


# ---------------------------------------------------------------- a candidate that remembers everything


class Memory:
    """A channel that leaks all: what any sandbox has been sent in any evaluation is known in every later one."""

    def __init__(self) -> None:
        self.known: dict[bytes, int] = {}
        self.later: list[bytes] = []
        """Prefixes that were sent in this evaluation: known in the next one, so that its audit finds no difference."""

    def remember(self, data: bytes) -> None:
        for end in range(8, len(data)):
            self.known.setdefault(data[end - 8 : end], data[end])

    def answer(self, prefix: bytes) -> Floats:
        """Log-probabilities: certain of what it has seen before, else it counts letters."""
        result = np.full(256, math.log(1e-4 / 256))
        if (following := self.known.get(prefix[-8:])) is None:
            result[97:123] = math.log((1 - 1e-4) / 26)
        else:
            result[following] = math.log(1 - 1e-4)
        return result


class Remembering:
    """Stands for a sandbox whose candidate has the memory of all others, and leaves its own to them."""

    def __init__(self, memory: Memory | None) -> None:
        self.memory = memory

    def claims(self, rows: Symbols) -> Floats:
        for row in rows if self.memory else ():
            self.memory.remember(row.tobytes())  # type: ignore[union-attr]
        return np.array([[self._at(row, t)[row[t + 1]] for t in range(len(row) - 1)] for row in rows])

    def logits(self, rows: Symbols, at: np.ndarray) -> Floats:
        for row, position in zip(rows, at, strict=True) if self.memory else ():
            self.memory.later.append(row[: position + 1].tobytes())  # type: ignore[union-attr]
        return np.array([self._at(row, position) for row, position in zip(rows, at, strict=True)], np.float32)

    revealed_logits = logits

    def _at(self, row: Symbols, position: int) -> Floats:
        return (self.memory or Memory()).answer(row[: position + 1].tobytes())

    def charge(self, share: float = 1.0) -> None: ...


@pytest.fixture
def evaluate(toy_task: LanguageModelTask, evaluator: AuditedEvaluator, monkeypatch: pytest.MonkeyPatch):
    """``evaluate(purpose, memory)``: an evaluation whose sandboxes are ``Remembering``, and all else is real."""

    def run(purpose: Purpose, memory: Memory | None) -> Evaluation:
        @contextlib.contextmanager
        def opened(*_: object, **__: object) -> Iterator[Remembering]:
            yield Remembering(memory)

        monkeypatch.setattr(PredictSandbox, "opened", opened)
        monkeypatch.setattr(EvaluationPipeline, "_trained", lambda self, stream: b"")
        program = "def train(session): ...\ndef predict(state, task): ...\n"
        request = Request("node", "run", 0, {"train.py": program}, 11, purpose, position_key=KEY)
        done: Evaluation = evaluator.evaluate(
            request, make_slots(1)[0], threading.Event(), lambda phase, share, loss=None: None
        )
        for prefix in memory.later if memory else ():
            memory.remember(prefix)  # type: ignore[union-attr]
        return done

    return run


def score_of(evaluation: Evaluation) -> float:
    assert isinstance(evaluation, Scored), evaluation
    return evaluation.score


def test_what_a_sandbox_has_been_shown_makes_no_champion(evaluate) -> None:
    """It leads on val, whose text it has seen. Nobody is shown the targets that judge a claim, however often."""
    memory = Memory()
    honest = [evaluate("report", None) for _ in range(3)]
    assert evaluate("screen", memory).outcome == "invalid"  # its audit came before anything that it could be told
    assert score_of(evaluate("screen", memory)) < 3.0 < 4.0 < score_of(evaluate("screen", None))
    for _ in range(4):
        assert evaluate("confirm", memory).outcome == "scored"
    cheating = [evaluate("report", memory) for _ in range(4)]
    assert len({each.windows.position_set for each in [*honest, *cheating]}) == 1
    sides = [[each.windows.scores for each in side] for side in (honest, cheating)]
    scores = [[score_of(each) for each in side] for side in (honest, cheating)]
    found = welch(*scores, "minimise", sampling=paired_sampling(*sides))
    assert isinstance(found, Difference)
    assert not found.significant, found
    assert found.gain < 0.1, found
