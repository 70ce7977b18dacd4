"""What fits into a prompt: parts that may be shortened, and which of them goes first.

A prompt has at most ``llm.prompt_tokens`` tokens, by an estimate that is rather too high (3 bytes a token; models make
3.3 to 4.5 of program text). What does not fit is left out line by line in this order:

    1. lessons of the whole archive, the least telling first
    2. what is in flight, the oldest first
    3. the list of the best programs, the worst first
    4. what was tried on the parent already, the oldest first
    5. how the parent came about, the oldest step first
    6. its tunable constants, the last first
    7. the last step's change, its end first
    8. the log of a failure, its start first

The task, the program itself, its score and what is asked are never cut: if they alone do not fit, there is no prompt. A
repair turn adds the model's own answer, which is not counted here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from operators.sanitize import quote

LEFT_OUT_FIRST = ("lessons", "in_flight", "best", "siblings", "ancestors", "knobs", "change", "log")


class TooLong(ValueError):
    """Not even the indispensable parts fit; the message says what to do."""


@dataclass(frozen=True)
class Listing:
    """Lines that others wrote, shown as data. ``keep`` says at which end the most important ones are."""

    lines: tuple[str, ...]
    kind: str
    empty: str
    """What is said where there is none, in our own words."""
    keep: Literal["head", "tail"] = "tail"

    def shown(self, left_out: int = 0) -> str:
        """Without so many of its lines, and with a word about it."""
        if not self.lines:
            return self.empty
        kept = self.lines[left_out:] if self.keep == "tail" else self.lines[: len(self.lines) - left_out]
        gap = f"[{left_out} more left out]" if left_out else None
        lines = (gap, *kept) if self.keep == "tail" else (*kept, gap)
        return quote("\n".join(line for line in lines if line is not None), self.kind, limit=1_000_000)


PromptParts = Mapping[str, str | Listing]


def tokens(text: str) -> int:
    """An estimate, rather too high."""
    return len(text.encode("utf-8", "surrogatepass")) // 3 + 1


def fit(parts: PromptParts, used: int, limit: int) -> dict[str, str]:
    """All parts as text, shortened until they have at most ``limit - used`` tokens together. Raises TooLong.

    ``used``: tokens of what stands around the parts.
    """
    texts = {name: part if isinstance(part, str) else part.shown() for name, part in parts.items()}
    total = used + sum(map(tokens, texts.values()))
    for name in LEFT_OUT_FIRST:
        part = parts.get(name)
        if total <= limit or not isinstance(part, Listing) or not part.lines:
            continue
        others = total - tokens(texts[name])
        texts[name] = _shortened(part, limit - others)
        total = others + tokens(texts[name])
    if total > limit:
        raise TooLong(
            f"the task and the program alone take about {total:,} tokens of a prompt, and llm.prompt_tokens is "
            f"{limit:,}; raise it, if the model can read that much"
        )
    return texts


def _shortened(part: Listing, room: int) -> str:
    """With as few lines left out as make it fit into ``room`` tokens; with none left if nothing does."""
    low, high = 1, len(part.lines)
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if tokens(part.shown(middle)) <= room else (middle + 1, high)
    return part.shown(low)
