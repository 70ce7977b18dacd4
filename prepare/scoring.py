"""The metric's arithmetic: evaluation rows, log-probabilities, bits per byte.

A model reads text as ``Bytes`` (a vocabulary of at most 256) or as ``Tokens``. Either way the score is in bits per byte
of the text: ``Measure`` holds the number of bytes that the targets of a split encode.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from torch import Tensor

Bytes = NDArray[np.uint8]
Tokens = NDArray[np.uint16]
Symbols = NDArray[np.unsignedinteger[Any]]
"""Input of a model: unsigned integers below the vocabulary's size."""
Floats = NDArray[np.float64]


def storage(vocab: int) -> np.dtype[np.unsignedinteger[Any]]:
    """Return the dtype in which symbols are stored and sent: one byte, or two (little-endian) above 256 symbols."""
    return np.dtype(np.uint8) if vocab <= 256 else np.dtype("<u2")


@dataclass(frozen=True)
class Measure:
    """Conversion of the log-probabilities of an evaluation split [N, T] to bits per byte of its text.

    A special token encodes no byte of the text. Its target is excluded from the sum, as if its probability were 1.
    """

    bytes_per_target: float = 1.0
    """Bytes that the targets encode, divided by their number N T (excluded ones included)."""
    counted: NDArray[np.bool_] | None = None
    """[N, T] False where a target is excluded; None: none is."""

    @classmethod
    def of(cls, rows: Symbols, lengths: NDArray[np.int64]) -> Measure:
        """Build from rows [N, T + 1] and the bytes of each token, lengths [vocab]; 0 for special tokens."""
        sizes = lengths[rows[:, 1:]]
        return cls(float(sizes.mean()), sizes > 0)

    @property
    def nats(self) -> float:
        """Nats per target, on average over all N T, that equal one bit per byte."""
        return math.log(2) * self.bytes_per_target

    def bits_per_byte(self, mean_log_prob: float) -> float:
        """Convert the mean log-probability (nats) over all N T targets, where excluded ones count as 0."""
        return -mean_log_prob / self.nats

    def only_counted(self, log_probs: Floats) -> Floats:
        """Return log-probabilities [N, T] with 0 nats at excluded targets."""
        return log_probs if self.counted is None else np.where(self.counted, log_probs, 0.0)

    def only_counted_at(self, places: NDArray[np.int64], log_probs: Floats) -> Floats:
        """Return log-probabilities [K] of single positions, places [K, 2] (row, column), with 0 at excluded targets."""
        return log_probs if self.counted is None else np.where(self.counted[tuple(places.T)], log_probs, 0.0)


def evaluation_rows(text: Bytes, rows: int, context: int) -> Bytes:
    """Return windows [rows, context + 1] at evenly spaced offsets of a split; the same ones for every candidate.

    Raises ValueError if the split is too short for rows that do not overlap.
    """
    width = context + 1
    if len(text) < rows * width:
        raise ValueError(
            f"the split has {len(text):,} bytes; {rows} rows of {width} need {rows * width:,}. "
            "Give the corpus more text, or lower task.rows or task.context."
        )
    offsets = np.linspace(0, len(text) - width, rows).astype(np.int64)
    return np.stack([text[o : o + width] for o in offsets])


def check_logits(logits: Tensor, batch: int, context: int, vocab: int) -> None:
    """Check that ``logits`` is a floating-point tensor [batch, context, vocab]. Raises TypeError or ValueError."""
    import torch

    if not isinstance(logits, torch.Tensor):
        raise TypeError(f"predict's function returned {type(logits).__name__}; expected a tensor of logits")
    if tuple(logits.shape) != (batch, context, vocab):
        raise ValueError(
            f"predict's function returned shape {tuple(logits.shape)} for tokens [{batch}, {context}]; "
            f"expected [{batch}, {context}, {vocab}]"
        )
    if not logits.is_floating_point():
        raise TypeError(f"predict's function returned {logits.dtype}; expected floating-point logits")


def target_log_probs(model: Callable[[Tensor], Tensor], rows: Symbols, vocab: int, device: str) -> Floats:
    """Return log-probabilities (nats) of the next symbol: rows [B, T + 1] -> [B, T] float64. Checks the logits."""
    import torch

    tokens = torch.from_numpy(rows.astype(np.int64)).to(device)
    inputs, targets = tokens[:, :-1].contiguous(), tokens[:, 1:]
    with torch.inference_mode():
        logits = model(inputs)
        check_logits(logits, len(rows), rows.shape[1] - 1, vocab)
        log_probs = logits.float().log_softmax(-1).gather(-1, targets.unsqueeze(-1)).squeeze(-1)
    picked: Floats = log_probs.cpu().double().numpy()  # in this order, since MPS has no float64
    return picked


def bits_per_byte(mean_log_prob: float) -> float:
    """Convert a mean log-probability in nats per byte to bits per byte: ``-mean / ln 2``."""
    return -mean_log_prob / math.log(2)
