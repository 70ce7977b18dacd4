"""Items: cases that an agent answers. Each ends right, wrong, or in an error, and the kinds are told apart everywhere.

def score(candidate, case):
    attempt = candidate.attempt("solve", case.data["question"], seconds=1, services={"llm": candidate.llm})
    return prepare.graded(attempt, lambda answer: answer == case.data["answer"], parse=prepare.number_in)
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, get_args

from prepare.scorer import Attempt, Ending, Score

ENDINGS: tuple[str, ...] = get_args(Ending)
ERRORS = ENDINGS[2:]
"""The endings that are errors: the agent gave no answer that could be right or wrong."""
_SHOWN = 200
_NUMBER = re.compile(r"-?\d+(?:,\d{3})*(?:\.\d+)?")


def graded(
    attempt: Attempt, right: Callable[[Any], bool], parse: Callable[[str], Any] = str.strip, feedback: str = ""
) -> Score:
    """Return 1 for a right answer and 0 otherwise, with the code of the ending.

    ``parse``: an answer from the returned text, None if it cannot be read. ``feedback``: what the item was, for a
    language model that improves the agent; the ending and what was answered are added.
    """
    if attempt.error is not None:
        return _ended(attempt.error, f"{attempt.error}: {attempt.reason}", feedback)
    text = "" if attempt.value is None else str(attempt.value)
    if not text.strip():
        return _ended("empty", "no answer was returned", feedback)
    answer = parse(text)
    if answer is None:
        return _ended("unparsed", f"no answer can be read in {text[-_SHOWN:]!r}", feedback)
    if right(answer):
        return Score(1.0, ending="right")
    return _ended("wrong", f"answered {answer!r:.{_SHOWN}}", feedback)


def _ended(ending: Ending, words: str, feedback: str) -> Score:
    return Score(0.0, feedback=f"{feedback} {words}".strip(), ending=ending)


def number_in(text: str) -> float | None:
    """Return the last number of a text, with commas between thousands; None without one."""
    found = _NUMBER.findall(text)
    return float(found[-1].replace(",", "")) if found else None


def require_ending(ending: str | None) -> None:
    """Raise ValueError for a code that is none."""
    if ending is not None and ending not in ENDINGS:
        raise ValueError(f"the score has the ending {ending!r}; expected one of {', '.join(ENDINGS)}")
