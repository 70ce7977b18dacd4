"""Novelty of an idea: compared with the history of the archive and with a local store of literature, by BM25.

The score of a document is divided by the score that the idea itself would have as a document, so that an equal text has
1 and a text without a common word has 0. ``novel`` is only said where there is a store to compare with.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from dataclasses import dataclass

from archive.paper.literature import Publication
from archive.query.query import Reader
from archive.research_ideas import Novelty

KNOWN = 0.5
"""A document with at least this similarity makes an idea known."""
NOVEL = 0.25
"""An idea is novel if no document has this similarity. Between the two it is undecided. Both are conventions."""
_LEAST_WORDS = 4
MISSING = "Novelty is undecided without bm25s, of the extra [ideas]: pip install -e '.[ideas]'"
_HISTORY = """
SELECT 'idea ' || name, title || '. ' || hypothesis FROM research_ideas
UNION ALL SELECT 'study ' || study, (plan ->> '$.title') || '. ' || (plan ->> '$.hypothesis') FROM studies
UNION ALL SELECT 'node ' || left(node_id, 8), idea FROM nodes WHERE idea <> '' AND operator <> 'ablate'
"""


@dataclass(frozen=True)
class NoveltyFinding:
    """The novelty of an idea, the document that is closest to it, and how similar that is."""

    novelty: Novelty
    closest: str | None = None
    similarity: float | None = None

    def __str__(self) -> str:
        return f"{self.novelty} (closest: {self.closest})" if self.closest is not None else self.novelty


def available() -> bool:
    """Return whether the library for the comparison is installed."""
    return importlib.util.find_spec("bm25s") is not None


def history(reader: Reader) -> tuple[Publication, ...]:
    """Return what the archive knows already: its ideas, the hypotheses of its studies, the ideas of its programs."""
    return tuple(Publication(str(place), str(text)) for place, text in reader.query(_HISTORY).rows if text)


def judge(text: str, known: Sequence[Publication], literature: Sequence[Publication]) -> NoveltyFinding:
    """Return the novelty of an idea with this text. Without literature, or without bm25s, it is never ``novel``."""
    documents = [*known, *literature]
    for each in documents:
        if _plain(each.text) == _plain(text):
            return NoveltyFinding("known", each.place, 1.0)
    if not documents or not available():
        return NoveltyFinding("undecided")
    closest, similarity = _closest(text, documents)
    if closest is None:
        return NoveltyFinding("undecided")
    if similarity >= KNOWN:
        return NoveltyFinding("known", closest.place, similarity)
    if similarity < NOVEL and literature:
        return NoveltyFinding("novel", None, similarity)
    return NoveltyFinding("undecided", closest.place if similarity >= NOVEL else None, similarity)


def _plain(text: str) -> str:
    return " ".join(text.lower().split())


def _closest(text: str, documents: Sequence[Publication]) -> tuple[Publication | None, float]:
    """Return the closest document with its similarity; None if the text has too few words to tell."""
    import bm25s

    texts = [text, *(each.text for each in documents)]
    tokens = bm25s.tokenize(texts, stopwords="en", return_ids=False, show_progress=False)
    words = list(dict.fromkeys(tokens[0]))
    if len(words) < _LEAST_WORDS:
        return None, 0.0
    index = bm25s.BM25()
    index.index(tokens, show_progress=False)
    itself, *scores = map(float, index.get_scores(words))
    best = max(range(len(scores)), key=scores.__getitem__)
    return documents[best], min(1.0, scores[best] / itself)
