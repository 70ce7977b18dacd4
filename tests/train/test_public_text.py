"""What is common is no quotation: rows of letters of the training split and of the seed program; all else is secret."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np
import pytest

from prepare.data.copies import letters_and_digits
from train.language_model import public_text, static_checks
from train.language_model.public_text import PublicText
from train.language_model.static_checks import TextIndex

COMMON = "torch.nn.functional.scaled_dot_product_attention(query, key, value)"
OWN = "self.squared_rectified_linear_units_of_the_seed(x)"
SECRET = "the committee of ways and means met in the orchard at noon"


def rows(text: str) -> set[bytes]:
    letters = letters_and_digits(text.encode())
    return {letters[start : start + 24] for start in range(len(letters) - 23)}


@pytest.fixture
def known() -> tuple[PublicText, list[int]]:
    """With a seed program and ten training texts, the last with what is common; and how often they were read."""
    read: list[int] = []

    def training() -> Iterator[bytes]:
        read.append(1)
        yield from [b"nothing to see here, move along please, gentlemen"] * 9
        yield f"def forward(self):\n    return {COMMON.upper()}\n".encode()

    return PublicText(f"y = {OWN}\n", training), read


def test_what_stands_in_training_or_in_the_seed_program_is_common(known: tuple[PublicText, list[int]]) -> None:
    judge, _ = known
    assert judge.secret(rows(COMMON)) == set()
    assert judge.secret(rows(OWN)) == set()
    assert judge.secret(rows(SECRET)) == rows(SECRET)
    assert judge.secret(rows(COMMON) | rows(SECRET)) == rows(SECRET)
    assert judge.secret([]) == set()


def test_a_verdict_is_found_once(known: tuple[PublicText, list[int]]) -> None:
    judge, read = known
    for _ in range(3):
        judge.secret(rows(COMMON))
        judge.secret(rows(SECRET))
    assert len(read) == 2
    judge.secret(rows(OWN))  # of the seed program: nothing is read for it
    assert len(read) == 2


def test_a_reading_that_breaks_off_leaves_no_verdict() -> None:
    broken = [True]

    def training() -> Iterator[bytes]:
        if broken:
            raise OSError("no such file")
        yield COMMON.encode()

    judge = PublicText("", training)
    with pytest.raises(OSError, match="no such file"):
        judge.secret(rows(COMMON))
    broken.clear()
    assert judge.secret(rows(COMMON)) == set()


def test_texts_that_follow_each_other_are_not_one(known: tuple[PublicText, list[int]]) -> None:
    judge, _ = known
    assert judge.secret(rows("move along please, gentlemen nothing to see")) != set()


def test_of_a_large_training_split_the_first_part_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(public_text, "_MOST", 1000)
    monkeypatch.setattr(public_text, "_BLOCK", 300)
    read: list[int] = []

    def training() -> Iterator[bytes]:
        for number in range(1000):
            read.append(number)
            yield f"{number} {COMMON if number in (4, 900) else 'other words'}".ljust(100).encode()

    judge = PublicText("", training)
    assert judge.secret(rows(COMMON)) == set()
    assert len(read) < 8
    assert judge.secret(rows(SECRET)) == rows(SECRET)
    assert max(read) < 12


def test_the_index_asks_what_is_common(known: tuple[PublicText, list[int]]) -> None:
    judge, _ = known
    index = TextIndex.of([np.frombuffer(f"{COMMON} {SECRET}".encode(), np.uint8)])
    program = f"y = {COMMON}".encode()
    assert index.quotes(program) is not None
    assert index.quotes(program, judge) is None
    assert index.quotes(program + SECRET.encode(), judge) is not None
    assert index.quotes(program + b" the comm and so on", judge) is None  # it goes on alike for a few letters
    assert index.quotes(SECRET[:30].encode(), judge) is None
    assert index.quotes(SECRET[:45].encode(), judge) is not None


def test_a_long_quotation_is_told_by_its_beginning(
    known: tuple[PublicText, list[int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    judge, _ = known
    rng = np.random.default_rng(0)
    text = rng.integers(97, 123, size=5000, dtype=np.uint8)
    index, asked, secret = TextIndex.of([text]), [], judge.secret

    def watched(windows: Iterable[bytes]) -> set[bytes]:
        asked.extend(drawn := list(windows))
        return secret(drawn)

    monkeypatch.setattr(judge, "secret", watched)
    assert index.quotes(text.tobytes(), judge) is not None
    assert len(asked) < 1000
    # And one that begins at the end of what is asked together is seen as well.
    monkeypatch.setattr(static_checks, "_CHUNK", 5)
    assert index.quotes(text[:35].tobytes(), judge) is not None
    assert index.quotes(text[:34].tobytes(), judge) is None
