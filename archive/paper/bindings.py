"""Numbers of a paper that are bound to a query which does not fit their sentence.

Each quantity has words of which one stands in every sentence that prints it; a number of one run stands where the
sentence speaks of that run; an interval stands with the number that it is of.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

from archive.paper.numbers import Study
from archive.paper.reading import KEY, Sentence, stem


@dataclass(frozen=True)
class SentenceWords:
    """What a sentence says beside a number. ``any_of``: beginnings of words, one of which has to be there."""

    any_of: tuple[str, ...]
    run: bool = False
    """Whether its first argument is a run."""
    stage: bool = False
    """Whether its last argument is a stage."""
    whole: bool = False
    """Whether it is of all runs together."""


_GAIN = ("gain", "improv", "difference", "increase", "decrease", "better", "worse", "interval")
_FINAL = ("final", "champion", "found", "program", "end")
_LOSS = ("loss", "lose", "loses", "cost", "worse", "without", "back", "ablat", "remov", "revert")

WORDS: Mapping[str, SentenceWords] = {
    "plan.evaluations": SentenceWords(("evaluation", "budget")),
    "plan.percent": SentenceWords(("interval", "confidence", "level", "%", "percent")),
    "plan.smallest": SentenceWords(("smallest", "least", "gain")),
    "plan.patience": SentenceWords(("patience", "without", "stop", "evaluation")),
    "plan.stage": SentenceWords((), stage=True),
    "plan.digest": SentenceWords(("sha", "digest", "hash")),
    "plan.seconds": SentenceWords(("second",)),
    "runs": SentenceWords(("run", "search", "seed")),
    "runs.made": SentenceWords(("run", "search", "seed")),
    "runs.champion": SentenceWords(("pass", "champion", "claim")),
    "evaluations": SentenceWords(("evaluation", "program", "trial")),
    "evaluations.failed": SentenceWords(("fail", "crash", "error")),
    "evaluations.stage": SentenceWords(("evaluation",), stage=True),
    "evaluations.run": SentenceWords(("evaluation",), run=True),
    "failed.run": SentenceWords(("fail", "crash", "error"), run=True),
    "baseline": SentenceWords(("baseline", "seed program", "start", "original")),
    "best.mean": SentenceWords(("best",), stage=True, whole=True),
    "best.low": SentenceWords(("best",), stage=True, whole=True),
    "best.high": SentenceWords(("best",), stage=True, whole=True),
    "best": SentenceWords(("best",), run=True, stage=True),
    "claim.baseline": SentenceWords(("baseline", "seed program", "start", "original"), run=True),
    "claim.final": SentenceWords(_FINAL, run=True),
    "claim.gain": SentenceWords(_GAIN, run=True),
    "claim.gain.low": SentenceWords(_GAIN, run=True),
    "claim.gain.high": SentenceWords(_GAIN, run=True),
    "gain": SentenceWords(_GAIN, whole=True),
    "gain.low": SentenceWords(_GAIN, whole=True),
    "gain.high": SentenceWords(_GAIN, whole=True),
    "final": SentenceWords(_FINAL, whole=True),
    "loss": SentenceWords(_LOSS),
    "loss.low": SentenceWords(_LOSS),
    "loss.high": SentenceWords(_LOSS),
    "deviations": SentenceWords(("deviat", "differ", "depart")),
    "verdict": SentenceWords(("hypothesis",)),
}

_SCALE = r"(?:times|fold|percent|per cent|thousand|million|billion|dozen|orders?)\b"
_JOINED = re.compile(
    rf"[\w.,×*/^_±+\-−]⟦(?!cite:|ref⟧)(?P<before>[^⟦⟧]*)⟧|[×*/^±]\s*⟦(?!cite:|ref⟧)(?P<sign>[^⟦⟧]*)⟧|"
    rf"⟦(?!cite:|ref⟧)(?P<after>[^⟦⟧]*)⟧(?:[\w^_×*/⟦]|[.,]\d|-?fold\b|\s*%|\s*[×*/^±÷]|[\s-]+{_SCALE})"
)
_PERCENT = re.compile(r"\s*(?:%|percent\b|per cent\b)")
_BOUNDS = re.compile(r"\b(?:ends?|bounds?|limits?|lower|upper|least|most)\b", re.IGNORECASE)


def bound(study: Study, sentence: Sentence) -> Iterator[tuple[int, str]]:
    """Yield (line, words) of keys that do not fit: joined with signs, of another thing or run, half an interval."""
    for place, words in (*_joined(sentence), *_of_other_things(study, sentence), *_half_intervals(sentence)):
        yield sentence.line_at(place), words


def _joined(sentence: Sentence) -> Iterator[tuple[int, str]]:
    for match in _JOINED.finditer(sentence.text):
        key = match["before"] or match["sign"] or match["after"]
        rest = sentence.text[match.start("after") + len(key) + 1 :] if match["after"] else ""
        if not (key == "plan.percent" and _PERCENT.match(rest)):
            yield match.start(), f"the number {key} is joined with other signs; a value of the archive stands alone"


def _of_other_things(study: Study, sentence: Sentence) -> Iterator[tuple[int, str]]:
    named = [run for run in study.registered.runs if re.search(rf"(?<!\w){re.escape(run)}(?!\w)", sentence.prose)]
    for match in KEY.finditer(sentence.text):
        key, _, rest = match[1].partition("@")
        arguments, known = rest.split("/") if rest else [], WORDS.get(key, SentenceWords(()))
        if known.any_of and not _has(sentence, known.any_of):
            yield match.start(), f"the sentence does not say that {match[1]} is of: {', '.join(known.any_of)}"
        if known.stage and stem(arguments[-1]) not in sentence.words:
            yield match.start(), f"{match[1]} is of the stage {arguments[-1]}, which the sentence does not name"
        if known.run and not (_has(sentence, ("run", "seed")) or arguments[0] in named):
            yield match.start(), f"{match[1]} is of one run, and the sentence speaks of none"
        if known.run and named and arguments[0] not in named:
            yield match.start(), f"{match[1]} is of another run than {named[0]}, which the sentence names"
        if known.run and _has(sentence, ("mean", "average", "overall")):
            yield match.start(), f"{match[1]} is of one run and no mean"
        if known.whole and named and not _has(sentence, ("mean", "average", "overall")):
            yield match.start(), f"{match[1]} is of all runs, and the sentence names {named[0]}"
    yield from _out_of_order(sentence)


def _has(sentence: Sentence, words: Sequence[str]) -> bool:
    text = sentence.prose.lower()
    return any(re.search(rf"\b{word}", text) if word.isalpha() else word in text for word in words)


def _out_of_order(sentence: Sentence) -> Iterator[tuple[int, str]]:
    """Stages stand in the order of their numbers: ``a at the end of tuning and b at the end of research``."""
    of_stages = [
        match for match in KEY.finditer(sentence.text) if WORDS.get(match[1].partition("@")[0], SentenceWords(())).stage
    ]
    text = sentence.prose.lower()
    stages = list(dict.fromkeys(match[1].rpartition("/")[2].rpartition("@")[2] for match in of_stages))
    places = [text.find(stage) for stage in stages]
    if any(later < earlier for earlier, later in pairwise(places)):
        yield of_stages[0].start(), f"the numbers of {', '.join(stages)} stand in another order than these words"


def _half_intervals(sentence: Sentence) -> Iterator[tuple[int, str]]:
    """Ends of intervals without the other end, or without the number that the interval is of."""
    keys = sentence.keys
    for match in KEY.finditer(sentence.text):
        found = re.fullmatch(r"([\w.]+)\.(low|high)((?:@.*)?)", match[1])
        if found is None:
            continue
        quantity, end, rest = found.groups()
        quantity = "best.mean" if quantity == "best" else quantity
        other = f"{found[1]}.{'high' if end == 'low' else 'low'}{rest}"
        if keys.count(match[1]) > keys.count(other) and not _BOUNDS.search(sentence.text):
            yield match.start(), f"{match[1]} is an end of an interval and stands alone, or in place of the number"
        elif keys.count(other) and f"{quantity}{rest}" not in keys and not _BOUNDS.search(sentence.text):
            yield match.start(), f"the interval of {quantity}{rest} stands without its number"
        if end == "low" and other in keys and keys.index(other) < keys.index(match[1]):
            yield match.start(), f"the ends of the interval of {quantity}{rest} are exchanged"
