"""Counts of tokens as services report them; a count that does not fit the rest is unknown, never a small number.

What is unknown is charged at the most that the call can have cost, so that the caps hold whatever a server reports.
Servers disagree about what their counts include:

    completion_tokens 0, reasoning 60, total = prompt + 60        the answer's count holds no reasoning
    completion_tokens 9, reasoning 60, total = prompt + 69        likewise
    completion_tokens 9, total = prompt + 69                      likewise, and the reasoning is not reported
    prompt_tokens 21, cached 2000, total = 21 + 2000 + answer     the prompt's count holds no cached tokens
    all counts 0, or a total below the sum of its parts           unknown
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from operators.llm.base import Answer, Prompt
from operators.llm.prices import Price
from operators.llm.text import field

_COUNTS_AT_MOST = 10**9
_MOST_DOLLARS = 1e6
WORDS_PER_TOKEN = 200
"""A token of any known vocabulary holds at most a few words. A count under a word in 200 cannot be of this text."""


def count(value: object) -> int | None:
    """Return a number of tokens reported by a server, or None if it is not valid."""
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value <= _COUNTS_AT_MOST:
        return None
    return int(value)


@dataclass(frozen=True)
class Usage:
    """Tokens by billing class; None if not reported. ``fresh``: neither written to nor read from the cache."""

    fresh: int | None
    out: int | None
    written: int = 0
    written_long: int = 0
    """Written to the cache for an hour."""
    read: int | None = 0
    billed: float | None = None
    """Dollars, if the server reports them."""

    def answer(self, text: str, model: str, price: Price | None, seconds: float, cut_off: bool) -> Answer:
        return Answer(text, model, self._tokens_in, self.out, self.read, seconds, self._dollars(price), cut_off)

    @property
    def _tokens_in(self) -> int | None:
        return None if self.fresh is None else self.fresh + self.written + self.written_long + (self.read or 0)

    def _dollars(self, price: Price | None) -> float | None:
        if self.billed or (price is not None and price.is_free):
            return self.billed or 0.0
        if self.fresh is None or self.out is None:
            return None
        if price is None:
            return self.billed  # 0 for a model that its router says is free
        return price.dollars(
            fresh=self.fresh, out=self.out, written=self.written, written_long=self.written_long, read=self.read or 0
        )


def of_messages(usage: Any, prompt: Prompt, text: str) -> Usage:
    """Read the usage of Anthropic's Messages API."""
    long = count(field(usage, "cache_creation", "ephemeral_1h_input_tokens")) or 0
    short = count(field(usage, "cache_creation", "ephemeral_5m_input_tokens")) or 0
    written = max(count(field(usage, "cache_creation_input_tokens")) or 0, long + short)
    read = count(field(usage, "cache_read_input_tokens")) or 0
    fresh, out = count(field(usage, "input_tokens")), count(field(usage, "output_tokens"))
    if fresh is not None and not _fits(fresh + written + read, prompt.text):
        return Usage(None, _if_fits(out, text), read=None)
    return Usage(fresh, _if_fits(out, text), max(0, written - long), long, read)


def of_completions(usage: Any, prompt: Prompt, text: str, most_out: int) -> Usage:
    """Read the usage of OpenAI's chat completions API, by the table above. ``most_out``: the longest answer."""
    counts = _Counts.of(usage)
    tokens_in, out = counts.tokens_in, counts.tokens_out(most_out)
    if tokens_in is None or not _fits(tokens_in, prompt.text):
        return Usage(None, _if_fits(out, text), read=None, billed=_billed(usage))
    cached = counts.read + counts.written
    fresh = tokens_in - cached
    return Usage(fresh, _if_fits(out, text), counts.written, 0, counts.read, _billed(usage))


@dataclass(frozen=True)
class _Counts:
    """The counts of a chat completion."""

    prompt: int | None
    answer: int | None
    total: int | None
    reasoning: int
    read: int
    written: int

    @classmethod
    def of(cls, usage: Any) -> _Counts:
        details = field(usage, "prompt_tokens_details")
        # DeepSeek's name for what others call cached_tokens.
        read = count(field(details, "cached_tokens")) or count(field(usage, "prompt_cache_hit_tokens")) or 0
        reasoning = count(field(usage, "completion_tokens_details", "reasoning_tokens"))
        return cls(
            prompt=count(field(usage, "prompt_tokens")),
            answer=count(field(usage, "completion_tokens")),
            total=count(field(usage, "total_tokens")),
            reasoning=reasoning or count(field(usage, "reasoning_tokens")) or 0,
            read=read,
            written=count(field(details, "cache_write_tokens")) or 0,
        )

    @property
    def _cached_apart(self) -> bool:
        """Whether the prompt's count leaves out the cached tokens, as the total shows."""
        cached = self.read + self.written
        if not cached or self.total is None or self.prompt is None or self.answer is None:
            return False
        return cached > self.prompt and self.total == self.prompt + cached + self.answer

    @property
    def tokens_in(self) -> int | None:
        """All tokens of the prompt; None if they are not known."""
        cached = self.read + self.written
        if self.prompt is None or (self.prompt < cached and not self._cached_apart):
            return None
        return self.prompt + cached if self._cached_apart else self.prompt

    def tokens_out(self, most: int) -> int | None:
        """All tokens of the answer, reasoning included; None if the counts contradict each other."""
        prompt = self.tokens_in
        if self.answer is None:
            return None if prompt is None or self.total is None or self.total <= prompt else self.total - prompt
        # Reasoning that is more than the whole answer is not part of it.
        stated = self.answer + (self.reasoning if self.reasoning > self.answer else 0)
        if self.total is None or prompt is None:
            return stated
        rest = self.total - prompt
        if rest < self.answer or rest > max(most, self.answer + self.reasoning):
            return None
        return max(stated, rest)


def _fits(tokens: int, text: str) -> bool:
    """Return whether so many tokens can hold a text."""
    return len(text.split()) <= WORDS_PER_TOKEN * tokens


def _if_fits(tokens: int | None, text: str) -> int | None:
    return tokens if tokens is not None and _fits(tokens, text) else None


def _billed(usage: Any) -> float | None:
    """Return the cost of the call as a router reports it; None if not valid.

    With a key of one's own at the provider, OpenRouter's ``cost`` is its fee alone.
    """
    cost = _dollars(field(usage, "cost"))
    if cost is None or not field(usage, "is_byok"):
        return cost
    upstream = _dollars(field(usage, "cost_details", "upstream_inference_cost"))
    return None if upstream is None else cost + upstream


def _dollars(cost: object) -> float | None:
    if isinstance(cost, bool) or not isinstance(cost, (int, float)) or not 0 <= cost <= _MOST_DOLLARS:
        return None
    return float(cost)


def no_text(answer: Answer, limit: int) -> str:
    """Return the words for an answer without text, and the settings to change. ``limit``: the most tokens of one."""
    spent = "its tokens" if answer.tokens_out is None else f"all its {answer.tokens_out:,} tokens"
    return (
        f"spent {spent} on reasoning and wrote no answer. Raise llm.max_tokens (it is {limit:,}) or lower llm.effort."
    )
