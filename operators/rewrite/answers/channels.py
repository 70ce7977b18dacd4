"""The final part of an answer: what follows the thoughts that models and servers leave in the text.

Formats, as the families document them:

    <think> </think>                                DeepSeek R1, Qwen 3, QwQ, GLM 4.5, MiniMax, Nemotron, Granite 3.3
    <thinking>, <thought>, <reasoning>, <analysis>  prompts in the style of Claude, EXAONE Deep, Reka Flash, Keye
    <details type="reasoning"> </details>           Open WebUI and gateways that show thoughts folded
    <seed:think> </seed:think>                      Seed-OSS
    [THINK] [/THINK]                                Magistral
    ◁think▷ ◁/think▷                                Kimi
    <|START_THINKING|> <|END_THINKING|>             Command A; also <|begin_of_thought|> of OpenThinker
    <|inner_prefix|> <|inner_suffix|>               Apertus
    <unused94> <unused95>, [unused16] [unused17]    Gemma 3 and MedGemma, Pangu
    <|channel|>analysis<|message|> ... <|channel|>final<|message|>      gpt-oss; without its special tokens
                                                    ``analysis...assistantfinal...``
    <|channel>thought ... <channel|>                Gemma 4
    <|think|> ... <|content|>                       Solar; also <|/think|>
    Here is my thought process: ... Here is my response:                Granite 3.2

What no mark tells (a heading of the final part, two ideas, blocks within and outside of other marks) is decided by
``one_answer``.

Templates often write the opening mark into the prompt, so that the answer has only the closing one: everything above it
is a thought. An opening mark without a closing one leaves no final part. A mark within backticks, an edit or a fence is
text, unless the edit or the fence is a draft that the thought breaks off.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import accumulate

from operators.rewrite.answers.grammar import Element, bodies, body, fenced, is_program, scan, split_lines
from operators.rewrite.answers.one_answer import ambiguity, below_heading

_NAMES = (
    r"(?:\w{1,20}:)?(?:\w{1,20}_)?(?:\w{0,20}think\w*|thoughts?|reason|reasoning|reflection|analysis|scratch_?pad|rationale"
    r"|deliberation|monologue|cot)"
)
_TOKEN = r"(?:think(?:ing)?|thoughts?|reasoning)"
_FAMILIES = (
    (rf"<(?!\w+_end>){_NAMES}(?:\s[^<>\n]{{0,80}})?>", rf"</{_NAMES}\s*>|<{_TOKEN}_end>"),
    (rf"\[{_TOKEN}\]", rf"\[/{_TOKEN}\]"),
    (r"◁think▷", r"◁/think▷"),
    (
        rf"<\|(?:(?:start|begin)_(?:of_)?{_TOKEN}|{_TOKEN}_(?:start|begin))\|>",
        rf"<\|(?:end_(?:of_)?{_TOKEN}|{_TOKEN}_end)\|>",
    ),
    (r"<unused94>|\[unused16\]", r"<unused95>|\[unused17\]"),
    (r"<\|inner_prefix\|>", r"<\|inner_suffix\|>"),
    (
        r"<\|channel\|>\s*(?!final)\w+[^<\n]*(?:<\|constrain\|>[^<\n]*)?<\|message\|>",
        r"<\|channel\|>\s*final[^<\n]*(?:<\|constrain\|>[^<\n]*)?<\|message\|>",
    ),
    (r"<\|channel>\s*(?:thought|analysis)\b", r"<channel\|>"),
    (rf"<\|{_TOKEN}\|>", rf"<\|content\|>|<\|/{_TOKEN}\|>"),
    (r"^Here(?: is|'s) my thought process:", r"^Here(?: is|'s) my response:"),
    (r"<details\b[^<>\n]{0,80}\btype=.?reasoning\b[^<>\n]{0,80}>", r"</details>"),
    (r"\A\s*(?:assistant)?(?:analysis|commentary)(?=\n|[^a-z\s:.,])", r"assistant\s?final(?=[^a-z]|\Z)"),
)
_BARE = len(_FAMILIES) - 1
"""The family whose marks are words: its closing mark alone must be written as one word."""
_DETAILS = _BARE - 1
"""The family whose closing mark without its opening ends no thought."""
_FLAGS = [0 if place == _BARE else re.IGNORECASE for place in range(len(_FAMILIES))]
_OPENINGS = [re.compile(begin, flags | re.MULTILINE) for (begin, _), flags in zip(_FAMILIES, _FLAGS, strict=True)]
_CLOSINGS = [re.compile(end, flags | re.MULTILINE) for (_, end), flags in zip(_FAMILIES, _FLAGS, strict=True)]
_ANY_CLOSING = [*_CLOSINGS[:_DETAILS], re.compile(r"assistantfinal(?=[^a-z]|\Z)")]
_WRAPPER = re.compile(
    r"(?:^|(?<=[>\]]))[ \t]*<(?:answer|response|output|final|final_answer|solution)>"
    r"|<\|(?:start_response|start_text|begin_of_solution|begin_of_box|message)\|>",
    re.IGNORECASE | re.MULTILINE,
)
"""Marks at which the final part begins; what stands above them still counts if it has no edit and no fence."""
_END = re.compile(
    r"<\|(?:end|return|call|end_response|end_text|end_of_solution|end_of_box|im_end|im_start|eot_id|endoftext)\|>"
    r"|<(?:end_of_turn|start_of_turn|eos)>|</(?:s|answer|response|output|final|final_answer|solution)>[ \t]*$",
    re.IGNORECASE | re.MULTILINE,
)
"""Marks at which the final part ends."""
_FINAL_WORD = re.compile(r"\A\s*(?:assistant)?final(?=\s*(?:IDEA|```|~~~|<<<<<|\*\*IDEA))")
_POSSIBLE = re.compile(r"[<\[◁]|Here|assistant|analysis|commentary|final")


_MARKS = 24


class NoFinalPart(ValueError):
    """An answer whose final part is missing or ambiguous; the message is for the model."""


def final_part(text: str, python: bool = True) -> str:
    """Return the final part of an answer. Raises ``NoFinalPart``.

    ``python``: whether fences hold programs, so that one that does not parse can be a draft that a thought breaks off.
    """
    final = below_heading(_marked_part(text.removeprefix("\ufeff"), python))
    if (why := ambiguity(bodies(final))) is not None:
        raise NoFinalPart(why)
    return final


def _marked_part(text: str, python: bool) -> str:
    """Return what the marks of thoughts and channels leave of an answer. Raises ``NoFinalPart``."""
    if not _POSSIBLE.search(text):
        return text
    source = _Source.of(text)
    at, kept = 0, ""
    ended: str | None = None
    for _ in range(_MARKS):
        if (mark := _next_mark(source, at)) is None:
            break
        kind, begin, end = mark
        if kind == "wrapper":
            above = text[at:begin]
            kept = "" if _has_parts(above) else f"{kept}{above}\n"
            at, ended = end, None
        elif kind == "end":
            above = f"{kept}{text[at:begin]}"
            if ended is None and above.strip():
                ended, above = above, ""
            kept, at = above, end
        else:
            at, kept, ended = end, "", None
    else:
        raise NoFinalPart(f"the answer has more than {_MARKS} marks of thoughts; give only the answer")
    if ended is not None and any(element.kind != "text" for element in scan(bodies(f"{kept}{text[at:]}"))):
        raise NoFinalPart("a block follows the mark that ends the answer; give one answer, and nothing after it")
    last = _without_draft(f"{kept}{text[at:]}", python) if ended is None else ended
    return _FINAL_WORD.sub("", last)


def ends_thought(line: str) -> bool:
    """Return whether a line has a mark that ends thoughts."""
    return any(pattern.search(line) for pattern in _ANY_CLOSING)


@dataclass(frozen=True)
class _Source:
    """A text with its lines, with and without ends, and where they start."""

    text: str
    raw: list[str]
    lines: list[str]
    starts: list[int]

    @classmethod
    def of(cls, text: str) -> _Source:
        raw = split_lines(text)
        return cls(text, raw, [body(line) for line in raw], list(accumulate(map(len, raw), initial=0)))

    def below(self, at: int) -> tuple[list[str], list[str]]:
        """Return the lines from a place on, with and without ends."""
        line = bisect_right(self.starts, at) - 1
        if at == self.starts[line]:
            return self.raw[line:], self.lines[line:]
        rest = self.raw[line][at - self.starts[line] :]
        return [rest, *self.raw[line + 1 :]], [body(rest), *self.lines[line + 1 :]]


def _next_mark(source: _Source, start: int) -> tuple[str, int, int] | None:
    """Return the next mark outside of edits and fences: its kind, and where it begins and ends.

    A thought is one mark, from its opening to the end of its closing. Raises ``NoFinalPart``.
    """
    text = source.text
    for begin, end in _spans(source, start, blocks=False):
        if (opening := _opening(text, begin, end, start == 0)) is not None:
            first, family, inside = opening
            closing = _first([_CLOSINGS[family]], text, inside, len(text)) or _first(
                _ANY_CLOSING, text, inside, len(text)
            )
            before = _first(_ANY_CLOSING, text, begin, first)
            if before is not None:
                return ("thought", *before)
            if closing is None:
                raise NoFinalPart(
                    f"the answer ends within its thoughts, which began with `{text[first:inside].strip()[:40]}`; end "
                    "them, and give the answer after them"
                )
            return ("thought", first, closing[1])
        found = [
            (kind, place)
            for kind, patterns in (("thought", _ANY_CLOSING), ("wrapper", [_WRAPPER]), ("end", [_END]))
            if (place := _first(patterns, text, begin, end)) is not None
        ]
        if found:
            kind, place = min(found, key=lambda each: each[1])
            return (kind, *place)
    return None


def _opening(text: str, begin: int, end: int, from_start: bool) -> tuple[int, int, int] | None:
    """Return the first opening mark: where it begins, its family, and where it ends."""
    found = []
    for family, pattern in enumerate(_OPENINGS):
        if family == _BARE and not from_start:
            continue
        if (place := _first([pattern], text, begin, end)) is not None:
            found.append((place[0], family, place[1]))
    return min(found, default=None)


def _first(patterns: list[re.Pattern[str]], text: str, begin: int, end: int) -> tuple[int, int] | None:
    """Return the first match that is not within backticks."""
    places = (
        (match.start(), match.end())
        for pattern in patterns
        for match in [_unquoted(pattern, text, begin, end)]
        if match is not None
    )
    return min(places, default=None)


def _unquoted(pattern: re.Pattern[str], text: str, begin: int, end: int) -> re.Match[str] | None:
    for match in pattern.finditer(text, begin, end):
        if text[match.start() - 1 : match.start()] != "`" or text[match.end() : match.end() + 1] != "`":
            return match
    return None


def _spans(source: _Source, start: int, blocks: bool) -> Iterator[tuple[int, int]]:
    """Yield where the runs of lines outside of edits and fences begin and end; with ``blocks`` the edits and fences."""
    raw, lines = source.below(start)
    at, run = start, start
    for element in scan(lines):
        size = sum(map(len, raw[element.first : element.last + 1]))
        if element.kind in ("edit", "fence"):
            if blocks:
                yield at, at + size
            elif run < at:
                yield run, at
            run = at + size
        at += size
    if not blocks and run < at:
        yield run, at


def _without_draft(text: str, python: bool) -> str:
    """Return the final part behind a thought that ends within its last draft, if there is one.

    Its closing mark stands within an edit or a fence, where it could also be text of a program: it is a mark if what
    follows it is complete and the whole is not. Raises ``NoFinalPart`` if both are.
    """
    ends = [
        place[1]
        for begin, end in _spans(_Source.of(text), 0, blocks=True)
        for pattern in _ANY_CLOSING
        for match in pattern.finditer(text, begin, end)
        for place in [match.span()]
    ]
    if not ends:
        return text
    rest = text[max(ends) :]
    lines = bodies(text)
    elements = list(scan(lines))
    inside = [_is_program(lines, element) for element in elements if _holds_end(lines, element)]
    if not _is_complete(rest) or (inside and all(inside) and _is_complete(text)):
        return text
    if not _is_complete(text) or (python and False in inside):
        return _marked_part(rest, python)
    raise NoFinalPart("a mark that ends thoughts stands within a block; give only the answer, without thoughts")


def _is_complete(text: str) -> bool:
    """Return whether a text has edits or fences, all with an end."""
    elements = list(scan(bodies(text)))
    return _has_parts(text) and all(element.closed and element.kind != "stray" for element in elements)


def _holds_end(lines: list[str], element: Element) -> bool:
    """Return whether a closing mark of a thought stands within an edit or a fence."""
    return element.kind in ("edit", "fence") and any(map(ends_thought, lines[element.first : element.last + 1]))


def _is_program(lines: list[str], element: Element) -> bool | None:
    """Return whether a fence holds a program, in which the mark can only be text; None for an edit."""
    return is_program(fenced(lines, element.first, element.last)) if element.kind == "fence" else None


def _has_parts(text: str) -> bool:
    return any(element.kind in ("edit", "fence") for element in scan(bodies(text)))
