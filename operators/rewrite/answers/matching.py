"""Edits, located in the text that they change.

A search text consists of whole lines and must occur exactly once: as written; else without white space at line ends and
blank lines around it; else with runs of blanks as one and another indentation, if every line is shifted alike. The
replacement is then shifted alike, too. All edits of an answer are located in the original text; only if one of them is
not there, each is located in the text that those before it made.

A line ``=======`` of an edit may be text. The middle mark is the one above which the search text occurs exactly once.
If there are several such marks, the file goes on behind the shorter search texts as the edit does. The longest is taken
if that is no coincidence: if text follows the shorter one's mark, or both sides have as many of these lines. Else the
edit is refused.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from itertools import accumulate

from operators.rewrite.answers.grammar import behind_middle, body, ends_edit, is_middle, split_lines

_COMPARED = 200
"""Characters of a line that are compared to find the nearest one."""
_BLANKS = " \t"
_RUN = re.compile(r"[ \t]+")
_MIDDLES = 64
"""Lines that could be the middle mark of one edit, at most."""
_QUOTES = re.compile(r'"""|\'\'\'')


class InvalidAnswer(ValueError):
    """An answer without a valid candidate; the message tells the model what to do differently.

    ``shown``: text of a program or answer that belongs to the message, and must be quoted as data.
    """

    def __init__(self, message: str, shown: str = "") -> None:
        super().__init__(message)
        self.shown = shown


class NotThere(InvalidAnswer):
    """A search text that does not occur."""


@dataclass(frozen=True)
class Edit:
    """Replacement of lines of ``path``: the lines of an edit between its first and its last mark."""

    path: str
    lines: tuple[str, ...]
    bold: bool = False
    """Whether the marks are in bold."""

    def middles(self) -> list[int]:
        return [at for at, line in enumerate(self.lines) if is_middle(line, self.bold)]

    @property
    def replacements(self) -> tuple[str, ...]:
        """The lines below the first middle mark."""
        return self.lines[next(iter(self.middles()), -1) + 1 :]


@dataclass(frozen=True)
class Hunk:
    """Lines ``first`` to ``last - 1`` of a text are replaced by ``lines``, which have no ends."""

    first: int
    last: int
    lines: tuple[str, ...]


def edited(text: str, edits: Sequence[tuple[int, Edit]]) -> str:
    """Return the text after the numbered edits. Raises ``InvalidAnswer``."""
    lines = split_lines(text)
    try:
        hunks = [(number, _numbered(number, lines, edit)) for number, edit in edits]
    except NotThere:
        return _one_after_another(text, edits)
    return "".join(_replaced(lines, _apart(lines, hunks)))


def _one_after_another(text: str, edits: Sequence[tuple[int, Edit]]) -> str:
    lines = split_lines(text)
    for number, edit in edits:
        lines = split_lines("".join(_replaced(lines, [_numbered(number, lines, edit)])))
    return "".join(lines)


def _numbered(number: int, lines: list[str], edit: Edit) -> Hunk:
    try:
        return located(lines, edit)
    except InvalidAnswer as error:
        raise type(error)(f"block {number}: {error}", error.shown) from None


def _apart(lines: list[str], hunks: Sequence[tuple[int, Hunk]]) -> list[Hunk]:
    """Return the hunks in order, without lines that stay the same. Raises ``InvalidAnswer`` if they overlap."""
    changes = [(number, small) for number, hunk in hunks if (small := _shrunk(lines, hunk)) is not None]
    changes.sort(key=lambda change: (change[1].first, change[1].last))
    kept: list[tuple[int, Hunk]] = []
    for number, hunk in changes:
        if kept and hunk == kept[-1][1]:
            continue
        if kept and (hunk.first < kept[-1][1].last or hunk.first == kept[-1][1].first):
            pair = sorted((kept[-1][0], number))
            raise InvalidAnswer(
                f"blocks {pair[0]} and {pair[1]} change the same lines; give one block for each place that changes"
            )
        kept.append((number, hunk))
    return [hunk for _, hunk in kept]


def _shrunk(lines: list[str], hunk: Hunk) -> Hunk | None:
    """Return the hunk without equal lines at both ends; None if it changes nothing."""
    old, new = [body(line) for line in lines[hunk.first : hunk.last]], hunk.lines
    start = 0
    while start < min(len(old), len(new)) and old[start] == new[start]:
        start += 1
    end = 0
    while end < min(len(old), len(new)) - start and old[-1 - end] == new[-1 - end]:
        end += 1
    if start + end == len(old) == len(new):
        return None
    return Hunk(hunk.first + start, hunk.last - end, new[start : len(new) - end])


