"""Strict parsing of a model's answer: an idea, and either search/replace blocks or whole files.

    IDEA: warm up for longer, since the loss spikes at the start

    <<<<<<< SEARCH
    WARMUP = 0.05
    =======
    WARMUP = 0.1
    >>>>>>> REPLACE

or, after the idea, one whole file in a fenced block. If several files may change, ``FILE: path`` before a block names
the file. A search text consists of whole lines and must occur exactly once: as written, or else with white space
disregarded. Any other answer raises ``InvalidAnswer`` with a reason that the model can act on.

Two more forms are unambiguous and accepted, since models answer so whatever they are asked for: pairs of fenced blocks,
the first with text of the file and the second with its replacement; and fenced definitions that replace those of the
same name (``operators.rewrite.answers.partial_files``). The same checks apply to all forms.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from itertools import accumulate

from operators.rewrite.answers.partial_files import AmbiguousBlock, is_partial, merged, repeats
from operators.sanitize import one_line

_MAX_ANSWER = 400_000
# No two adjacent repeats may match the same text: on a long line that would take hours. A pattern that is searched in
# the whole answer must not match across line ends at its start.
_IDEA = re.compile(r"^[ \t*#_>`]*IDEA[ \t*_]*:[\s*_]*(\S[^\n]*)", re.MULTILINE)
_FILE = re.compile(r"^[\s*#_`]*FILE[\s*_`]*:(?:[*_]*\s)?[\s*`]*([^\s`*]+)(?:[\s*`][\s*_`]*)?$", re.IGNORECASE)
_SEARCH = re.compile(r"^\s*<{5,9}(?!<)")
_MIDDLE = re.compile(r"^\s*={7}(?!=)(?: (?=\S))?(.*)$")
_REPLACE = re.compile(r"^\s*>{5,9}(?!>)")
_FENCE = re.compile(r"^\s*```")
_DECORATION = " \t*_"
NO_IDEA = "no idea was given"
FORM = (
    "a line `<<<<<<< SEARCH`, whole lines copied from the file, a line `=======`, the lines that replace them, "
    "and a line `>>>>>>> REPLACE`"
)
_INCOMPLETE = f"a search/replace block is not complete; it is {FORM}"
_COMPARED = 200
"""Characters of a line that are compared to find the nearest one."""


class InvalidAnswer(ValueError):
    """An answer without a valid candidate; the message tells the model what to do differently.

    ``shown``: text of a program or answer that belongs to the message, and must be quoted as data.
    """

    def __init__(self, message: str, shown: str = "") -> None:
        super().__init__(message)
        self.shown = shown


@dataclass(frozen=True)
class Edit:
    """Replacement of the lines ``search`` of ``path`` by ``replace``."""

    path: str
    search: tuple[str, ...]
    replace: tuple[str, ...]


@dataclass(frozen=True)
class Proposal:
    """A parsed answer. Either ``edits`` or ``blocks`` is not empty."""

    idea: str | None
    """None for an answer without any text beside its program."""
    edits: tuple[Edit, ...]
    blocks: Mapping[str, tuple[str, ...]]
    """Fenced blocks by path: a whole file, or parts that ``apply`` combines."""


def read_answer(text: str, editable: Sequence[str]) -> Proposal:
    """Parse an answer. Raises ``InvalidAnswer``."""
    idea, rest = read_idea(text)
    edits, blocks = _blocks(rest.splitlines(), editable)
    if edits and blocks:
        raise InvalidAnswer("the answer has both search/replace blocks and a whole file; give one or the other")
    if not edits and not blocks:
        raise InvalidAnswer(
            f"the answer has neither a search/replace block nor a whole file in a fenced block. A search/replace block "
            f"is {FORM}"
        )
    for path in (*(edit.path for edit in edits), *blocks):
        if path not in editable:
            raise InvalidAnswer(
                f"the answer names a file that may not be changed; only {', '.join(editable)} may", path
            )
    return Proposal(idea, tuple(edits), {path: tuple(found) for path, found in blocks.items()})


def read_idea(text: str) -> tuple[str | None, str]:
    """Return the idea as one clean line, and the rest: the text after it, or all if a block begins above it.

    Without an ``IDEA`` line the first sentence outside of blocks is the idea, which is cheaper than another call.
    Raises ``InvalidAnswer`` for an empty or too long answer.
    """
    if not text.strip():
        raise InvalidAnswer("the answer was empty")
    if len(text) > _MAX_ANSWER:
        raise InvalidAnswer(f"the answer has {len(text)} characters; expected less than {_MAX_ANSWER}")
    idea = _IDEA.search(text)
    if idea is None:
        first = _first_sentence(text)
        return None if first is None else one_line(first, 300) or None, text
    before, after = text[: idea.start()], text[idea.end() :]
    line = one_line(idea[1].strip().rstrip(_DECORATION), 300) or None
    return line, before + after if _begins(before.splitlines()) else after


def _begins(lines: Sequence[str]) -> bool:
    """Return whether an unclosed block begins in these lines; a closed fence is a quotation."""
    return sum(_FENCE.match(line) is not None for line in lines) % 2 == 1 or any(map(_SEARCH.match, lines))


def _first_sentence(text: str) -> str | None:
    """Return the first line of text outside of blocks that does not end with a colon."""
    inside = False
    for line in text.splitlines():
        if _FENCE.match(line):
            inside = not inside
        elif _SEARCH.match(line) or _REPLACE.match(line):
            inside = _REPLACE.match(line) is None
        elif not inside:
            sentence = line.strip().lstrip(f"{_DECORATION}#>-").rstrip(_DECORATION)
            *words, last = sentence.split() or [""]
            if len(words) >= 3 and ":" not in last and not any("`" in word for word in words):
                return sentence
    return None


def apply(proposal: Proposal, files: Mapping[str, str]) -> dict[str, str]:
    """Return the files after the proposal. Raises ``InvalidAnswer`` for an edit that does not fit."""
    changed = dict(files)
    for path, blocks in proposal.blocks.items():
        changed[path] = _written(path, files.get(path, ""), blocks)
    for number, edit in enumerate(proposal.edits, 1):
        try:
            changed[edit.path] = _replace(changed.get(edit.path, ""), edit)
        except InvalidAnswer as error:
            raise InvalidAnswer(f"block {number}: {error}", error.shown) from None
    return changed


def idea_of_change(before: Mapping[str, str], after: Mapping[str, str]) -> str:
    """Return an idea for a change without one: its first new line."""
    for path, text in sorted(after.items()):
        known = {line.strip() for line in before.get(path, "").splitlines()}
        new = next((line for line in text.splitlines() if line.strip() and line.strip() not in known), None)
        if new is not None:
            return f"{NO_IDEA}; it begins with `{one_line(new, 120)}`"
    return f"{NO_IDEA}; it only removes something"


def _written(path: str, old: str, blocks: Sequence[str]) -> str:
    """Return the file made of fenced blocks: a whole file, pairs, or definitions. Raises ``InvalidAnswer``."""
    if len(blocks) == 1 and not is_partial(old, blocks[0]):
        return blocks[0]
    if (paired := _paired(path, old, blocks)) is not None:
        return paired
    if not all(is_partial(old, block) for block in blocks):
        count = "two" if len(blocks) == 2 else str(len(blocks))
        raise InvalidAnswer(
            f"there are {count} fenced blocks for {path}; give the whole file in one, or what changes in "
            f"search/replace blocks. A search/replace block is {FORM}"
        )
    try:
        return merged(old, blocks)
    except AmbiguousBlock as error:
        raise InvalidAnswer(str(error), error.shown) from None


def _paired(path: str, old: str, blocks: Sequence[str]) -> str | None:
    """Return the file in which each second block replaces the text of the first; None if the blocks are no pairs.

    They are no pairs if both are texts of the file (quotations), or if the second repeats functions of the file beside
    the quoted one (a whole program).
    """
    if len(blocks) % 2:
        return None
    new = old
    for search, replace in zip(blocks[::2], blocks[1::2], strict=True):
        if _holds(old, replace) and not _holds(search, replace):
            return None
        try:
            new = _replace(new, Edit(path, tuple(search.splitlines()), tuple(replace.splitlines())))
        except InvalidAnswer:
            return None
    return None if repeats(old, new) else new


def _holds(text: str, part: str) -> bool:
    """Return whether ``part`` consists of whole lines of ``text``, without surrounding blank lines."""
    lines = [line.rstrip() for line in _trimmed(part.splitlines())]
    return bool(lines) and bool(_places([line.rstrip() for line in text.splitlines()], lines))


def _blocks(lines: list[str], editable: Sequence[str]) -> tuple[list[Edit], dict[str, list[str]]]:
    edits: list[Edit] = []
    blocks: dict[str, list[str]] = {}
    path = editable[0]
    at = 0
    while at < len(lines):
        line = lines[at]
        if named := _FILE.match(line):
            path = named[1]
        elif _SEARCH.match(line):
            search, replace, at = _marked(lines, at)
            edits.append(Edit(path, tuple(search), tuple(replace)))
        elif _REPLACE.match(line):  # an end marker without a beginning
            raise InvalidAnswer(_INCOMPLETE)
        elif _FENCE.match(line) and not _wraps_edits(lines, at):
            end = _find(lines, at, _FENCE, "```", "the fenced block")
            if any(map(_REPLACE.match, lines[at:end])):
                raise InvalidAnswer(_INCOMPLETE)
            blocks.setdefault(path, []).append("\n".join(lines[at + 1 : end]) + "\n")
            at = end
        at += 1
    return edits, blocks


def _marked(lines: list[str], start: int) -> tuple[list[str], list[str], int]:
    """Return the search text, the replacement, and the index of the last line of the block at ``start``.

    Two slips are accepted: an end marker before the middle one, and text on the middle marker's line.
    """
    middle = _find(lines, start, _MIDDLE, "=======", "the search text")
    search = lines[start + 1 : middle]
    while search and (_REPLACE.match(search[-1]) or not search[-1].strip()):
        search.pop()
    behind = _MIDDLE.sub(r"\1", lines[middle])
    if _REPLACE.match(behind):
        return search, [], middle
    end = _find(lines, middle, _REPLACE, ">>>>>>> REPLACE", "the replacement")
    replace = [*([behind] if behind.strip() else []), *lines[middle + 1 : end]]
    if any(map(_SEARCH.match, replace)):
        raise InvalidAnswer(_INCOMPLETE)
    return search, replace, end


def _wraps_edits(lines: list[str], at: int) -> bool:
    """Return whether a fence only wraps search/replace blocks."""
    following = _first_filled(lines, range(at + 1, len(lines)))
    before = _first_filled(lines, range(at - 1, -1, -1))
    return any((_SEARCH.match(following), _FILE.match(following), _REPLACE.match(before)))


def _first_filled(lines: list[str], places: range) -> str:
    return next((lines[i] for i in places if lines[i].strip()), "")


def _find(lines: list[str], start: int, marker: re.Pattern[str], name: str, what: str) -> int:
    for at in range(start + 1, len(lines)):
        if marker.match(lines[at]):
            return at
    raise InvalidAnswer(f"{what} that starts with `{lines[start][:20]}` has no end; expected a line `{name}`")


def _replace(text: str, edit: Edit) -> str:
    lines = text.split("\n")
    if not any(line.strip() for line in edit.search):
        raise InvalidAnswer("the search text is empty; give a new file as a whole")
    search = _trimmed(edit.search)
    replace = list(_trimmed(edit.replace))
    places = _places([line.rstrip() for line in lines], [line.rstrip() for line in search])
    if not places:
        places = _places([" ".join(line.split()) for line in lines], [" ".join(line.split()) for line in search])
        replace = _reindented(replace, search[0], lines[places[0]]) if places else replace
    if not places:
        raise InvalidAnswer(f"the search text is not in {edit.path}; the nearest text is this", _nearest(lines, search))
    if len(places) > 1:
        where = ", ".join(str(place + 1) for place in places[:5])
        raise InvalidAnswer(
            f"the search text occurs {len(places)} times in {edit.path} (lines {where}); add lines around it"
        )
    lines[places[0] : places[0] + len(search)] = replace
    return "\n".join(lines)


def _trimmed(lines: Sequence[str]) -> tuple[str, ...]:
    """Remove blank lines at both ends, which models add."""
    filled = [i for i, line in enumerate(lines) if line.strip()]
    return tuple(lines[filled[0] : filled[-1] + 1]) if filled else ()


def _places(lines: list[str], search: list[str]) -> list[int]:
    size = len(search)
    return [i for i in range(len(lines) - size + 1) if lines[i] == search[0] and lines[i : i + size] == search]


def _reindented(replace: list[str], asked: str, found: str) -> list[str]:
    """Return the replacement, indented by the difference between the asked and the found first line."""
    old, new = _indent(asked), _indent(found)
    return [new + line[len(old) :] if line.startswith(old) and line.strip() else line for line in replace]


def _indent(line: str) -> str:
    return line[: len(line) - len(line.lstrip())]


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
