"""A review of a paper in the field's form, by checks alone: what they cannot judge has no rating.

Ratings follow from the audit and the deviations from the plan. A check only finds faults, so that none gives the best
rating. The text of the paper is compared and never followed. Opinions of language models are beside it
(``Panel``): a fault that a check found outweighs them.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from statistics import median
from typing import Literal

from archive.paper.audit import Fault, audit, facts_of
from archive.paper.build import read_text
from archive.paper.deviations import Deviation, deviations
from archive.paper.numbers import Study
from archive.paper.planted import FlawKind
from archive.query.query import Reader

Decision = Literal["accept", "reject", "undecided"]
RANGES = {
    "originality": 4, "quality": 4, "clarity": 4, "significance": 4, "soundness": 4, "presentation": 4,
    "contribution": 4, "overall": 10, "confidence": 5,
}  # fmt: skip
"""The best value of each rating; the worst is 1."""
NOT_FOUND = 3
"""A rating where the checks found nothing."""


class InvalidReview(ValueError):
    """A review that is not in the form."""


@dataclass(frozen=True)
class Review:
    """The form. A rating is None where nothing judged it. Raises InvalidReview."""

    summary: str
    strengths: tuple[str, ...]
    weaknesses: tuple[str, ...]
    originality: int | None
    quality: int | None
    clarity: int | None
    significance: int | None
    soundness: int | None
    presentation: int | None
    contribution: int | None
    overall: int | None
    confidence: int | None
    questions: tuple[str, ...]
    limitations: tuple[str, ...]
    ethical_concerns: bool | None
    decision: Decision

    def __post_init__(self) -> None:
        for name, best in RANGES.items():
            value = getattr(self, name)
            if value is not None and not (type(value) is int and 1 <= value <= best):
                raise InvalidReview(f"{name} is {value!r}; expected a whole number from 1 to {best}, or none")
        for name in ("strengths", "weaknesses", "questions", "limitations"):
            if not all(isinstance(text, str) and text.strip() for text in getattr(self, name)):
                raise InvalidReview(f"{name} has an empty text")
        if not self.summary.strip():
            raise InvalidReview("the summary is empty")


@dataclass(frozen=True)
class Opinion:
    """The review of one language model. ``flaws``: the kinds of flaw that it sees in the paper."""

    reviewer: int
    review: Review
    flaws: frozenset[FlawKind]


@dataclass(frozen=True)
class Spread:
    """A rating by several reviewers."""

    median: float
    lowest: int
    highest: int


@dataclass(frozen=True)
class Panel:
    """The review by checks, and the opinions of language models."""

    checks: Review
    opinions: tuple[Opinion, ...]

    @property
    def ratings(self) -> dict[str, Spread]:
        return ratings(self.opinions)

    @property
    def decision(self) -> Decision:
        """What more than half of the opinions say; ``reject`` for a paper with a fault, whatever they say."""
        if self.checks.decision == "reject":
            return "reject"
        votes = [each.review.decision for each in self.opinions]
        found: list[Decision] = [word for word in ("accept", "reject") if 2 * votes.count(word) > len(votes)]
        return found[0] if found else "undecided"


def spread(opinions: Sequence[Opinion], name: str) -> Spread | None:
    """Return median, lowest and highest value of a rating; None where nobody gave it."""
    values = [value for each in opinions if (value := getattr(each.review, name)) is not None]
    return Spread(float(median(values)), min(values), max(values)) if values else None


def ratings(opinions: Sequence[Opinion]) -> dict[str, Spread]:
    """Return the spread of each rating over the opinions."""
    return {name: found for name in RANGES if (found := spread(opinions, name)) is not None}


def readable(latex: str) -> str:
    """Return the body of a paper's LaTeX, with each number in the place of its key."""
    numbers = dict(re.findall(r"\\twdef\{([^{}]*)\}\{(.*)\}", latex))
    body = latex.partition(r"\begin{document}")[2].partition(r"\end{document}")[0]
    return re.sub(r"\\tw\{([^{}]*)\}", lambda match: numbers.get(match[1], "?"), body).strip()