def _replaced(lines: list[str], hunks: Sequence[Hunk]) -> list[str]:
    """Return the lines after hunks that are in order. New lines end as the lines of the text do."""
    usual = next((line[len(body(line)) :] for line in lines if body(line) != line), "\n")
    out: list[str] = []
    at = 0
    for hunk in hunks:
        out += lines[at : hunk.first]
        if out and out[-1] == body(out[-1]) and hunk.lines:
            out[-1] += usual
        ends = [line[len(body(line)) :] for line in lines[hunk.first : hunk.last]]
        ends += [ends[-1] or usual if ends else usual] * (len(hunk.lines) - len(ends))
        ends = [end or usual for end in ends]
        out += [line + end for line, end in zip(hunk.lines, ends, strict=False)]
        at = hunk.last
        if at == len(lines) and lines and lines[-1] == body(lines[-1]) and hunk.lines:
            out[-1] = body(out[-1])  # the text has no end of line at its end
    return out + lines[at:]


def located(lines: list[str], edit: Edit) -> Hunk:
    """Return where an edit belongs in lines with their ends, and what it puts there. Raises ``InvalidAnswer``."""
    middles = edit.middles()
    if len(middles) > _MIDDLES:
        raise InvalidAnswer(f"an edit has {len(middles)} lines `=======`; give the whole file")
    found: list[tuple[int, Hunk]] = []
    failure: InvalidAnswer | None = None
    for middle in middles:
        try:
            found.append((middle, _found(lines, edit, edit.lines[:middle], edit.lines[middle + 1 :])))
        except InvalidAnswer as error:
            failure = failure or error
    if found:
        return _decided(lines, edit, middles, found)
    for search, replace in _slips(edit):
        try:
            return _found(lines, edit, search, replace)
        except InvalidAnswer as error:
            failure = failure or error
    raise failure or InvalidAnswer(f"an edit of {edit.path} has no line `=======`")


def _slips(edit: Edit) -> Iterator[tuple[tuple[str, ...], tuple[str, ...]]]:
    """Yield readings with an end mark before the middle one, or with text behind the middle mark."""
    for middle in edit.middles():
        search = list(edit.lines[:middle])
        while search and (ends_edit(search[-1]) or not search[-1].strip()):
            search.pop()
        if len(search) < middle:
            yield tuple(search), edit.lines[middle + 1 :]
    with_text = [at for at, line in enumerate(edit.lines) if behind_middle(line) is not None]
    for at in with_text[:_MIDDLES]:
        if (text := behind_middle(edit.lines[at])) is not None:
            first = () if ends_edit(text) else (text,)
            yield edit.lines[:at], (*first, *edit.lines[at + 1 :])


def _decided(lines: list[str], edit: Edit, middles: list[int], found: list[tuple[int, Hunk]]) -> Hunk:
    """Return the hunk of the middle mark that is meant. Raises ``InvalidAnswer`` if that is not clear."""
    middle, hunk = found[-1]
    later = [at for at in middles if at > middle]
    doubtful = bool(later) and hunk.last < len(lines) and is_middle(body(lines[hunk.last]), edit.bold)
    if len(found) > 1 and not doubtful:
        between = edit.lines[found[-2][0] + 1 : middle]
        text = any(line.strip() and not is_middle(line, edit.bold) for line in between)
        doubtful = not text and len(later) != sum(at < middle for at in middles)
    if doubtful:
        raise InvalidAnswer(
            "it is not clear which line `=======` ends the search text, since the file has such a line there; choose "
            "lines to search for that are not next to it, or give the whole file"
        )
    return hunk


def _found(lines: list[str], edit: Edit, search: Sequence[str], replace: Sequence[str]) -> Hunk:
    """Return the hunk of a search text that occurs exactly once. Raises ``InvalidAnswer``."""
    if tuple(replace) == ("",):  # a deletion, as models write it
        replace = ()
    if not any(line.strip() for line in search):
        raise InvalidAnswer("the search text is empty; give a new file as a whole")
    texts = [body(line) for line in lines]
    shorter, trimmed = _trimmed(search, replace)
    for rule in (_as_written, _without_line_ends):
        for wanted, new in dict.fromkeys(((tuple(search), tuple(replace)), (shorter, trimmed))):
            if places := _places([rule(line) for line in texts], [rule(line) for line in wanted]):
                return Hunk(_only(places, edit), places[0] + len(wanted), new)
    places = _places([_words(line) for line in texts], [_words(line) for line in shorter])
    shifts = {at: shift for at in places if (shift := Shift.between(shorter, texts[at:])) is not None}
    if not shifts:
        raise NotThere(
            f"the search text is not in {edit.path}; the nearest text is this", _nearest(texts, search) if texts else ""
        )
    place = _only(list(shifts), edit)
    return Hunk(
        place, place + len(shorter), tuple(map(shifts[place].shifted, _without_strings(trimmed, shifts[place])))
    )


def _only(places: Sequence[int], edit: Edit) -> int:
    if len(places) > 1:
        where = ", ".join(str(place + 1) for place in places[:5])
        raise InvalidAnswer(
            f"the search text occurs {len(places)} times in {edit.path} (lines {where}); add lines around it"
        )
    return places[0]


