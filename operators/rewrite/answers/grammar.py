r"""Grammar of answers, and the scanner that splits an answer into its elements.

    answer   = [ thoughts ] final                  only the final part counts (operators.rewrite.answers.channels)
    final    = { element }
    element  = idea | file | delete | edit | fence | text
    idea     = "IDEA:" words                       outside of edits and fences; or the first line within a fence
    file     = "FILE:" path                        also "# path" as the first line within a fence, or in its opening
    delete   = "DELETE:" path                      outside of edits and fences, if the program has several files
    edit     = search lines middle lines replace
    search   = "<<<<<<< SEARCH"
    middle   = "======="
    replace  = ">>>>>>> REPLACE"
    fence    = opening lines closing               CommonMark: the closing has the same character, is at least as long,
                                                   and nothing follows it; indentation of the opening is removed
    line     = characters up to "\n" or "\r\n"     nothing else ends a line: U+2028, U+0085, "\f", "\r" are characters

Nothing between the marks of an edit or a fence is a mark of another element, with these rules for what could be:

- Edits nest: ``SEARCH`` and a middle mark within an edit need a ``REPLACE`` of their own before the edit ends. Marks
  without these words (seven ``<`` or ``>``, or with another word) are text of an edit that begins with ``SEARCH``.
- A replacement of one empty line is a deletion.
- A line ``=======`` may be text or the middle mark; the file decides (``operators.rewrite.answers.matching``).
- A fence that CommonMark closes within a string of a Python program closes at the first later mark at which its text is
  a program.
- A fence around edits only decorates them: its first line is a mark of an edit, an idea or a file's name.

Slips that leave no doubt are accepted: marks of 5 to 9 characters, indented, or in bold; text behind the middle mark;
an end mark before the middle one.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from operators.languages.syntax import Unparsable, parse

_LINE = re.compile(r"[^\n]*\n|[^\n]+")
_BOLD = r"[ \t]*[*_`]{0,3}"
_SEARCH = re.compile(rf"^{_BOLD}<{{5,9}}(?!<)[ \t]*(?:(SEARCH|ORIGINAL|FIND|OLD)\b)?", re.IGNORECASE)
_REPLACE = re.compile(rf"^{_BOLD}>{{5,9}}(?!>)[ \t]*(?:(REPLACE|UPDATED?|NEW|END)\b)?", re.IGNORECASE)
_MIDDLE = re.compile(r"^[ \t]*={7}[ \t]*$")
_BOLD_MIDDLE = re.compile(rf"^{_BOLD}={{7}}[*_` \t]*$")
_MIDDLE_WITH_TEXT = re.compile(r"^[ \t]*={7}(?!=)(?: (?=\S))?(.*\S.*)$")
_OPENING = re.compile(r"^([ \t]*)(`{3,}(?=[^`]*$)|~{3,})[ \t]*(.*)$")
_CLOSING = re.compile(r"^([ \t]*)(`{3,}|~{3,})[ \t]*(?:</?\w+>|<\|\w+\|>)*[ \t]*$")
_NAMED = re.compile(r"^[ \t]*(?:#|//|<!--)[ \t]*(?:FILE[ \t]*:[ \t]*)?`?([\w./-]+\.\w+)`?[ \t]*(?:-->)?[ \t]*$", re.I)
_FILE = re.compile(r"^[\s*#_`]*FILE[\s*_`]*:(?:[*_]*\s)?[\s*`]*([^\s`*]+)(?:[\s*`][\s*_`]*)?$", re.IGNORECASE)
_DELETE = re.compile(_FILE.pattern.replace("FILE", "DELETE"), re.IGNORECASE)
# No two adjacent repeats may match the same text: on a long line that would take hours.
_IDEA = re.compile(r"^[\u200b-\u200f\u2060\ufeff]*(?:</?\w+>)?[ \t*#_>`]*IDEA[ \t*_]*:[ \t*_]*(.*)$", re.IGNORECASE)
_JOINS = 16
"""Attempts to find the end of a fence whose program holds fences: each parses a program."""
_UNNAMED = 24
"""Edits that end with a mark without its word although they began with one, at most."""
_STRINGS = ('"""', "'''")
Kind = Literal["text", "edit", "fence", "stray"]


@dataclass(frozen=True)
class Element:
    """Lines ``first`` to ``last`` of an answer, marks included. ``stray``: an end mark without a beginning."""

    kind: Kind
    first: int
    last: int
    closed: bool = True


@dataclass(frozen=True)
class Opening:
    """The first line of a fence."""

    indent: str
    mark: str
    info: str


def split_lines(text: str) -> list[str]:
    r"""Return the lines with their ends; only ``\n`` and ``\r\n`` end a line."""
    return _LINE.findall(text)


def body(line: str) -> str:
    """Return a line without its end."""
    return line[:-2] if line.endswith("\r\n") else line.removesuffix("\n")


def bodies(text: str) -> list[str]:
    """Return the lines without their ends."""
    return [body(line) for line in split_lines(text)]


def opening(line: str) -> Opening | None:
    found = _OPENING.match(line)
    return Opening(*found.groups()) if found else None


def is_fence_mark(line: str) -> bool:
    """Return whether a line could open or close a fence."""
    return opening(line) is not None or _CLOSING.match(line) is not None


def file_of(line: str) -> str | None:
    """Return the path of a ``FILE:`` line."""
    found = _FILE.match(line)
    return found[1] if found else None


def deleted_file(line: str) -> str | None:
    """Return the path of a ``DELETE:`` line."""
    found = _DELETE.match(line)
    return found[1] if found else None


def comment_file(line: str) -> str | None:
    """Return the path of a comment that is only a path."""
    found = _NAMED.match(line)
    return found[1] if found else None