def text_of(folder: Path) -> str:
    """Return the text of a paper, which nothing follows. Raises PaperError."""
    return readable(read_text(folder / "paper.tex", folder))


def review(folder: Path, reader: Reader, pictures: bool = True) -> Review:
    """Return the review of a paper. ``pictures``: as of ``audit``. Raises PaperError for no paper at all."""
    study = Study.of(reader, facts_of(folder)["study"])
    faults, found = audit(folder, study.reader, pictures), deviations(study.reader, study.name)
    return Review(
        summary=_summary(study),
        strengths=tuple(_strengths(faults, found)),
        weaknesses=tuple(_weaknesses(study, faults, found)),
        originality=None,
        quality=None,
        clarity=None,
        significance=None,
        soundness=1 if faults else 2 if found else NOT_FOUND,
        presentation=1 if any(fault.code == "text" for fault in faults) else NOT_FOUND,
        contribution=None,
        overall=1 if faults else None,
        confidence=RANGES["confidence"] if faults else None,
        questions=tuple(f"What is the cause of this deviation: {each.words}?" for each in found),
        limitations=tuple(_limitations(study)),
        ethical_concerns=None,
        decision="reject" if faults else "undecided",
    )


def _summary(study: Study) -> str:
    plan, interval = study.registered.plan, study.interval("gain")
    gain = "no interval" if interval is None else f"the interval {interval[0]:.4g} to {interval[1]:.4g}"
    return f"{plan['title']}. Hypothesis: {plan['hypothesis']} The mean gain over the seeds has {gain}."


def _strengths(faults: Sequence[Fault], found: Sequence[Deviation]) -> Iterator[str]:
    codes = {fault.code for fault in faults}
    if not codes & {"text", "number", "latex", "html", "figure"}:
        yield "Every number, table and figure is what its query gives on the archive."
        yield "Every reference is in the bibliography that was registered with the plan."
    if "plan" not in codes:
        yield "The plan was registered before its first run, and is the one that the paper names."
    if not codes & {"run", "settings"}:
        yield "Every registered run was made, with the settings of the plan."
    if not found:
        yield "The runs do not deviate from the plan."


def _weaknesses(study: Study, faults: Sequence[Fault], found: Sequence[Deviation]) -> Iterator[str]:
    yield from (fault.words for fault in faults)
    yield from (f"Deviation from the plan: {each.words}" for each in found)
    interval = study.interval("gain")
    if interval is None or interval[0] <= 0:
        yield "The interval of the mean gain is not above zero: the runs do not bear an improvement."


def _limitations(study: Study) -> Iterator[str]:
    yield f"The result is on one task, {study.registered.plan['task']}, and {len(study.registered.runs)} seeds."
    unjudged = "originality, quality, clarity, significance, contribution and ethical concerns"
    yield f"This review was made by checks alone: {unjudged} were not judged."


def in_words(found: Review) -> str:
    """Return the form as text, a heading for each of its fields."""
    return "\n".join(line for field in fields(found) for line in _field(field.name, getattr(found, field.name)))


def ratings_in_words(found: dict[str, Spread]) -> str:
    """Return the spread of each rating as text, a line for each."""
    rows = ((name.capitalize(), each, RANGES[name]) for name, each in found.items())
    return "\n".join(
        f"{name}: {each.median:g} of {best} ({each.lowest} to {each.highest})" for name, each, best in rows
    )


def _field(name: str, value: object) -> Iterator[str]:
    title = name.replace("_", " ").capitalize()
    if isinstance(value, tuple):
        yield f"{title}:" if value else f"{title}: none"
        yield from (f"  - {text}" for text in value)
    else:
        most = f" of {RANGES[name]}" if name in RANGES else ""
        yield f"{title}: not judged" if value is None else f"{title}: {value}{most}"
