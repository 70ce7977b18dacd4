"""The metric's arithmetic: evaluation rows, log-probabilities, bits per byte. One place for all who need it.

A text reaches a model as ``Bytes`` (a vocabulary of at most 256) or as ``Tokens``. Either way the score is in bits per
byte of the text: ``Measure`` says how many bytes the targets of a split stand for.
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
"""What a model reads: numbers below the vocabulary."""
Floats = NDArray[np.float64]


def storage(vocab: int) -> np.dtype[np.unsignedinteger[Any]]:
    """How symbols of a vocabulary are kept and sent: a byte each, or two (little-endian) where one is not enough."""
    return np.dtype(np.uint8) if vocab <= 256 else np.dtype("<u2")


@dataclass(frozen=True)
class Measure:
    """From the log-probabilities of an evaluation split [N, T] to bits per byte of its text.

    A special token stands for no byte of the text. Its target is left out of the sum, as if it had been certain.
    """

    bytes_per_target: float = 1.0
    """Bytes that the targets stand for, over their number N T (those left out included)."""
    counted: NDArray[np.bool_] | None = None
    """[N, T] False where a target is left out; None: all count."""

    @classmethod
    def of(cls, rows: Symbols, lengths: NDArray[np.int64]) -> Measure:
        """rows: [N, T + 1]. lengths: [vocab] bytes that each token stands for; 0 for special ones."""
        sizes = lengths[rows[:, 1:]]
        return cls(float(sizes.mean()), sizes > 0)

    @property
    def nats(self) -> float:
        """Nats a target, on average over all N T, that one bit per byte is."""
        return math.log(2) * self.bytes_per_target

    def bits_per_byte(self, mean_log_prob: float) -> float:
        """From the mean log-probability (nats) over all N T targets, those left out being 0."""
        return -mean_log_prob / self.nats

    def only_counted(self, log_probs: Floats) -> Floats:
        """[N, T] with 0 nats in place of what is left out."""
        return log_probs if self.counted is None else np.where(self.counted, log_probs, 0.0)

    def only_counted_at(self, places: NDArray[np.int64], log_probs: Floats) -> Floats:
        """The same for single positions: places [K, 2] of rows and columns, log_probs [K]."""
        return log_probs if self.counted is None else np.where(self.counted[tuple(places.T)], log_probs, 0.0)


def evaluation_rows(text: Bytes, rows: int, context: int) -> Bytes:
    """[rows, context + 1] windows at evenly spaced places of a split; the same ones for every candidate.

    Raises ValueError if the split is shorter than the rows that are asked of it (rows may not overlap).
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
    """Raises with what was expected and what came, if ``predict`` returned something else than logits."""
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
    """Log-probabilities (nats) of the next symbol: rows [B, T + 1] -> [B, T] float64, through logits [B, T, vocab]."""
    import torch

    tokens = torch.from_numpy(rows.astype(np.int64)).to(device)
    inputs, targets = tokens[:, :-1].contiguous(), tokens[:, 1:]
    with torch.inference_mode():
        logits = model(inputs)
        check_logits(logits, len(rows), rows.shape[1] - 1, vocab)
        log_probs = logits.float().log_softmax(-1).gather(-1, targets.unsqueeze(-1)).squeeze(-1)
    picked: Floats = log_probs.cpu().double().numpy()  # in this order: a Mac's GPU has no float64
    return picked


def bits_per_byte(mean_log_prob: float) -> float:
    """Bits per byte from a mean log-probability in nats a byte: ``-mean / ln 2``."""
    return -mean_log_prob / math.log(2)
