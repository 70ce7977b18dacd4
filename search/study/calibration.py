"""How many planted flaws language models find: one flaw of each kind, read by each reviewer, and the sound paper."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from archive.paper.build import read_sections
from archive.paper.document import Document
from archive.paper.numbers import Study
from archive.paper.planted import KINDS, FlawKind, HitRate, Plant, plants, rate
from archive.paper.review import Opinion, readable
from operators.llm.base import LlmError
from operators.llm.meter import Meter
from search.study.reviewing import reviews_of

OPERATOR = "calibrate"
"""The step in the ledger of costs."""


def reviewer_rates(folder: Path, study: Study, count: int, llm: Meter, run: str) -> dict[FlawKind | None, HitRate]:
    """Return how often ``count`` reviewers name the planted flaw, and under None any flaw of the sound paper.

    Raises LlmError if no review of one of the papers is in the form.
    """
    found: dict[FlawKind | None, HitRate] = {}
    for plant in _read(folder, study):
        text = readable(Document(study, plant.sections).latex())
        opinions = [each for each in reviews_of(text, count, llm, run, OPERATOR) if isinstance(each, Opinion)]
        if not opinions:
            raise LlmError(f"no review of the paper with this flaw is in the form: {plant.words}")
        hits = [
            (plant.words, bool(each.flaws) if plant.kind is None else plant.kind in each.flaws) for each in opinions
        ]
        found[plant.kind] = rate(hits, sound=plant.kind is None)
    return found


def _read(folder: Path, study: Study) -> Iterator[Plant]:
    """Yield the sound paper, and the first flaw of each kind that its text shows."""
    sections = read_sections(folder)
    yield Plant(None, "the paper as it is", sections)
    shown = [each for each in plants(folder, study) if each.sections != sections]
    for kind in KINDS:
        yield from [each for each in shown if each.kind == kind][:1]
