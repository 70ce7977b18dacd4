"""A tokenizer of byte pairs, trained on a training split: text to numbers below a vocabulary, and back to bytes.

Token 0 is ``BOS`` (see ``prepare.data.packing``); 1 to 256 are the single bytes; each further one joins two earlier
ones, in the order in which training found them (Sennrich and others, 2016, on bytes). So every token stands for a
known number of bytes, and a score in bits per byte does not depend on what a candidate says about them. Training and
encoding are done by the library ``rustbpe``; the same texts give the same tokenizer.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from prepare.data.corpora import PreparationError
from prepare.data.packing import BOS
from prepare.scoring import Tokens

LARGEST = 32_768
"""A vocabulary may not be larger: training data is handed over as 16-bit numbers with a sign."""
SMALLEST = 257
"""``BOS`` and the single bytes."""
_PATTERN = r" ?\p{L}+|\p{N}{1,2}| ?[^\s\p{L}\p{N}]+|\s*[\r\n]+|\s+(?!\S)|\s+"
"""What a token may join: a word with the space before it, two digits, a run of signs, line ends, or spaces."""


class Encoder(Protocol):
    """The part of a trained ``rustbpe.Tokenizer`` that is used here."""

    def batch_encode(self, texts: list[str], /) -> list[list[int]]: ...

    def get_mergeable_ranks(self) -> list[tuple[bytes, int]]: ...


class Vocabulary:
    """The bytes of every token: what is left of a tokenizer when all texts have been encoded."""

    def __init__(self, tokens: Sequence[bytes]) -> None:
        """tokens: from token 1 on; ``BOS`` is added."""
        self._tokens = (b"", *tokens)

    def __len__(self) -> int:
        return len(self._tokens)

    def lengths(self, vocab: int) -> NDArray[np.int64]:
        """[vocab] bytes that each token stands for: 0 for ``BOS``, and for numbers that no token has."""
        lengths = np.zeros(vocab, np.int64)
        lengths[: len(self._tokens)] = [len(token) for token in self._tokens]
        return lengths

    def decode(self, tokens: Iterable[int]) -> bytes:
        """The text of tokens, ``BOS`` left out."""
        return b"".join(self._tokens[token] for token in tokens)

    def digest(self) -> str:
        """Twelve hex digits over all tokens in their order."""
        text = b"\0".join(token.hex().encode() for token in self._tokens)
        return hashlib.sha256(text).hexdigest()[:12]

    def to_json(self) -> str:
        return json.dumps([token.hex() for token in self._tokens[1:]])

    @classmethod
    def from_json(cls, text: str) -> Vocabulary:
        """Raises ValueError if the text is not what ``to_json`` gave."""
        tokens = json.loads(text)
        if not isinstance(tokens, list) or not all(isinstance(token, str) for token in tokens):
            raise ValueError("expected a list of hexadecimal strings")
        return cls([bytes.fromhex(token) for token in tokens])


class Tokenizer:
    """A trained tokenizer: ``vocabulary``, and ``encode``."""

    def __init__(self, encoder: Encoder) -> None:
        self._encoder = encoder
        ranks = sorted((rank, bytes(token)) for token, rank in encoder.get_mergeable_ranks())
        self.vocabulary = Vocabulary([token for _, token in ranks])
        self._lengths = self.vocabulary.lengths(len(self.vocabulary))

    @classmethod
    def train(cls, texts: Iterable[str], vocab: int) -> Tokenizer:
        """Learn at most ``vocab`` tokens (fewer if the texts have no more pairs), ``BOS`` included.

        Raises PreparationError if the library is missing, ValueError for a vocabulary that is too small or too large.
        """
        if not SMALLEST <= vocab <= LARGEST:
            raise ValueError(
                f"task.vocab is {vocab}; expected {SMALLEST:,} to {LARGEST:,} for a task with task.encoding=tokens"
            )
        trained = _library().Tokenizer()
        trained.train_from_iterator(iter(texts), vocab - 1, pattern=_PATTERN)
        return cls(trained)

    def encode(self, texts: Sequence[str]) -> list[Tokens]:
        """The tokens of each text, without ``BOS``.

        Raises PreparationError if they would not stand for all bytes of a text: then bits per byte would be wrong.
        """
        encoded = [np.array(tokens, np.uint16) + np.uint16(BOS + 1) for tokens in self._encoder.batch_encode([*texts])]
        for text, tokens in zip(texts, encoded, strict=True):
            stands_for, size = int(self._lengths[tokens].sum()), len(text.encode())
            if stands_for != size:
                raise PreparationError(
                    f"the tokens of a text stand for {stands_for:,} bytes, and it has {size:,} (it begins "
                    f"{text[:60]!r}). This is a fault of the tokenizer, please report it"
                )
        return encoded


def _library() -> Any:
    try:
        import rustbpe
    except ImportError as error:
        raise PreparationError(
            "this task needs the library rustbpe for its tokenizer, which is not installed here. "
            "Run: pip install 'treewright[gpt]'    (or: pip install rustbpe)"
        ) from error
    return rustbpe
