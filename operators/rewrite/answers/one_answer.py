"""The parts of one answer: what the marks of thoughts do not tell.

A heading such as ``**Final answer**`` begins the final part if there are blocks above and below it.

Refused, since one part may be a draft of the other:

    IDEA: a / block / IDEA: b / block               two ideas with blocks of their own
    edit / IDEA: a / edit                           an edit before the idea and one after it
    <draft> / block / </draft> / block              blocks within and outside of a pair of marks, whatever their name
    a fence called ``thinking``
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from operators.rewrite.answers.grammar import Element, bodies, idea_of, opening, scan, split_lines

_PAIR = re.compile(r"^[ \t>*]*[<\[{]\|?(/?)([A-Za-z][\w:.-]{0,40})\b[^<>\[\]{}\n]{0,80}\|?[>\]}]")
"""A line that begins with an opening or a closing mark."""
_THOUGHT = re.compile(r"(?:think(?:ing)?|thoughts?|reason(?:ing)?|analysis|scratch_?pad)\s*$", re.IGNORECASE)

_WORD = (
    r"(?:my |the )?(?:answer|response|solution|output|(?:final|revised) (?:answer|response|version|edits?|solution))"
)
_HEADING = re.compile(
    rf"^[ \t]*(?:#{{1,6}}[ \t]*(?:\*\*|__)?{_WORD}|(?:\*\*|__){_WORD}|(?=.*\bfinal\b){_WORD}:)[ \t:*_\r]*$",
    re.IGNORECASE,
)
_LAST_WORD = re.compile(r"\b(?:final|revised)\b", re.IGNORECASE)


def below_heading(text: str) -> str:
    """Return what stands below the heading of a final answer that has blocks above and below it.

    Of several headings only the last one counts, if it says that it is the final one.
    """
    raw = split_lines(text)
    if not any(map(_HEADING.match, raw)):
        return text
    elements = list(scan(bodies(text)))
    blocks = [element.first for element in elements if element.kind in ("edit", "fence")]
    headings = [element.first for element in elements if element.kind == "text" and _HEADING.match(raw[element.first])]
    if not blocks or not headings or not blocks[0] < headings[-1] < blocks[-1]:
        return text
    last = headings[-1]
    return "".join(raw[last + 1 :]) if len(headings) == 1 or _LAST_WORD.search(raw[last]) else text


def ambiguity(lines: Sequence[str]) -> str | None:
    """Return why the blocks of a final part may be several answers, in words for the model; else None."""
    elements = list(scan(lines))
    marks = (opening(lines[element.first]) for element in elements if element.kind in ("text", "fence"))
    if any(mark is not None and _THOUGHT.match(mark.info) for mark in marks):
        return "a fenced block holds thoughts; give only the answer, without thoughts"
    kind = "edit" if any(element.kind == "edit" for element in elements) else "fence"  # a fence beside edits quotes
    blocks = [element for element in elements if element.kind == kind]
    if len(blocks) < 2:
        return None
    texts = [element.first for element in elements if element.kind == "text"]
    return _two_ideas(lines, texts, blocks) or _inside_and_outside(lines, texts, blocks)


def _two_ideas(lines: Sequence[str], texts: Sequence[int], blocks: Sequence[Element]) -> str | None:
    ideas = [(at, words.strip()) for at in texts if (words := idea_of(lines[at]))]
    if not ideas:
        return None
    if blocks[0].kind == "edit" and blocks[0].first < ideas[0][0] < blocks[-1].first:
        return "a search/replace block stands before the idea and another one after it; give one idea, then all blocks"
    begin, end = ideas[0][0], ideas[-1][0]
    if len({words for _, words in ideas}) > 1 and any(begin < block.first < end < blocks[-1].first for block in blocks):
        return "the answer has several ideas with blocks of their own; give one idea, and the blocks that make it"
    return None


def _inside_and_outside(lines: Sequence[str], texts: Sequence[int], blocks: Sequence[Element]) -> str | None:
    spans: dict[str, list[tuple[int, int]]] = {}
    for name, first, last in _pairs(lines, texts):
        spans.setdefault(name, []).append((first, last))
    for name, found in spans.items():
        inside = sum(any(first < block.first < last for first, last in found) for block in blocks)
        if 0 < inside < len(blocks):
            return f"some blocks stand within `{name}` and others do not; give only the final ones, without such marks"
    return None


def _pairs(lines: Sequence[str], texts: Sequence[int]) -> Iterator[tuple[str, int, int]]:
    """Yield the name of each pair of marks, and the lines of its opening and closing."""
    opened: dict[str, int] = {}
    for at in texts:
        if (found := _PAIR.match(lines[at])) is None:
            continue
        name = found[2].lower()
        if not found[1]:
            opened.setdefault(name, at)
        elif name in opened:
            yield name, opened.pop(name), at
