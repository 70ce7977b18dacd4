"""explain: what each difference of a program from the seed program is worth, by the scores of the whole search.

The steps of a lineage were chosen because of single runs. All programs that have an edit and all that lack it say more,
and nothing is trained for it: the gene model of ``operators.numeric.surrogate`` compares the program with itself, with
one constant put back to its first value, or without one change of the code. What it says is an estimate; ``python -m
search ablate`` measures it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from archive.tree import Tree
from operators.analysis.edit_effects import SURE, Variants, Worths
from operators.numeric.observations import values_of
from operators.numeric.tune import Values

Verdict = Literal["helps", "does harm", "not clear"]


@dataclass(frozen=True)
class ProgramDifference:
    """One difference from the seed program."""

    words: str
    """The constant with both values, or the idea of the change: what a candidate wrote, unescaped."""
    node_id: str | None
    """Whose step a change of the code was; None for a constant."""
    gain: float
    """By how much the program is better with it, in deviations of the scores (normal scores of their ranks)."""
    deviation: float

    @property
    def verdict(self) -> Verdict:
        if abs(self.gain) < SURE * self.deviation:
            return "not clear"
        return "helps" if self.gain > 0 else "does harm"


@dataclass(frozen=True)
class Explanation:
    """All differences, what helps most first."""

    genes: tuple[ProgramDifference, ...]
    programs: int
    """Scored programs that it follows from."""


def explained(tree: Tree, node_id: str) -> Explanation | None:
    """None where too few programs are scored, or the model cannot be solved for them."""
    with tree.lock:
        files = tree[node_id].candidate.files
        variants = Worths().variants(tree, node_id, tuple(files))
        seed = values_of(tree[tree.root].candidate.files)
    if variants is None:
        return None
    try:
        genes = tuple(_genes(variants, seed))
    except ArithmeticError:
        return None
    scored = sum(trial.score is not None for trial in variants.study.trials)
    return Explanation(tuple(sorted(genes, key=lambda gene: -gene.gain)), scored)


def _genes(variants: Variants, seed: Values) -> Iterator[ProgramDifference]:
    study = variants.study
    words: list[tuple[str, str | None]] = []
    programs: list[Values] = [study.start]
    codes: list[frozenset[str]] = [study.code]
    for key in study.space:
        if key in seed and key in study.start and seed[key] != study.start[key]:
            words.append((f"{key[1]} {seed[key]!r} -> {study.start[key]!r}", None))
            programs.append({**study.start, key: seed[key]})
            codes.append(study.code)
    for change in variants.changes:
        if change.name in study.code:
            values, code = variants.other(change)
            words.append((change.maker.candidate.idea, change.maker.node_id))
            programs.append(values)
            codes.append(code)
    for (told, node_id), (gain, deviation) in zip(words, _differences(variants, programs, codes), strict=True):
        yield ProgramDifference(told, node_id, gain, deviation)


def _differences(
    variants: Variants, programs: Sequence[Values], codes: Sequence[frozenset[str]]
) -> list[tuple[float, float]]:
    """By how much the first program is better than each of the others, with its deviation."""
    if len(programs) < 2:
        return []
    found = variants.model().compare(programs, codes)
    return [(-gain, deviation) for gain, deviation in found.differences()]