def idea_of(line: str) -> str | None:
    """Return the words of an ``IDEA:`` line, which may be empty."""
    found = _IDEA.match(line)
    return found[1] if found else None


def begins_edit(line: str) -> bool:
    return _SEARCH.match(line) is not None


def ends_edit(line: str) -> bool:
    return _REPLACE.match(line) is not None


def is_named_mark(line: str) -> bool:
    """Return whether a line is a mark of an edit with its word."""
    return any(found is not None and found[1] is not None for found in (_SEARCH.match(line), _REPLACE.match(line)))


def is_middle(line: str, bold: bool = False) -> bool:
    """Return whether a line is a middle mark, in bold where the edit began so."""
    return (_BOLD_MIDDLE if bold else _MIDDLE).match(line) is not None


def behind_middle(line: str) -> str | None:
    """Return the text behind a middle mark on the same line."""
    found = _MIDDLE_WITH_TEXT.match(line)
    return found[1] if found else None


def is_bold(line: str) -> bool:
    return line.lstrip()[:1] in ("*", "_", "`")


def scan(lines: Sequence[str]) -> Iterator[Element]:
    """Yield the elements of an answer, given its lines without their ends. What has no end reaches to the last line."""
    at, after_edit, joins, unnamed = 0, False, [_JOINS], _UNNAMED
    wrapper: Opening | None = None
    while at < len(lines):
        line = lines[at]
        element = Element("text", at, at)
        if begins_edit(line):
            element = _edit(lines, at, unnamed > 0)
            unnamed -= not (element.closed and is_named_mark(lines[element.last]))
        elif ends_edit(line):
            element = Element("stray", at, at)
        elif wrapper is not None and _closes(line, wrapper):
            wrapper = None
        elif (mark := opening(line)) is not None:
            if _wraps_edits(lines, at):
                wrapper = mark
            else:
                element = _fence(lines, at, mark, joins)
                if after_edit and not element.closed and not mark.info:  # of a fence whose beginning is missing
                    element = Element("text", at, at)
        yield element
        if line.strip() or element.kind != "text":
            after_edit = element.kind == "edit"
        at = element.last + 1


def _edit(lines: Sequence[str], first: int, unnamed: bool) -> Element:
    """Return the edit that begins at ``first``: up to the end mark that belongs to it.

    ``unnamed``: whether the end mark may lack its word although the first mark has it.
    """
    found = _SEARCH.match(lines[first])
    named, bold = found is not None and found[1] is not None, is_bold(lines[first])
    middles, unnamed_end = [False], None  # whether the edit, and each that is nested in it, has a middle mark by now
    for at in range(first + 1, len(lines)):
        line = lines[at]
        if (start := _SEARCH.match(line)) and (start[1] or not named):
            middles.append(False)
        elif is_middle(line, bold):
            middles[-1] = True
        elif (text := behind_middle(line)) is not None:
            middles[-1] = True
            if len(middles) == 1 and ends_edit(text):
                return Element("edit", first, at)
        elif end := _REPLACE.match(line):
            if end[1] or not named:
                while len(middles) > 1 and not middles[-1]:  # a mark without a middle one is text
                    middles.pop()
                if len(middles) > 1:
                    middles.pop()
                elif middles[0]:
                    return Element("edit", first, at)
            elif middles == [True] and unnamed_end is None:
                unnamed_end = at
    if unnamed_end is not None and unnamed:
        return Element("edit", first, unnamed_end)
    return Element("edit", first, len(lines) - 1, closed=False)


def _fence(lines: Sequence[str], first: int, mark: Opening, joins: list[int]) -> Element:
    """Return the fence that begins at ``first``; ``joins``: attempts that are left to read on as a program."""
    ends = (at for at in range(first + 1, len(lines)) if _closes(lines[at], mark))
    end = next(ends, None)
    if end is None:
        return Element("fence", first, len(lines) - 1, closed=False)
    text = fenced(lines, first, end)
    if any(text.count(quotes) % 2 for quotes in _STRINGS) and not is_program(text):
        for later in ends:
            if not joins[0]:
                break
            joins[0] -= 1
            if is_program(fenced(lines, first, later), defines=True):
                return Element("fence", first, later)
    return Element("fence", first, end)


def fenced(lines: Sequence[str], first: int, last: int) -> str:
    """Return the text between the marks of a fence, without the indentation of its opening."""
    mark = opening(lines[first])
    indent = len(mark.indent) if mark is not None else 0
    inside = (_dedented(line, indent) for line in lines[first + 1 : last])
    return "".join(line if line.endswith("\n") else f"{line}\n" for line in inside)


def _dedented(line: str, indent: int) -> str:
    removed = len(line[:indent]) - len(line[:indent].lstrip(" \t"))
    return line[removed:]


def _closes(line: str, begin: Opening) -> bool:
    found = _CLOSING.match(line)
    if found is None or found[2][0] != begin.mark[0] or len(found[2]) < len(begin.mark):
        return False
    return len(found[1].expandtabs(4)) <= len(begin.indent.expandtabs(4)) + 3


def is_program(text: str, defines: bool = False) -> bool:
    """Return whether a text is a Python module; ``defines``: that has a function or a class."""
    try:
        tree = parse(text)
    except Unparsable:
        return False
    return not defines or any(hasattr(node, "name") for node in tree.body)


def _wraps_edits(lines: Sequence[str], first: int) -> bool:
    """Return whether the first line of a fence that is no idea and no file's name begins an edit."""
    for at in range(first + 1, len(lines)):
        line = lines[at]
        if begins_edit(line):
            return True
        if line.strip() and file_of(line) is None and comment_file(line) is None and idea_of(line) is None:
            return False
    return False
