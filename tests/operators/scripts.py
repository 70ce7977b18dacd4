"""A scripted model behind a meter, for the tests of operators that ask one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from archive.llm_calls import LlmCall
from operators.llm.base import LlmError, Prompt
from operators.llm.meter import Meter
from operators.llm.scripted import Scripted

Answers = Sequence[str | LlmError] | Callable[[Prompt], str]


def metered(answers: Answers, calls: list[LlmCall] | None = None, **more: Any) -> tuple[Meter, Scripted]:
    """A meter with wide caps, and its model; ``calls`` gets every call."""
    model = Scripted(answers)
    record = [].append if calls is None else calls.append
    return Meter(model, **{"max_dollars": 1.0, "max_tokens": 10**6, "record": record, **more}), model


def edit(search: str, replace: str, idea: str = "an idea") -> str:
    """An answer with one search/replace block."""
    return f"IDEA: {idea}\n<<<<<<< SEARCH\n{search}\n=======\n{replace}\n>>>>>>> REPLACE\n"


def whole(text: str, idea: str = "an idea") -> str:
    """An answer with a whole file."""
    return f"IDEA: {idea}\n```python\n{text}```\n"
