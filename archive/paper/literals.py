"""Numbers that are typed in the text of a paper, in digits or in words, and which of them may be.

A number may be typed where it is a setting of the registered plan and the sentence names the setting; outside of
abstract, results and ablations also where the sentence names the line of the seed program that has it, or cites a work
whose entry in the bibliography has it. Numbers in words are numbers.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from archive.paper.document import Document
from archive.paper.numbers import Study
from archive.paper.reading import Sentence, stem

BOUND = ("abstract", "results", "ablations")
"""Sections in which every number is bound or a setting."""
_DIGITS = r"\.?\d+(?:[.,]\d+)*(?:[eE][-+]?\d+)?"
_NUMBER = re.compile(rf"(?<!\w)(?P<sign>(?<![\w)\]⟧–.])[-−])?(?P<digits>{_DIGITS})(?P<suffix>\w*)")
_COMPOUND = re.compile(rf"(?<!\w){_DIGITS}\s*(?:[×*/^_+:⁄÷]\s*[-−]?\s*(?:{_DIGITS}|⟦[^⟦⟧]*⟧))+")
_VERSION = re.compile(r"\b[A-Za-z_]+\d+(?:[.,]\d+)+|\bx\d+\b")
_NAME = re.compile(r"\b\w*[A-Z]\w*-\d+(?![\d.,]*\d)(?!\w)")
"""Names such as SHA-256."""
_THOUSANDS = re.compile(r"\d{1,3}(?:,\d{3})+(?:\.\d+)?")
_BUDGETS = re.compile(r"\b(?:at most|up to|plan\w*|regist\w*|budget\w*|limit\w*|may)\b", re.IGNORECASE)
_RESULT_WORDS = frozenset({"score", "gain", "loss", "mean", "best", "final", "baseline", "value", "result"})
_COUNTED = ("runs", "stages", "seeds", "operators")
"""Settings whose number may be typed, too: three seeds."""
_STOP = frozenset(["and", "are", "but", "for", "from", "has", "its", "not", "than", "that", "the", "was", "with"])
_SMALL = (
    "one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen "
    "eighteen nineteen twenty"
)
_TENS = "thirty forty fifty sixty seventy eighty ninety"
_CARDINALS = {word: str(n) for n, word in enumerate(_SMALL.split(), 1)} | {
    word: str(n) for n, word in zip(range(30, 100, 10), _TENS.split(), strict=True)
}
_CARDINAL = re.compile(rf"\b(?:{'|'.join(sorted(_CARDINALS, key=len, reverse=True))})\b"
                       r"(?!-(?:sided|tailed|stage|step|way|dimensional)\b)", re.IGNORECASE)  # fmt: skip
_UNIT = r"(?:runs?|seeds?|searches|evaluations?|programs?|claims?|ablations?|trials?|experiments?)"
_EVERYDAY_COUNT = 12
"""Up to this number, words such as ``two`` are everyday language outside of what is reported, unless they count:"""
_COUNTS = re.compile(
    rf" (?:\w+ )?(?:{_UNIT}|stages?|operators?|seconds?|minutes?|hours?|days?|layers?|cores?|threads?|gpus?|tasks?)\b",
    re.IGNORECASE,
)
_ONE = re.compile(
    rf"\bone (?:(?:out )?of|in) (?:the |our |its )?(?:\w+ |⟦[^⟦⟧]*⟧ )?{_UNIT}\b|"
    rf"\b(?:only|exactly|just) one {_UNIT}\b",
    re.IGNORECASE,
)
_FRACTIONS = re.compile(
    r"\b(?:twice|thrice|(?:re)?doubl(?:e[ds]?|ing)|tripl(?:e[ds]?|ing)|trebl(?:e[ds]?|ing)|quadrupl(?:e[ds]?|ing)|"
    r"halv(?:e[ds]?|ing)|half|halves|\w+-?fold|(?:a|one|two|three) (?:third|quarter|fifth|tenth|percent|per cent)s?|"
    r"(?:third|quarter|fifth|tenth)s? of|"
    r"(?:few|several|many|some) (?:percent|per cent)|orders? of magnitude|dozens?|hundreds?|thousands?|"
    r"millions?|billions?)\b"
    r"(?! (?:precision|blind|descent|integral))|"
    rf"\b(?:{'|'.join(_CARDINALS)})(?:[- ]\w+)? (?:times|percent|per cent|percentage|points?)\b",
    re.IGNORECASE,
)
_EVERYDAY = re.compile(r"\b(?:manifold|scaffold|blindfold|unfold|fold|threefold cross)\b", re.IGNORECASE)
_SHARE = re.compile(
    rf"\b(?:all|every|each|both|none|no|zero|neither|most|few|several|many|majority)\b (?:of )?(?:the |these |our )?"
    rf"(?:\w+ )?{_UNIT}\b",
    re.IGNORECASE,
)
_OUTCOME = re.compile(
    r"\b(?:improv\w*|pass\w*|fail\w*|succe\w*|champions?|support\w*|gain\w*|better|beats?|worse|scored?|crash\w*|"
    r"reach\w*|find\w*|found)\b",
    re.IGNORECASE,
)


@dataclass(frozen=True)
class Setting:
    """A number that may be typed. ``names``: words of which one group has to stand in the sentence."""

    number: str
    names: tuple[frozenset[str], ...]
    budget: bool = False
    """Whether it is a limit, so that it may only be typed as one."""

    def named(self, sentence: Sentence) -> bool:
        if self.budget and not _BUDGETS.search(sentence.text):
            return False
        return any(names <= sentence.words for names in self.names)


@dataclass(frozen=True)
class Typed:
    """The numbers that may be typed in a paper."""

    settings: tuple[Setting, ...]
    seed: tuple[Setting, ...]
    seed_names: Mapping[str, frozenset[str]]
    """Name -> the numbers of the lines of the seed program that have it."""
    names: tuple[str, ...]
    """Names with digits: of runs, of the task."""

    @classmethod
    def of(cls, study: Study) -> Typed:
        plan = study.registered.plan
        lines = [line for text in study.seed_texts() for line in text.splitlines()]
        named: dict[str, set[str]] = {}
        for line in lines:
            for name in re.findall(r"[^\W\d]\w*", line):
                named.setdefault(name, set()).update(_plain(line))
        names = (*study.registered.runs, str(plan["task"]), study.name, *plan["baseline"])
        return cls(
            tuple(settings(plan)), tuple(_of_lines(lines)), {name: frozenset(found) for name, found in named.items()},
            tuple(sorted({str(each) for each in names if re.search(r"\d", str(each))}, key=len, reverse=True)),
        )  # fmt: skip


def _plain(text: str) -> Iterator[str]:
    for match in _NUMBER.finditer(text):
        yield (match["sign"] or "").replace("−", "-") + written(match["digits"])


def written(digits: str) -> str:
    """Return a number without the commas of its thousands."""
    return digits.replace(",", "") if _THOUSANDS.fullmatch(digits) else digits


def _of_lines(lines: Sequence[str]) -> Iterator[Setting]:
    for line in lines:
        names = tuple(frozenset({stem(word)}) for word in set(re.findall(r"[^\W\d_]+", line)))
        yield from (Setting(number, names) for number in _plain(line))


# ---------------------------------------------------------------- settings


def settings(plan: Mapping[str, Any]) -> Iterator[Setting]:
    """Yield the numbers of a registered plan as they may be typed, with the words that name them."""
    for name, value in plan.items():
        if name not in ("baseline", "digest", "bibliography_sha256"):
            yield from _settings(name, value)
    yield Setting(f"{100 * plan['level']:g}", (frozenset({"interval"}), frozenset({"confidence"})))


def _settings(name: str, value: object) -> Iterator[Setting]:
    words = _words(name)
    if isinstance(value, Mapping | list):
        if name in _COUNTED:
            yield Setting(str(len(value)), (words,))
        for key, each in value.items() if isinstance(value, Mapping) else ((name, each) for each in value):
            yield from _settings(str(key), each)
    elif isinstance(value, str):
        yield from _in_text(value)
    elif isinstance(value, int | float) and not isinstance(value, bool):
        yield from _number(name, value, words)


def _number(name: str, value: float, words: frozenset[str]) -> Iterator[Setting]:
    budget = name in ("evaluations", "baseline", "tuning", "research", "ablation")
    names = (words,) if words and not words <= _RESULT_WORDS else ()
    if name == "level":
        names = (*names, frozenset({"interval"}), frozenset({"confidence"}))
    for text in {f"{value:g}", str(value), *({f"{100 * value:g}"} if 0 < value < 1 else ())}:
        yield Setting(text, names, budget)


def _words(name: str) -> frozenset[str]:
    return frozenset(stem(word) for word in re.findall(r"[A-Za-z]+", name))


def _in_text(text: str) -> Iterator[Setting]:
    """Yield the numbers of a text, each named by the word behind it, or before it at the end of the text."""
    for match in _NUMBER.finditer(text):
        after = re.findall(r"[^\W\d_]{3,}", text[match.end() :])[:1]
        before = re.findall(r"[^\W\d_]{3,}", text[: match.start()])[-1:]
        beside = [word for word in (*after, *before) if word.lower() not in _STOP] or ["the"]
        yield Setting(written(match["digits"]), (frozenset({stem(beside[0])}),))


# ---------------------------------------------------------------- typed numbers


def typed(document: Document, sentence: Sentence, allowed: Typed) -> Iterator[tuple[int, str]]:
    """Yield (line, words) of the first number of a sentence that is neither bound nor may be typed."""
    text = _without_names(sentence.text, allowed.names)
    free = sentence.section not in BOUND
    places: list[tuple[int, str]] = [(m.start(), m[0]) for m in (*_COMPOUND.finditer(text), *_VERSION.finditer(text))]
    for match in _NUMBER.finditer(text):
        number = (match["sign"] or "").replace("−", "-") + written(match["digits"]) + match["suffix"]
        if not _may_stand(number, match.start("digits"), text, sentence, allowed, document if free else None):
            places.append((match.start(), match["digits"] + match["suffix"]))
    places += _in_words(sentence, text, allowed, document)
    for place, number in sorted(places)[:1]:
        rest = ", stands in no line of the seed program that the sentence names, and in no work that it cites"
        words = (
            f"{number} is neither bound to a query (\\tw) nor a setting of the registered plan that its sentence names"
        )
        yield sentence.line_at(place), words + (rest if free else "")


def _without_names(text: str, names: Sequence[str]) -> str:
    """Blank out names with digits, whose places stay."""
    for name in names:
        text = re.sub(rf"(?<!\w){re.escape(name)}(?!\w)", "_" * len(name), text)
    text = _NAME.sub(lambda match: "_" * len(match[0]), text)
    return re.sub(r"⟦[^⟦⟧]*⟧", lambda match: "⟦" + "_" * (len(match[0]) - 2) + "⟧", text)


def _may_stand(number: str, place: int, text: str, sentence: Sentence, allowed: Typed, free: Document | None) -> bool:
    if any(each.number == number and each.named(sentence) for each in allowed.settings):
        return True
    if free is None:
        return False
    if number in _cited_numbers(sentence, free):
        return True
    given = re.search(r"(\w+)\s*(?:=|\bis\b|\bof\b|\bto\b|\bequals\b)\s*-?$", text[:place])
    if given is not None and given[1] in allowed.seed_names:
        return number in allowed.seed_names[given[1]]
    return any(each.number == number and each.named(sentence) for each in allowed.seed)


def _cited_numbers(sentence: Sentence, document: Document) -> set[str]:
    return set(_plain(_cited_text(sentence, document)))


def _cited_text(sentence: Sentence, document: Document) -> str:
    """Return all fields of the works that a sentence cites."""
    works = (document.references[key] for key in sentence.cites if key in document.references)
    return " ".join(text for each in works for text in each.fields.values())


def _in_words(sentence: Sentence, text: str, allowed: Typed, document: Document) -> Iterator[tuple[int, str]]:
    """Yield numbers in words: shares of runs, ratios, and, where every number is bound, counts."""
    given = f"{_cited_text(sentence, document)} {document.study.registered.plan['hypothesis']}".lower()
    for match in _FRACTIONS.finditer(text):
        if match[0].lower() not in given and not _EVERYDAY.fullmatch(match[0]):
            yield match.start(), match[0]
    free = sentence.section not in BOUND
    for match in _CARDINAL.finditer(text):
        number = _CARDINALS[match[0].lower()]
        everyday = number == "1" or (free and int(number) <= _EVERYDAY_COUNT and not _COUNTS.match(text, match.end()))
        if not everyday and not _may_stand(number, match.start(), text, sentence, allowed, document if free else None):
            yield match.start(), match[0]
    if free:
        return
    yield from ((match.start(), match[0]) for match in _ONE.finditer(text))
    counted = any(key.partition("@")[0].startswith(("runs", "evaluations", "failed", "loss")) for key in sentence.keys)
    if not counted and _OUTCOME.search(text):
        yield from ((match.start(), match[0]) for match in _SHARE.finditer(text))
