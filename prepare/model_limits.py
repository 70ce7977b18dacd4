"""The section ``llm`` of a task: the language model that its candidates may ask, and how much of it.

llm:
  answers: auto                 # live where the model's key is set, else scripted; or: live, scripted
  scripted: model.py            # trusted: answer(prompt, rng) -> text, with stated rules; model.py:NAME for another
  item: {calls: 8, tokens: 8000, seconds: 60, dollars: 0.02}
  candidate: {calls: 500, tokens: 500000, seconds: 1800, dollars: 1.0}
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import Literal, get_args

LimitName = Literal["seconds", "calls", "tokens", "dollars"]


@dataclass(frozen=True)
class ModelLimits:
    """The most that may be asked of the model for one item: calls, tokens in and out, seconds of answers, dollars."""

    calls: int = 12
    tokens: int = 20_000
    seconds: float = 120.0
    dollars: float = 0.05

    def __post_init__(self) -> None:
        for part in fields(self):
            if not getattr(self, part.name) > 0:
                raise ValueError(f"task.llm limits {part.name} to {getattr(self, part.name)}; expected more than 0")

    def exceeded(self, used: ModelUse, next_tokens: int) -> LimitName | None:
        """Return the limit that one more call would exceed, or None."""
        over = {
            "seconds": used.seconds >= self.seconds,
            "calls": used.calls + 1 > self.calls,
            "tokens": used.tokens + next_tokens > self.tokens,
            "dollars": (used.dollars or 0.0) >= self.dollars,
        }
        return next((name for name in get_args(LimitName) if over[name]), None)


@dataclass(frozen=True)
class CandidateLimits(ModelLimits):
    """The most for one evaluation of a candidate, over all items."""

    calls: int = 2000
    tokens: int = 1_000_000
    seconds: float = 3600.0
    dollars: float = 1.0


@dataclass(frozen=True)
class ModelUse:
    """What has been asked of the model. ``dollars``: None once a price was unknown."""

    calls: int = 0
    tokens: int = 0
    seconds: float = 0.0
    dollars: float | None = 0.0

    def plus(self, tokens: int, seconds: float, dollars: float | None) -> ModelUse:
        total = None if dollars is None or self.dollars is None else self.dollars + dollars
        return ModelUse(self.calls + 1, self.tokens + tokens, self.seconds + seconds, total)


@dataclass(frozen=True)
class LlmService:
    """The model of a task's candidates. The key stays with the search: no sandbox and no scorer has it."""

    answers: Literal["auto", "live", "scripted"] = "auto"
    """``live``: the search's own model (``llm=``), within its caps; ``scripted``: the function ``scripted``; ``auto``:
    live where the model's key is set, else scripted."""
    scripted: str | None = None
    """File, and after a colon function (``answer``), of a model with stated rules; it runs beside the scorer."""
    item: ModelLimits = field(default_factory=ModelLimits)
    candidate: CandidateLimits = field(default_factory=CandidateLimits)

    def __post_init__(self) -> None:
        if self.answers == "scripted" and self.scripted is None:
            raise ValueError("task.llm.answers is scripted and task.llm.scripted is null; expected a file, model.py")

    @property
    def file(self) -> str | None:
        """The file of the scripted model."""
        return None if self.scripted is None else self.scripted.partition(":")[0]

    @property
    def function(self) -> str:
        """The function of the scripted model."""
        return (self.scripted or "").partition(":")[2] or "answer"

    def facts(self) -> str:
        """Return what a prompt says of the limits."""
        item, whole = self.item, self.candidate
        return (
            f"language model: for one item at most {item.calls:,} calls, {item.tokens:,} tokens and {item.seconds:g} s "
            f"of waiting; for one evaluation {whole.calls:,} calls and {whole.tokens:,} tokens"
        )
