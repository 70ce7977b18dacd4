"""Truncation of prompts: sections are shortened in a fixed order until the prompt fits.

A prompt has at most ``llm.prompt_tokens`` tokens, by an estimate on the high side (3 bytes a token; program text has
3.3 to 4.5). What does not fit is left out line by line in this order:

    1. insights from the archive, the least informative first
    2. other good programs, the worst first
    3. other changes that failed, the oldest first
    4. proposals in progress, the oldest first
    5. the list of the best programs, the worst first
    6. earlier children of the parent, the oldest first
    7. the history of the parent, the oldest step first
    8. its parameters, the last first
    9. its scores by case, the best first
   10. the last step's change, its end first
   11. the log of a failure, its start first

The task, the program, its score and the request are never cut: if they alone do not fit, there is no prompt. A repair
turn adds the model's own answer, which is not counted here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from operators.sanitize import quote

LEFT_OUT_FIRST = (
    "lessons",
    "others",
    "relatives",
    "in_flight",
    "best",
    "siblings",
    "ancestors",
    "knobs",
    "feedback",
    "change",
    "log",
)


class TooLong(ValueError):
    """The sections that are never cut do not fit; the message says what to do."""


@dataclass(frozen=True)
class Listing:
    """Lines of untrusted text, quoted as data. ``keep``: the end with the most important lines."""

    lines: tuple[str, ...]
    kind: str
    empty: str
    """The text in place of an empty list, not quoted."""
    keep: Literal["head", "tail"] = "tail"
    lead: str = ""
    """A sentence before the quotation."""

    def text(self, left_out: int = 0) -> str:
        """Return the quoted lines without the ``left_out`` least important ones, with a note on these."""
        if not self.lines:
            return self.empty
        kept = self.lines[left_out:] if self.keep == "tail" else self.lines[: len(self.lines) - left_out]
        gap = f"[{left_out} more left out]" if left_out else None
        lines = (gap, *kept) if self.keep == "tail" else (*kept, gap)
        quoted = quote("\n".join(line for line in lines if line is not None), self.kind, limit=1_000_000)
        return f"{self.lead}\n\n{quoted}" if self.lead else quoted


PromptSections = Mapping[str, str | Listing]
"""Sections of a prompt by the name of their placeholder."""


def tokens(text: str) -> int:
    """Return an estimate of the number of tokens, on the high side."""
    return len(text.encode("utf-8", "surrogatepass")) // 3 + 1


def fit(parts: PromptSections, used: int, limit: int) -> dict[str, str]:
    """Return all sections as text, shortened to at most ``limit - used`` tokens together. Raises TooLong.

    ``used``: tokens of the text around the sections.
    """
    texts = {name: part if isinstance(part, str) else part.text() for name, part in parts.items()}
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
    """Return the section with as few lines left out as needed for ``room`` tokens; with none left if none fit."""
    low, high = 1, len(part.lines)
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if tokens(part.text(middle)) <= room else (middle + 1, high)
    return part.text(low)
