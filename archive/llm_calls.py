"""Calls of language models as frozen dataclasses: a prompt about to be sent, its outcome, and what a run has spent."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class LlmCall:
    """One sending of a prompt, and its outcome.

    ``dollars`` is None if the price is unknown, token counts are None if the server did not report them: never 0.
    """

    run: str
    move: int
    turn: int
    operator: str
    model: str
    """As the server names it."""
    outcome: Literal["answered", "refused", "failed"]
    prompt: str
    answer: str
    tokens_in: int | None
    tokens_out: int | None
    tokens_cached: int | None
    seconds: float
    dollars: float | None
    at: float
    reason: str = ""
    aim: str | None = None
    """The kind of change that was asked for; see ``Candidate.aim``."""
    template: str = ""
    """The templates of the prompt, as one text: its hash is their version."""
    request: str = ""
    """The name of the ``LlmRequest`` that this call completes."""
    asked: str = ""
    """The model as the configuration names it."""
    charged_tokens: int | None = None
    charged_dollars: float | None = None
    """Counts against the caps: the cost if known, else its upper bound. None: the known cost counts."""
    cut_off: bool = False
    """Whether the answer was cut off at the limit of tokens."""


@dataclass(frozen=True)
class LlmRequest:
    """A prompt that is about to be sent. Without an ``LlmCall``, it was cut off with its process."""

    request: str
    """Unique in all archives."""
    run: str
    move: int
    turn: int
    operator: str
    asked: str
    tokens_at_most: int
    dollars_at_most: float | None
    """None where the price is unknown."""
    at: float


@dataclass(frozen=True)
class Spending:
    """A run's spending on language models.

    ``unpriced`` calls are not in ``dollars``, ``uncounted`` ones not in ``tokens``. ``charged_*`` counts against the
    caps: it includes calls of unknown cost, and those cut off with their process, at their upper bound.
    """

    calls: int = 0
    tokens: int = 0
    dollars: float = 0.0
    unpriced: int = 0
    uncounted: int = 0
    charged_tokens: int = 0
    charged_dollars: float = 0.0
