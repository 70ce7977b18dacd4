"""What a model answers, read strictly: an idea, and either search/replace blocks or whole files.

    IDEA: warm up for longer, since the loss spikes at the start

    <<<<<<< SEARCH
    WARMUP = 0.05
    =======
    WARMUP = 0.1
    >>>>>>> REPLACE

or, after the idea, one whole file in a fenced block. Where several files may change, ``FILE: path`` before a block
says which one it is about. A search text is whole lines; it must occur exactly once: as written, or else with
white space disregarded. An answer that is anything else raises ``Unusable`` with a reason that the model can act on.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher

from operators.untrusted import one_line

_MAX_ANSWER = 400_000
_IDEA = re.compile(r"^[\s*#_>`]*IDEA[\s*_]*:[\s*_]*(\S.*?)[\s*_]*$", re.MULTILINE)
_FILE = re.compile(r"^[\s*#_`]*FILE[\s*_`]*:[\s*_`]*([^\s`*]+)[\s*_`]*$")


class Unusable(ValueError):
    """An answer from which no candidate comes; the message tells the model what to do differently.

    ``shown``: words of a program or of the answer that belong to it. They are data, and to be quoted as such.
    """

    def __init__(self, message: str, shown: str = "") -> None:
        super().__init__(message)
        self.shown = shown


@dataclass(frozen=True)
class Edit:
    """Replace the lines ``search`` of ``path`` by ``replace``."""

    path: str
    search: tuple[str, ...]
    replace: tuple[str, ...]


@dataclass(frozen=True)
class Proposal:
    """An answer as it was read. Either ``edits`` or ``wholes`` is not empty."""

    idea: str
    edits: tuple[Edit, ...]
    wholes: Mapping[str, str]


def read_answer(text: str, editable: Sequence[str]) -> Proposal:
    """Raises ``Unusable``."""
    idea, rest = read_idea(text)
    edits, wholes = _blocks(rest.splitlines(), editable)
    if edits and wholes:
        raise Unusable("the answer has both search/replace blocks and a whole file; give one or the other")
    if not edits and not wholes:
        raise Unusable("the answer has neither a search/replace block nor a whole file in a fenced block")
    for path in (*(edit.path for edit in edits), *wholes):
        if path not in editable:
            raise Unusable(f"the answer names a file that may not be changed; only {', '.join(editable)} may", path)
    return Proposal(idea, tuple(edits), wholes)


def read_idea(text: str) -> tuple[str, str]:
    """The idea, as one clean line, and what follows it. Raises ``Unusable``."""
    if not text.strip():
        raise Unusable("the answer was empty")
    if len(text) > _MAX_ANSWER:
        raise Unusable(f"the answer has {len(text)} characters; expected less than {_MAX_ANSWER}")
    idea = _IDEA.search(text)
    if idea is None:
        raise Unusable("the first line must be `IDEA: ` followed by the idea in one sentence")
    return one_line(idea[1], 300), text[idea.end() :]


def apply(proposal: Proposal, files: Mapping[str, str]) -> dict[str, str]:
    """The files after the proposal. Raises ``Unusable`` for an edit that does not fit."""
    changed = {**files, **proposal.wholes}
    for number, edit in enumerate(proposal.edits, 1):
        try:
            changed[edit.path] = _replace(changed.get(edit.path, ""), edit)
        except Unusable as error:
            raise Unusable(f"block {number}: {error}", error.shown) from None
    return changed


def _blocks(lines: list[str], editable: Sequence[str]) -> tuple[list[Edit], dict[str, str]]:
    edits: list[Edit] = []
    wholes: dict[str, str] = {}
    path = editable[0]
    at = 0
    while at < len(lines):
        line = lines[at]
        if named := _FILE.match(line):
            path = named[1]
        elif line.startswith("<<<<<<<"):
            middle = _find(lines, at, "=======", "the search text")
            end = _find(lines, middle, ">>>>>>>", "the replacement")
            edits.append(Edit(path, tuple(lines[at + 1 : middle]), tuple(lines[middle + 1 : end])))
            at = end
        elif line.startswith("```") and not _wraps_edits(lines, at):
            end = _find(lines, at, "```", "the fenced block")
            if path in wholes:
                raise Unusable(f"there are two fenced blocks for {path}; give the whole file in one")
            wholes[path] = "\n".join(lines[at + 1 : end]) + "\n"
            at = end
        at += 1
    return edits, wholes


def _wraps_edits(lines: list[str], at: int) -> bool:
    """Whether a fence is decoration around search/replace blocks, or the end of such a decoration."""
    following = next((line for line in lines[at + 1 :] if line.strip()), "")
    before = next((line for line in reversed(lines[:at]) if line.strip()), "")
    return following.startswith("<<<<<<<") or _FILE.match(following) is not None or before.startswith(">>>>>>>")


def _find(lines: list[str], start: int, marker: str, what: str) -> int:
    for at in range(start + 1, len(lines)):
        if lines[at].startswith(marker):
            return at
    raise Unusable(f"{what} that starts with `{lines[start][:20]}` has no end; expected a line `{marker}`")


def _replace(text: str, edit: Edit) -> str:
    lines = text.split("\n")
    if not any(line.strip() for line in edit.search):
        raise Unusable("the search text is empty; to write a new file give it whole")
    search = _trimmed(edit.search)
    replace = list(_trimmed(edit.replace))
    places = _places([line.rstrip() for line in lines], [line.rstrip() for line in search])
    if not places:
        places = _places([" ".join(line.split()) for line in lines], [" ".join(line.split()) for line in search])
        replace = _reindented(replace, search[0], lines[places[0]]) if places else replace
    if not places:
        raise Unusable(f"the search text is not in {edit.path}, whose nearest text is this", _nearest(lines, search))
    if len(places) > 1:
        where = ", ".join(str(place + 1) for place in places[:5])
        raise Unusable(
            f"the search text occurs {len(places)} times in {edit.path} (lines {where}); add lines around it"
        )
    lines[places[0] : places[0] + len(search)] = replace
    return "\n".join(lines)


def _trimmed(lines: Sequence[str]) -> tuple[str, ...]:
    """Without blank lines at both ends of a text that has others: models add them."""
    filled = [i for i, line in enumerate(lines) if line.strip()]
    return tuple(lines[filled[0] : filled[-1] + 1]) if filled else ()


def _places(lines: list[str], search: list[str]) -> list[int]:
    size = len(search)
    return [i for i in range(len(lines) - size + 1) if lines[i] == search[0] and lines[i : i + size] == search]


def _reindented(replace: list[str], asked: str, found: str) -> list[str]:
    """The replacement, moved by as much as the first line of the search text was off."""
    old, new = _indent(asked), _indent(found)
    return [new + line[len(old) :] if line.startswith(old) and line.strip() else line for line in replace]


def _indent(line: str) -> str:
    return line[: len(line) - len(line.lstrip())]


def _nearest(lines: list[str], search: Sequence[str]) -> str:
    """The window of the file that shares most with the search text, for the model to see its mistake."""
    wanted = {line.strip() for line in search if line.strip()}
    hits = [line.strip() in wanted for line in lines]
    size = min(len(search), len(lines))
    best = max(range(len(lines) - size + 1), key=lambda i: sum(hits[i : i + size]))
    if not any(hits[best : best + size]):
        first = next(line for line in search if line.strip()).strip()
        matcher = SequenceMatcher(b=first, autojunk=False)

        def likeness(i: int) -> float:
            matcher.set_seq1(lines[i].strip())
            return matcher.real_quick_ratio() and matcher.ratio()

        best = min(max(range(min(len(lines), 2000)), key=likeness), len(lines) - size)
    return "\n".join(lines[best : best + min(size, 30)])