def _as_written(line: str) -> str:
    return line


def _without_line_ends(line: str) -> str:
    return line.rstrip(_BLANKS)


def _words(line: str) -> str:
    return _RUN.sub(" ", line.strip(_BLANKS))


def _trimmed(search: Sequence[str], replace: Sequence[str]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return both texts without blank lines at the ends at which the search text has some, which models add."""
    filled = [at for at, line in enumerate(search) if line.strip(_BLANKS)]
    first, last = filled[0], filled[-1] + 1
    kept = [at for at, line in enumerate(replace) if line.strip(_BLANKS)]
    begin = kept[0] if first and kept else 0
    end = kept[-1] + 1 if last < len(search) and kept else len(replace)
    if not kept and len(filled) < len(search):
        begin = end = 0
    return tuple(search[first:last]), tuple(replace[begin:end])


@dataclass(frozen=True)
class Shift:
    """A difference of indentation: ``old`` of the answer is ``new`` of the file."""

    old: str
    new: str

    @classmethod
    def between(cls, search: Sequence[str], found: Sequence[str]) -> Shift | None:
        """Return the shift of all lines that are not blank; None if they are not shifted alike."""
        pairs = [(_indent(a), _indent(b)) for a, b in zip(search, found, strict=False) if a.strip(_BLANKS)]
        old, new = (_common(side) for side in zip(*pairs, strict=True))
        if any(a[len(old) :] != b[len(new) :] for a, b in pairs):
            return None
        return cls(old, new)

    def shifted(self, line: str) -> str:
        """Return a line of the replacement. Raises ``InvalidAnswer`` if it cannot be shifted as the others."""
        indent = _indent(line)
        if self.old == self.new or not line.strip(_BLANKS):
            return line
        like = self.old.startswith(self.new) or self.new.startswith(self.old)
        if indent.startswith(self.old) and (like or indent == self.old):
            return self.new + line[len(self.old) :]
        if self.new.startswith(self.old) and len({*indent, *self.new}) == 1:
            return self.new[len(self.old) :] + line
        less = len(self.old) - len(self.new)
        if self.old.startswith(self.new) and len({*indent, *self.old}) == 1 and len(indent) >= less:
            return line[less:]
        raise InvalidAnswer("the indentation of the search text is not that of the file; copy the lines exactly", line)


def _without_strings(replace: Sequence[str], shift: Shift) -> Sequence[str]:
    """Return the replacement. Raises ``InvalidAnswer`` if a string over several lines would be shifted with it."""
    if shift.old != shift.new and (line := next((line for line in replace if len(_QUOTES.findall(line)) % 2), None)):
        raise InvalidAnswer("the indentation of the search text is not that of the file; copy the lines exactly", line)
    return replace


def _common(texts: Sequence[str]) -> str:
    """Return the longest beginning that all texts have in common."""
    first, last = min(texts), max(texts)
    size = next((at for at, pair in enumerate(zip(first, last, strict=False)) if pair[0] != pair[1]), len(first))
    return first[: min(size, len(last))]


def _indent(line: str) -> str:
    return line[: len(line) - len(line.lstrip(_BLANKS))]


def _places(lines: list[str], search: list[str]) -> list[int]:
    size = len(search)
    return [at for at in range(len(lines) - size + 1) if lines[at] == search[0] and lines[at : at + size] == search]


def holds(text: str, part: str, indented: bool = True) -> bool:
    """Return whether ``part`` consists of whole lines of ``text``, without blank lines around it.

    ``indented``: whether the indentation counts.
    """
    rule = _without_line_ends if indented else _words
    lines = [rule(body(line)) for line in split_lines(part)]
    filled = [at for at, line in enumerate(lines) if line]
    wanted = lines[filled[0] : filled[-1] + 1] if filled else []
    return bool(wanted) and bool(_places([rule(body(line)) for line in split_lines(text)], wanted))


def _nearest(lines: list[str], search: Sequence[str]) -> str:
    """Return the window of the file that shares most lines with the search text."""
    wanted = {line.strip() for line in search if line.strip()}
    hits = [line.strip() in wanted for line in lines]
    size = min(len(search), len(lines))
    sums = list(accumulate(hits, initial=0))
    best = max(range(len(lines) - size + 1), key=lambda i: sums[i + size] - sums[i])
    if not any(hits[best : best + size]):
        first = next(line for line in search if line.strip()).strip()
        matcher = SequenceMatcher(b=first[:_COMPARED], autojunk=False)

        def likeness(i: int) -> float:
            matcher.set_seq1(lines[i].strip()[:_COMPARED])
            return matcher.real_quick_ratio() and matcher.ratio()

        best = min(max(range(min(len(lines), 2000)), key=likeness), len(lines) - size)
    return "\n".join(lines[best : best + min(size, 30)])
