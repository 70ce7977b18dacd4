"""The metric's arithmetic: evaluation rows, log-probabilities, bits per byte. One place for all who need it."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from torch import Tensor

Bytes = NDArray[np.uint8]
Floats = NDArray[np.float64]


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


def target_log_probs(model: Callable[[Tensor], Tensor], rows: Bytes, vocab: int, device: str) -> Floats:
    """Log-probabilities (nats) of the next byte: rows [B, T + 1] -> [B, T] float64, through logits [B, T, vocab]."""
    import torch

    tokens = torch.from_numpy(rows.astype(np.int64)).to(device)
    inputs, targets = tokens[:, :-1].contiguous(), tokens[:, 1:]
    with torch.inference_mode():
        logits = model(inputs)
        check_logits(logits, len(rows), rows.shape[1] - 1, vocab)
        log_probs = logits.float().log_softmax(-1).gather(-1, targets.unsqueeze(-1)).squeeze(-1)
    picked: Floats = log_probs.double().cpu().numpy()
    return picked


def bits_per_byte(mean_log_prob: float) -> float:
    """Bits per byte from a mean log-probability in nats: ``-mean / ln 2``."""
    return -mean_log_prob / math.log(2)
