"""What the sentences of a paper assert: improvements that no interval bears, test data that a search has read, sources.

A check by words: it does not understand a sentence. That the reader learns the outcome does not rest on it: the verdict
of the registered analysis is a number like any other, and has to stand in abstract and results.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from archive.paper.document import Document
from archive.paper.literals import BOUND
from archive.paper.numbers import Study
from archive.paper.reading import Sentence

_COMPARED = (
    r"better|superior|higher|lower|larger|smaller|greater|faster|stronger|cheaper|shorter|best ever|state.of.the.art|"
    r"more (?:accurate|efficient|effective|robust|reliable)|fewer errors?"
)
_ACTS = (
    r"improv\w*|outperform\w*|outscor\w*|outclass\w*|beats?|beaten|surpass\w*|exceed\w*|excels?|dominat\w*|boost\w*|"
    r"enhanc\w*|optimi[sz]ed|rais(?:e[ds]?|ing)|increas\w*|decreas\w*|reduc\w*|lower(?:s|ed|ing)|"
    r"benefit\w*|advantag\w*|helps?|helped|wins?|won|succe\w+|effective\w*|pays? off|paid off|progress\b(?! bar)|"
    r"advance[sd]?|breakthrough|leaps?|strides|clear\w* gain|real gain|works?|worked|confirm\w*|prove[sdn]?|proof|"
    r"establish\w*|demonstrat\w*|verif(?:y|ies|ied)|validat\w*|significan\w*|substantial\w*|remarkabl\w*|"
    r"considerabl\w*|noticeabl\w*|(?:is|are|was|were|been|stands?|holds?|held) (?:true|supported|right|correct)|"
    r"(?:is|are|was|were|been|stays?) (?:real|genuine|robust|reliable|reproducible|consistent|clear|positive|large)|"
    r"supports? the hypothesis|hypothesis holds|lies? above zero|above zero|exclud\w+ zero|positive (?:gain|effect)"
)
_CLAIMS = re.compile(rf"\b(?:{_ACTS}|{_COMPARED})\b", re.IGNORECASE)
_SHOWS_OFF = re.compile(
    r"\b(?:without (?:a |any )?(?:doubt|question|exception)|no doubt|not only|nothing short of|if anything|"
    r"no less than|cannot be (?:denied|doubted)|not surprising\w*|no wonder|never before|not just|not merely)\b",
    re.IGNORECASE,
)
_DIRECTION = re.compile(
    r"\b(?:(?P<up>larger|higher|greater|more|bigger)|smaller|lower|less|fewer) (?:scores? |values? )?"
    r"(?:is|are) better\b",
    re.IGNORECASE,
)
_DEFINES = re.compile(r"\bcounts? as \w+ (?:if|where|when)\b[^.;:]*", re.IGNORECASE)
_DENIES = re.compile(
    r"\b(?:no|not|nor|neither|never|cannot|nothing|none|hardly|without|fails? to|failed to|unclear|does ?n.t|"
    r"if|whether|where|when|unless|would|may|might|could|should|counts? as|means that|unsupported|undecided|question|"
    r"hypothesi[sz]e\w*|aims?|goal|test|tests|tested|to be)\b",
    re.IGNORECASE,
)
_CLAUSE = re.compile(r"[;:(),—–]|\b(?:and|but|while|although|though|yet|because|since|so)\b", re.IGNORECASE)
_BEHIND = 40
"""Characters behind a claim in which it may be denied: ``improves nothing``."""
_OWN = re.compile(
    r"\b(?:we|our|ours|us|here|this (?:study|paper|work|search|method|run)|"
    r"the (?:search|final|program|runs?|method|tun\w+|result\w*|hypothesis|gain))\b",
    re.IGNORECASE,
)
_GAINS = re.compile(r"(?:claim\.gain|loss|gain)(?:@.*)?")
_OF_ONE = re.compile(r"\b(?:runs?|seeds?|changes?|without|back)\b", re.IGNORECASE)
"""What a claim on one run, or on one change, begins with."""
_TEST_DATA = re.compile(
    r"\b(?:(?:test|held.?out|hold.?out|unseen|reserved|final) "
    r"(?:data|set|split|cases?|items?|examples?|texts?|instances?)|"
    r"(?:data|cases?|items?|instances?) of (?:the|its|their|our) (?:claims?|tests?|final comparison)|holdout|"
    r"claims?.? (?:data|cases?)|test (?:scores?|performance|results?)|data that the search)\b",
    re.IGNORECASE,
)
_USED = re.compile(
    r"\b(?:search\w*|tun(?:ed?|ing)|select\w*|chose\w*|choos\w*|train\w*|steer\w*|optimi[sz]\w*|fit(?:ted)?|screen\w*|"
    r"seen|saw|read|known|leak\w*|contaminat\w*|shared?|same|pick\w*|guid\w*|early stopping|develop\w*)\b",
    re.IGNORECASE,
)
_KEPT_APART = re.compile(
    r"\b(?:not|never|no|nor|unseen|without|fresh|other|apart|separate\w*|differ\w*|disjoint|only|after|untouched|new|"
    r"nothing|neither|none|hidden)\b",
    re.IGNORECASE,
)
_SOURCES = re.compile(
    r"\bet al\b|\band (?:colleagues|co-?workers)\b|\barXiv\b|\bdoi\b|https?:|\bwww\.|\[\d+(?:[,–-]\s*\d+)*\]|"
    r"\([A-Z][\w'’-]+(?:,? (?:and|&) [A-Z][\w'’-]+)?,? \d{4}[a-z]?\)",
)
_NAMED_WORK = re.compile(
    r"\b(?!(?:Figure|Table|Section|Run|Treewright|Student|SHA|DuckDB|This|That|The|We|It|These|They|Each|Every)\b)"
    r"[A-Z][a-z]+(?:(?:,? (?:and|&) | )[A-Z][\w.-]+)* (?:show|prove|report|propose|demonstrate|introduce|argue|claim|"
    r"observe|establish)(?:s|d|ed)?\b"
)


def quotations(text: str) -> re.Pattern[str]:
    """Return a pattern of the sentences of a text, however their lines are broken."""
    parts = (part.split() for part in re.split(r"(?<=[.!?])\s+", text.strip()))
    return re.compile("|".join(" ".join(map(re.escape, words)) for words in parts))


def improvements(study: Study, sentence: Sentence, quoted: re.Pattern[str]) -> Iterator[tuple[int, str]]:
    """Yield (line, words) if a sentence claims an improvement that no interval bears.

    ``quoted``: the registered hypothesis, which is no claim.
    """
    text = quoted.sub(lambda match: re.sub(r"\S", "_", match[0]), sentence.prose)
    if (sentence.cites or sentence.section not in BOUND) and not _OWN.search(text):
        return  # on the work of others, or on nothing that was measured here
    place = next(_unhedged(text), None)
    if place is None:
        return
    own = [key for key in sentence.keys if _GAINS.fullmatch(key)]
    single = [key for key in own if "@" in key]
    unsure = [key for key in own if _is_unsure(study, key)]
    if len(single) < len(own) or not (own and _OF_ONE.search(text[:place])):
        unsure += [] if study.supported else ["gain"]
    if unsure:
        yield sentence.line_at(place), f"claims an improvement, and the interval of {unsure[0]} is not above zero"


def _unhedged(text: str) -> Iterator[int]:
    """Yield the places of claims that their own clause neither denies nor makes a condition."""
    text = re.sub(rf"\b(?:{_COMPARED}) (?:is|are|scores are) better\b", "", text)  # a direction
    text = _DEFINES.sub(lambda match: "_" * len(match[0]), text)
    text = _SHOWS_OFF.sub(lambda match: "_" * len(match[0]), text)
    for match in _CLAIMS.finditer(text):
        before = _CLAUSE.split(text[: match.start()])[-1]
        behind = _CLAUSE.split(text[match.start() : match.end() + _BEHIND])[0]
        if not _DENIES.search(before) and not _DENIES.search(behind):
            yield match.start()


def _is_unsure(study: Study, key: str) -> bool:
    interval = study.interval(key)
    return interval is None or interval[0] <= 0


def directions(study: Study, sentence: Sentence) -> Iterator[tuple[int, str]]:
    """Yield (line, words) if a sentence says the metric's direction the wrong way round."""
    for match in _DIRECTION.finditer(sentence.prose):
        if ("maximise" if match["up"] else "minimise") != study.registered.plan["direction"]:
            words = f"{match[0]!r}, and the plan says that {study.registered.plan['metric']} is to be "
            yield sentence.line_at(match.start()), f"{words}{study.registered.plan['direction']}d"


def leaks(sentence: Sentence) -> Iterator[tuple[int, str]]:
    """Yield (line, words) if a sentence says that the search has read the data of its claims."""
    for match in _TEST_DATA.finditer(sentence.text):
        if _USED.search(sentence.text) and not _KEPT_APART.search(sentence.text):
            words = f"says that {match[0]!r} served the search; a claim on such data is no test"
            yield sentence.line_at(match.start()), words
            return


def sources(document: Document, sentence: Sentence) -> Iterator[tuple[int, str]]:
    """Yield (line, words) for a work that is named and not cited."""
    if not any(key in document.references for key in sentence.cites):
        for pattern in (_SOURCES, _NAMED_WORK):
            if (match := pattern.search(sentence.text)) is not None:
                words = f"{match[0]!r} names a work without \\cite of an entry of the study's bibliography"
                yield sentence.line_at(match.start()), words
                return
