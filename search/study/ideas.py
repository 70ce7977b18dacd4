"""Ideas of a language model: JSON that is checked, and reflected on with what the program found about novelty.

The model never says what is novel. Its answers are data: what is not in the form goes back to it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from archive.paper.novelty import NoveltyFinding
from archive.records import Run, sha256
from archive.research_ideas import ResearchIdea
from archive.tree import Tree
from operators.llm.base import LlmError, Message, Prompt
from operators.llm.meter import CallId, Meter
from operators.rewrite.prompt.templates import Templates
from operators.sanitize import clean, one_line, quote

OPERATOR = "ideas"
"""The step in the ledger of costs."""
FIRST_MOVE = 1_100_000_000
"""Calls are numbered from here by their prompt, apart from moves and papers: equal prompts are asked once."""
_MOVES = 1_000_000_000
_LONGEST = 2_000
_LONGEST_NAME = 60
_SHOWN = 10
_SHOWN_FILES = 3
_SHOWN_KNOWN = 40
_TEXTS = ("name", "title", "hypothesis", "experiment", "expected_effect", "risk")
_RATINGS = ("interestingness", "feasibility")
_TEMPLATES = ("ideas_system", "ideas", "ideas_reflect")

Judge = Callable[[ResearchIdea], NoveltyFinding]


class InvalidIdeas(ValueError):
    """An answer that is not in the form; the message goes back to the model."""


@dataclass(frozen=True)
class IdeaRequest:
    """What is asked: how many ideas, on which facts, and with how many rounds of reflection."""

    count: int
    facts: str
    topic: str
    known: str
    rounds: int


def ideas_of(request: IdeaRequest, llm: Meter, run: str, judge: Judge) -> tuple[ResearchIdea, ...]:
    """Return the ideas of the last answer that is in the form, with their novelty.

    ``run``: whose ledger has the calls. Raises LlmError if no answer is in the form, or the first call fails.
    """
    templates = Templates()
    prompt = _prompt(request, templates)
    move = FIRST_MOVE + int(sha256(prompt.text)[:12], 16) % _MOVES
    best: tuple[ResearchIdea, ...] = ()
    reason = ""
    for turn in range(1 + request.rounds):
        try:
            answer = llm.complete(prompt, CallId(run, move, turn, OPERATOR, template=templates.version(_TEMPLATES)))
        except LlmError:
            if not best:
                raise
            break
        try:
            found = parsed(answer.text, request.count, answer.model, turn)
            best, reason = tuple(_judged(idea, judge) for idea in found), ""
        except InvalidIdeas as error:
            reason = f"Your answer cannot be used: {error}"
        parts = {"reason": reason, "novelty": "\n".join(f"{each.name}: {_novelty(each)}" for each in best)}
        prompt = prompt.followed_by(answer.text, templates.render("ideas_reflect", parts))
    if not best:
        raise LlmError(f"no answer of the model is in the form. {reason}")
    return best


def _prompt(request: IdeaRequest, templates: Templates) -> Prompt:
    parts = {"facts": request.facts, "topic": request.topic, "known": request.known, "count": str(request.count)}
    return Prompt(templates.render("ideas_system", {}), (Message("user", templates.render("ideas", parts)),))


def _judged(idea: ResearchIdea, judge: Judge) -> ResearchIdea:
    found = judge(idea)
    return replace(idea, novelty=found.novelty, closest=found.closest)


def _novelty(idea: ResearchIdea) -> str:
    return str(NoveltyFinding(idea.novelty, idea.closest))


def parsed(text: str, count: int, model: str, rounds: int) -> tuple[ResearchIdea, ...]:
    """Return the ideas in an answer, at most ``count``. Raises InvalidIdeas."""
    fenced = re.search(r"```\w*\n(.*?)```", text, re.DOTALL)
    try:
        rows: Any = json.loads(fenced[1] if fenced else text)
    except (ValueError, RecursionError) as error:
        raise InvalidIdeas(f"it is not JSON: {error}") from error
    if not isinstance(rows, list) or not rows:
        raise InvalidIdeas(f"expected a JSON array of at least one object, got {type(rows).__name__}")
    ideas = tuple(_idea(row, place, model, rounds) for place, row in enumerate(rows[:count], 1))
    if len({idea.name for idea in ideas}) < len(ideas):
        raise InvalidIdeas("two ideas have one name; give each a name of its own")
    return ideas


def _idea(row: object, place: int, model: str, rounds: int) -> ResearchIdea:
    if not isinstance(row, dict):
        raise InvalidIdeas(f"idea {place} is no object")
    texts = {name: _text(row.get(name), f"{name} of idea {place}") for name in _TEXTS}
    ratings = {name: _rating(row.get(name), f"{name} of idea {place}") for name in _RATINGS}
    texts["name"] = "-".join(texts["name"].split())[:_LONGEST_NAME]
    return ResearchIdea(**texts, **ratings, novelty="undecided", source=model, rounds=rounds)  # type: ignore[arg-type]


def _text(value: object, what: str) -> str:
    text = clean(value).strip() if isinstance(value, str) else ""
    if not text or len(text) > _LONGEST:
        raise InvalidIdeas(f"{what} has to be a text of 1 to {_LONGEST:,} characters")
    return text


def _rating(value: object, what: str) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not 1 <= value <= 10:
        raise InvalidIdeas(f"{what} has to be a whole number from 1 to 10")
    return value


def facts_of(run: Run, tree: Tree) -> str:
    """Return what a model is told of a run: the task, its metric, the best programs with their ideas, the best text."""
    leader = tree.leader()
    lines = [f"Task: {one_line(run.task)}. Metric: {one_line(run.metric)}, to {run.direction}. Best programs so far:"]
    places = [int(place) for place in np.argsort(-tree.ranks(), kind="stable")[:_SHOWN] if tree.eligible()[place]]
    for node in (tree.nodes[place] for place in places):
        lines.append(
            f"{node.node_id[:8]}: {tree.mean(node.node_id):.6g}, {one_line(node.candidate.idea) or 'the seed'}"
        )
    files = tree[leader].candidate.files.items() if leader is not None else ()
    programs = [quote(text, path, keep="head") for path, text in sorted(files)[:_SHOWN_FILES]]
    return "\n\n".join(["\n".join(lines), *programs])


def known_in_words(ideas: Sequence[tuple[str, str]]) -> str:
    """Return names and hypotheses for a prompt; empty if there are none."""
    lines = "\n".join(f"{one_line(name)}: {one_line(hypothesis)}" for name, hypothesis in ideas[-_SHOWN_KNOWN:])
    return f"Ideas that were recorded before:\n\n{quote(lines, 'ideas')}" if lines else ""
