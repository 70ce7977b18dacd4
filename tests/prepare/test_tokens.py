"""The tokenizer: the same texts give the same one, no byte is lost, and tokens stand for what they say."""

from __future__ import annotations

import builtins
from typing import Any

import numpy as np
import pytest

from prepare.data.corpora import PreparationError
from prepare.data.packing import BOS
from prepare.data.tokens import Tokenizer, Vocabulary

TEXTS = [
    f"def function_{i}(self, value):\n    return self.values[{i}] + value  # naïve: 你好 {i}\n\n" for i in range(400)
]
ODD = [
    "",
    " ",
    "\n\n\n",
    "\x00\x7f",
    "a" * 5000,
    "𝔘𝔫𝔦 🧪\u200b\u0301",
    "\r\n\t 12345 ... ''' ",
    " \u00a0\u2028x",
    "_" * 99,
]


def test_the_same_texts_give_the_same_tokens() -> None:
    one, two = Tokenizer.train(TEXTS, 400), Tokenizer.train(iter(TEXTS), 400)
    assert one.vocabulary.digest() == two.vocabulary.digest()
    assert one.vocabulary.digest() != Tokenizer.train(TEXTS[::2], 400).vocabulary.digest()
    for first, second in zip(one.encode(TEXTS), two.encode(TEXTS), strict=True):
        assert np.array_equal(first, second)


def test_every_byte_of_a_text_is_in_its_tokens() -> None:
    tokenizer = Tokenizer.train(TEXTS, 300)
    assert len(tokenizer.vocabulary) == 300
    lengths = tokenizer.vocabulary.lengths(512)
    assert lengths[BOS] == 0
    assert not lengths[300:].any()
    for text, tokens in zip([*TEXTS, *ODD], tokenizer.encode([*TEXTS, *ODD]), strict=True):
        assert tokenizer.vocabulary.decode(tokens.tolist()) == text.encode()
        assert lengths[tokens].sum() == len(text.encode())
        assert BOS not in tokens


def test_tokens_are_fewer_than_bytes() -> None:
    tokenizer = Tokenizer.train(TEXTS, 500)
    assert sum(map(len, tokenizer.encode(TEXTS))) < 0.5 * sum(len(text.encode()) for text in TEXTS)


def test_a_vocabulary_is_kept_as_text() -> None:
    vocabulary = Tokenizer.train(TEXTS, 300).vocabulary
    again = Vocabulary.from_json(vocabulary.to_json())
    assert again.digest() == vocabulary.digest()
    for damaged in ("{}", "[1]", '["zz"]', "["):
        with pytest.raises(ValueError, match=r"."):
            Vocabulary.from_json(damaged)


def test_a_tokenizer_that_loses_bytes_is_refused() -> None:
    class Forgetful:
        def batch_encode(self, texts: list[str]) -> list[list[int]]:
            return [list(text.encode()[1:]) for text in texts]

        def get_mergeable_ranks(self) -> list[tuple[bytes, int]]:
            return [(bytes([i]), i) for i in range(256)]

    with pytest.raises(PreparationError, match="cover 4 bytes, and the text has 5"):
        Tokenizer(Forgetful()).encode(["12345"])


@pytest.mark.parametrize("vocab", [256, 40_000])
def test_a_vocabulary_of_another_size_is_refused(vocab: int) -> None:
    with pytest.raises(ValueError, match="expected 257 to 32,768"):
        Tokenizer.train(TEXTS, vocab)


def test_without_the_library_the_message_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def without(name: str, *rest: Any, **more: Any) -> Any:
        if name == "rustbpe":
            raise ImportError(name)
        return real(name, *rest, **more)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(PreparationError, match=r"pip install 'treewright\[gpt\]'"):
        Tokenizer.train(TEXTS, 300)
