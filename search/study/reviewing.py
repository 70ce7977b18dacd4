"""Reviews by language models: the field's form as JSON that is checked, by reviewers that do not see each other.

The paper is data: it stands between delimiters that its text cannot close. Equal calls are paid once.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields
from typing import Any, get_args

from archive.paper.planted import FlawKind
from archive.paper.review import RANGES, InvalidReview, Opinion, Review
from archive.records import sha256
from operators.llm.base import LlmError, Message, Prompt
from operators.llm.meter import CallId, Meter
from operators.rewrite.prompt.templates import Templates
from operators.sanitize import clean, quote

OPERATOR = "review"
"""The step in the ledger of costs."""
FIRST_MOVE = 100_000_000
"""Calls are numbered from here by their prompt and reviewer, apart from moves, papers and ideas."""
_MOVES = 900_000_000
_LONGEST = 60_000
"""Characters of a paper that a reviewer reads at most."""
_CHARACTERS = 3
"""Characters of it for each token of a prompt at most."""
_LONGEST_TEXT = 2_000
_MOST_TEXTS = 30
_REPAIRS = 1
_TEXTS = ("strengths", "weaknesses", "questions", "limitations")
_TEMPLATES = ("paper_review_system", "paper_review", "paper_review_repair")


@dataclass(frozen=True)
class FailedReview:
    """A reviewer without an answer in the form, and why."""

    reviewer: int
    reason: str


def move_of(prompt: Prompt, asked: str) -> int:
    """Return the number of a call, the same for the same prompt and ``asked``: whom it goes to, and for which step."""
    return FIRST_MOVE + int(sha256(f"{asked}\n{prompt.text}")[:12], 16) % _MOVES


def reviews_of(
    paper: str, count: int, llm: Meter, run: str, operator: str = OPERATOR, templates: Templates | None = None
) -> Iterator[Opinion | FailedReview]:
    """Yield the review of each reviewer when it is done.

    ``run``: whose ledger has the calls; ``operator``: the step in it, each with reviewers of its own.
    """
    templates, longest = templates or Templates(), min(_LONGEST, _CHARACTERS * llm.prompt_tokens)
    text = templates.render("paper_review", {"paper": quote(paper, "paper", longest, keep="head")})
    prompt = Prompt(templates.render("paper_review_system", {}), (Message("user", text),))
    for reviewer in range(1, count + 1):
        call = CallId(run, move_of(prompt, f"{operator} {reviewer}"), 1, operator)
        yield _review(prompt, call, reviewer, llm, templates)


def _review(prompt: Prompt, call: CallId, reviewer: int, llm: Meter, templates: Templates) -> Opinion | FailedReview:
    reason = ""
    for turn in range(1, 2 + _REPAIRS):
        this = CallId(call.run, call.move, turn, call.operator, template=templates.version(_TEMPLATES))
        try:
            answer = llm.complete(prompt, this)
        except LlmError as error:
            return FailedReview(reviewer, f"no answer: {error}")
        try:
            return parsed(answer.text, reviewer)
        except InvalidReview as error:
            reason = str(error)
        prompt = prompt.followed_by(answer.text, templates.render("paper_review_repair", {"reason": reason}))
    return FailedReview(reviewer, reason)


def parsed(text: str, reviewer: int) -> Opinion:
    """Return the review in an answer. Raises InvalidReview."""
    fenced = re.search(r"```\w*\n(.*?)```", text, re.DOTALL)
    try:
        row: Any = json.loads(fenced[1] if fenced else text)
    except (ValueError, RecursionError) as error:
        raise InvalidReview(f"it is not JSON: {error}") from error
    names = {field.name for field in fields(Review)} | {"flaws"}
    if not isinstance(row, dict) or row.keys() != names:
        there = sorted(row) if isinstance(row, dict) else type(row).__name__
        raise InvalidReview(
            f"expected an object with the names {', '.join(sorted(names))}; got {there}"[:_LONGEST_TEXT]
        )
    return Opinion(reviewer, _form(row), _flaws(row["flaws"]))


def _form(row: dict[str, Any]) -> Review:
    if row["decision"] not in ("accept", "reject"):
        raise InvalidReview(f"decision is {str(row['decision'])[:40]!r}; expected accept or reject")
    if not isinstance(row["ethical_concerns"], bool):
        raise InvalidReview("ethical_concerns is neither true nor false")
    if missing := [name for name in RANGES if row[name] is None]:
        raise InvalidReview(f"{missing[0]} has no value; expected a whole number from 1 to {RANGES[missing[0]]}")
    texts: dict[str, Any] = {name: _texts(row[name], name) for name in _TEXTS}
    given = {name: row[name] for name in (*RANGES, "ethical_concerns", "decision")}
    return Review(summary=_text(row["summary"], "summary"), **texts, **given)


def _texts(value: object, name: str) -> tuple[str, ...]:
    if not isinstance(value, list) or len(value) > _MOST_TEXTS:
        raise InvalidReview(f"{name} has to be an array of at most {_MOST_TEXTS} texts")
    return tuple(_text(each, name) for each in value)


def _text(value: object, name: str) -> str:
    text = clean(value).strip() if isinstance(value, str) else ""
    if not text or len(text) > _LONGEST_TEXT:
        raise InvalidReview(f"{name} has to have texts of 1 to {_LONGEST_TEXT:,} characters")
    return text


def _flaws(value: object) -> frozenset[FlawKind]:
    kinds: Sequence[FlawKind] = get_args(FlawKind)
    if not isinstance(value, list) or not all(each in kinds for each in value):
        raise InvalidReview(f"flaws has to be an array of words out of {', '.join(kinds)}")
    return frozenset(value)
