"""Byte-pair-encoding tokenizer, trained on a training split.

Token 0 is ``BOS`` (see ``prepare.data.packing``); 1 to 256 are the single bytes; each further one joins two earlier
ones, in the order in which training found them (Sennrich and others, 2016, on bytes). So every token encodes a known
number of bytes, and a score in bits per byte does not depend on anything that a candidate computes. Training and
encoding use the library ``rustbpe``; the same texts give the same tokenizer.
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
"""Largest vocabulary: training data is passed as signed 16-bit integers."""
SMALLEST = 257
"""Smallest vocabulary: ``BOS`` and the single bytes."""
_PATTERN = r" ?\p{L}+|\p{N}{1,2}| ?[^\s\p{L}\p{N}]+|\s*[\r\n]+|\s+(?!\S)|\s+"
"""Pre-tokenisation: a word with the space before it, one or two digits, a run of symbols, line ends, or spaces."""


class Encoder(Protocol):
    """Interface of a trained ``rustbpe.Tokenizer``, as far as it is used."""

    def batch_encode(self, texts: list[str], /) -> list[list[int]]: ...

    def get_mergeable_ranks(self) -> list[tuple[bytes, int]]: ...


class Vocabulary:
    """The bytes of every token."""

    def __init__(self, tokens: Sequence[bytes]) -> None:
        """tokens: the bytes of tokens 1, 2, ...; ``BOS`` is added."""
        self._tokens = (b"", *tokens)

    def __len__(self) -> int:
        return len(self._tokens)

    def lengths(self, vocab: int) -> NDArray[np.int64]:
        """Return the number of bytes of each token, [vocab]: 0 for ``BOS`` and for unused ids."""
        lengths = np.zeros(vocab, np.int64)
        lengths[: len(self._tokens)] = [len(token) for token in self._tokens]
        return lengths

    def decode(self, tokens: Iterable[int]) -> bytes:
        """Return the text of tokens, ``BOS`` left out."""
        return b"".join(self._tokens[token] for token in tokens)

    def digest(self) -> str:
        """Return twelve hex digits of a hash of all tokens in their order."""
        text = b"\0".join(token.hex().encode() for token in self._tokens)
        return hashlib.sha256(text).hexdigest()[:12]

    def to_json(self) -> str:
        """Serialise as a list of hexadecimal strings."""
        return json.dumps([token.hex() for token in self._tokens[1:]])

    @classmethod
    def from_json(cls, text: str) -> Vocabulary:
        """Parse the output of ``to_json``. Raises ValueError."""
        tokens = json.loads(text)
        if not isinstance(tokens, list) or not all(isinstance(token, str) for token in tokens):
            raise ValueError("expected a list of hexadecimal strings")
        return cls([bytes.fromhex(token) for token in tokens])


class Tokenizer:
    """A trained tokenizer."""

    def __init__(self, encoder: Encoder) -> None:
        self._encoder = encoder
        ranks = sorted((rank, bytes(token)) for token, rank in encoder.get_mergeable_ranks())
        self.vocabulary = Vocabulary([token for _, token in ranks])
        self._lengths = self.vocabulary.lengths(len(self.vocabulary))

    @classmethod
    def train(cls, texts: Iterable[str], vocab: int) -> Tokenizer:
        """Train a tokenizer of at most ``vocab`` tokens, ``BOS`` included (fewer if the texts have no more pairs).

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
        """Return the tokens of each text, without ``BOS``.

        Raises PreparationError if the tokens do not cover all bytes of a text, since bits per byte would be wrong.
        """
        encoded = [np.array(tokens, np.uint16) + np.uint16(BOS + 1) for tokens in self._encoder.batch_encode([*texts])]
        for text, tokens in zip(texts, encoded, strict=True):
            covered, size = int(self._lengths[tokens].sum()), len(text.encode())
            if covered != size:
                raise PreparationError(
                    f"the tokens of a text cover {covered:,} bytes, and the text has {size:,} (it begins "
                    f"{text[:60]!r}). This is a bug in the tokenizer; please report it"
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
