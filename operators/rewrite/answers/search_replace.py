"""Reader of a model's answer: an idea, and either search/replace blocks or whole files.

    IDEA: warm up for longer, since the loss spikes at the start

    <<<<<<< SEARCH
    WARMUP = 0.05
    =======
    WARMUP = 0.1
    >>>>>>> REPLACE

or, after the idea, one whole file in a fenced block. If several files may change, ``FILE: path`` before a block names
the file, which may be a new one, given whole; ``DELETE: path`` removes one. The grammar is in ``grammar``, what counts
of an answer with thoughts in ``channels``, where an edit belongs in ``matching``. Any other answer raises
``InvalidAnswer`` with a reason that the model can act on. No answer changes anything that its final part does not
state.

Four more forms are unambiguous and accepted, since models answer so whatever they are asked for: pairs of fenced
blocks, the first with text of the file and the second with its replacement; fenced definitions that replace those of
the same name (``partial_files``); edits beside fenced text of the file before or after them; and a whole program
without a fence. The same checks apply to all forms.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from operators.languages.language import PYTHON, language_for
from operators.languages.syntax import Unparsable, parse
from operators.rewrite.answers.channels import NoFinalPart, ends_thought, final_part
from operators.rewrite.answers.grammar import (
    Element,
    begins_edit,
    bodies,
    comment_file,
    deleted_file,
    ends_edit,
    fenced,
    file_of,
    idea_of,
    is_bold,
    is_fence_mark,
    is_middle,
    is_named_mark,
    is_program,
    opening,
    scan,
    split_lines,
)
from operators.rewrite.answers.matching import Edit, InvalidAnswer, edited, holds
from operators.rewrite.answers.partial_files import AmbiguousBlock, is_partial, is_whole, merged, repeats
from operators.sanitize import escaped_characters, one_line, restored
from prepare.globs import matches

__all__ = [
    "NO_IDEA",
    "Answered",
    "Edit",
    "InvalidAnswer",
    "Proposal",
    "apply",
    "idea_of_change",
    "is_whole_file",
    "parsed",
    "read_answer",
]

_MAX_ANSWER = 400_000
_MOST_PAIRED = 64
_HALF = re.compile("[\ud800-\udfff]")
_DIFFS = ("diff", "patch")
_SHELLS = ("bash", "sh", "shell", "console", "zsh")
_DECORATION = " \t*_"
NO_IDEA = "no idea was given"
FORM = (
    "a line `<<<<<<< SEARCH`, whole lines copied from the file, a line `=======`, the lines that replace them, "
    "and a line `>>>>>>> REPLACE`"
)
_INCOMPLETE = f"a search/replace block is not complete; it is {FORM}"


@dataclass(frozen=True)
class Proposal:
    """A parsed answer. One of ``edits``, ``blocks`` and ``unfenced`` is not empty, or edits and blocks that quote."""

    idea: str | None
    """None for an answer without any text beside its program."""
    edits: tuple[Edit, ...]
    blocks: Mapping[str, tuple[str, ...]]
    """Fenced blocks by path: a whole file, or parts that ``apply`` combines."""
    early: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Fenced blocks above the idea, which are often quotations; part of ``blocks``."""
    unfenced: tuple[str, ...] = ()
    """Texts that could be a whole program without a fence, best first."""
    deleted: tuple[str, ...] = ()
    """Files that the answer removes."""


@dataclass(frozen=True)
class Answered:
    """The final part of an answer, in elements. ``lines`` have no ends, ``raw`` has them."""

    lines: list[str]
    raw: list[str]
    elements: list[Element]
    idea: str | None
    idea_at: int | None
    """Line of the idea, if a line names it."""

    def fenced(self, element: Element) -> str:
        """Return the text within a fence. An idea above its program is blank there."""
        if self.idea_at is None or not element.first < self.idea_at < element.last:
            return fenced(self.raw, element.first, element.last)
        raw = list(self.raw)
        raw[self.idea_at] = raw[self.idea_at][len(self.lines[self.idea_at]) :]
        return fenced(raw, element.first, element.last)


def parsed(text: str, python: bool = True) -> Answered:
    """Return the elements of an answer's final part and its idea as one clean line. Raises ``InvalidAnswer``.

    Without an ``IDEA`` line the first sentence outside of blocks is the idea, which is cheaper than another call.
    """
    if not text.strip():
        raise InvalidAnswer("the answer was empty")
    if len(text) > _MAX_ANSWER:
        raise InvalidAnswer(f"the answer has {len(text)} characters; expected less than {_MAX_ANSWER}")
    try:
        text = final_part(_joined(text), python)
    except NoFinalPart as error:
        raise InvalidAnswer(str(error)) from None
    raw = split_lines(text)
    lines = bodies(text)
    if all(line.endswith("\r\n") for line in raw[:-1]):
        raw = [f"{line}\n" for line in lines]  # the line ends of the whole answer are none of the program's
    elements = list(scan(lines))
    at, words = _idea(lines, elements)
    if words is None:
        words = _first_sentence(lines, elements)
    return Answered(lines, raw, elements, one_line(words, 300) or None if words else None, at)


def _joined(text: str) -> str:
    """Return the text with pairs of surrogates as the characters that they stand for."""
    return text if text.isascii() else text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "surrogatepass")


def read_answer(text: str, files: Sequence[str], patterns: Sequence[str] = ()) -> Proposal:
    """Parse an answer. Raises ``InvalidAnswer``.

    Args:
        files: Files of the program that may change. With one, an answer need not name it.
        patterns: Files that may be added match one of them.
    """
    editable = _Editable(files, patterns)
    answer = parsed(text, all(language_for(path) is PYTHON for path in files))
    edits: list[Edit] = []
    blocks: dict[str, list[str]] = {}
    early: dict[str, list[str]] = {}
    deleted: list[str] = []
    path = files[0] if len(files) == 1 else ""
    for element in answer.elements:
        line = answer.lines[element.first]
        if element.kind == "text":
            path = _path(line, editable) or path
            deleted += [gone] if len(files) > 1 and (gone := deleted_file(line)) is not None else []
        elif element.kind == "edit" and element.closed:
            inside = answer.lines[element.first + 1 : element.last]
            if ends_edit(answer.lines[element.last]) is False:  # both marks share the last line
                inside = answer.lines[element.first + 1 : element.last + 1]
            edits.append(Edit(path, tuple(inside), is_bold(line)))
        elif element.kind == "fence" and element.closed and _is_command(answer, element, editable):
            continue
        elif element.kind == "fence" and element.closed:
            block, named = _named(answer, element, editable)
            path = named or path
            blocks.setdefault(path, []).append(block)
            if answer.idea_at is not None and element.last < answer.idea_at:
                early.setdefault(path, []).append(block)
        else:
            raise _incomplete(answer.lines, element)
    unfenced = () if edits or blocks or deleted else tuple(_unfenced(answer))
    if not edits and not blocks and not unfenced and not deleted:
        raise InvalidAnswer(
            f"the answer has neither a search/replace block nor a whole file in a fenced block. A search/replace block "
            f"is {FORM}"
        )
    for named in (*(edit.path for edit in edits), *blocks, *deleted):
        if not named:
            raise InvalidAnswer(f"a block does not say which file it is of; write a line `FILE: {files[0]}` before it")
        if named not in editable:
            raise InvalidAnswer(f"the answer names a file that may not be changed; only {editable} may", named)
    return Proposal(answer.idea, tuple(edits), _frozen(blocks), _frozen(early), unfenced, tuple(deleted))


@dataclass(frozen=True)
class _Editable:
    """Files of a program that may change, and patterns of those that may be added."""

    files: Sequence[str]
    patterns: Sequence[str]

    def __contains__(self, path: object) -> bool:
        return path in self.files or (isinstance(path, str) and matches(path, self.patterns))

    def __str__(self) -> str:
        return ", ".join(dict.fromkeys((*self.files, *self.patterns)))


def _is_command(answer: Answered, element: Element, editable: _Editable) -> bool:
    """Return whether a fence has a command for a shell beside a Python program. Raises ``InvalidAnswer`` for a diff."""
    mark = opening(answer.lines[element.first])
    language = (mark.info.split() or [""])[0].lower() if mark is not None else ""
    if language in _DIFFS and not any(path.endswith(_DIFFS) for path in editable.files):
        raise InvalidAnswer(f"the answer has a diff; give search/replace blocks. A search/replace block is {FORM}")
    return language in _SHELLS and all(language_for(path) is PYTHON for path in editable.files)


def _frozen(blocks: Mapping[str, Sequence[str]]) -> dict[str, tuple[str, ...]]:
    return {path: tuple(found) for path, found in blocks.items()}


def _path(line: str, editable: _Editable) -> str | None:
    """Return the path that a line outside of blocks names."""
    if (path := file_of(line)) is not None:
        return path
    bare = comment_file(line) or line.strip().strip("#*_`: \t")
    return bare if bare in editable.files else None


def _named(answer: Answered, element: Element, editable: _Editable) -> tuple[str, str | None]:
    """Return the text of a fence and the path that its mark or its first line names."""
    text = answer.fenced(element)
    first = next((line for line in bodies(text) if line.strip()), "")
    if (path := file_of(first)) is not None and first.lstrip()[:1] != "#" and path in editable:
        return "".join(line for line in split_lines(text) if body_of(line) != first), path
    commented = comment_file(first)
    if commented in editable.files:
        return text, commented
    mark = opening(answer.lines[element.first])
    words = mark.info.replace(":", " ").replace("=", " ").replace('"', " ").split() if mark is not None else []
    return text, next((word for word in words if word in editable.files), None)


def body_of(line: str) -> str:
    return bodies(line)[0] if line else ""


def _incomplete(lines: Sequence[str], element: Element) -> InvalidAnswer:
    """Return the refusal of an element without an end."""
    start = lines[element.first][:20]
    if element.kind == "fence":
        return InvalidAnswer(
            f"the fenced block that starts with `{start}` has no end; expected a line of as many marks"
        )
    inside = lines[element.first + 1 :]
    if element.kind == "stray" or any(map(begins_edit, inside)):
        return InvalidAnswer(_INCOMPLETE)
    if any(is_middle(line, is_bold(start)) for line in inside):
        return InvalidAnswer(f"the replacement of `{start}` has no end; expected a line `>>>>>>> REPLACE`")
    return InvalidAnswer(f"the search text that starts with `{start}` has no end; expected a line `=======`")


def _idea(lines: Sequence[str], elements: Sequence[Element]) -> tuple[int | None, str | None]:
    """Return where the idea stands, and its words: outside of blocks, else in the first line within a fence."""
    for place, element in enumerate(elements):
        if element.kind == "text" and (words := idea_of(lines[element.first])) is not None:
            if words.strip(_DECORATION):
                return element.first, words.rstrip(_DECORATION)
            following = next((each for each in elements[place + 1 :] if lines[each.first].strip()), None)
            if following is not None and following.kind == "text":
                return element.first, lines[following.first].strip(_DECORATION)
    for element in elements:
        if element.kind == "fence":
            at = next((at for at in range(element.first + 1, element.last) if lines[at].strip()), element.first)
            if (words := idea_of(lines[at])) is not None and words.strip(_DECORATION):
                return at, words.rstrip(_DECORATION)
    return None, None


def _first_sentence(lines: Sequence[str], elements: Sequence[Element]) -> str | None:
    """Return the first line of text outside of blocks that does not end with a colon."""
    for element in elements:
        if element.kind == "text" and not is_fence_mark(lines[element.first]):
            sentence = lines[element.first].strip().lstrip(f"{_DECORATION}#>-").rstrip(_DECORATION)
            *words, last = sentence.split() or [""]
            if len(words) >= 3 and ":" not in last and not any("`" in word for word in words):
                return sentence
    return None


def _unfenced(answer: Answered) -> list[str]:
    """Return the texts that could be a program without a fence: all below the idea, or from its first line of code."""
    rest = answer.raw if answer.idea_at is None else answer.raw[answer.idea_at + 1 :]
    starts = [0]
    starts += [at for at, line in enumerate(rest) if line.startswith(("import ", "from ", "def ", "class ", '"""'))][:1]
    texts = ("".join(rest[start:]).lstrip("\r\n") for start in dict.fromkeys(starts))
    return [text for text in texts if is_program(text, defines=True)]


def apply(proposal: Proposal, files: Mapping[str, str]) -> dict[str, str]:
    """Return the files after the proposal. Raises ``InvalidAnswer`` for an edit that does not fit."""
    changed = _applied(proposal, files)
    for path, text in changed.items():
        if text != files.get(path) and _HALF.search(text):
            raise InvalidAnswer(f"{path} would have half of a character (a lone surrogate)")
    return changed


def _applied(proposal: Proposal, files: Mapping[str, str]) -> dict[str, str]:
    proposal = _with_characters(proposal, files)
    changed = _without(proposal, files)
    if proposal.unfenced:
        path, text = _program_of(proposal.unfenced, files)
        return {**changed, path: text}
    for path in dict.fromkeys(edit.path for edit in proposal.edits):
        mine = [(number, edit) for number, edit in enumerate(proposal.edits, 1) if edit.path == path]
        changed[path] = edited(files.get(path, ""), mine)
        _check_marks(path, files.get(path, ""), changed[path])
    for path, blocks in proposal.blocks.items():
        if proposal.edits and path in files:
            _check_quotations(files[path], changed[path], blocks)
        else:
            changed[path] = _written(path, files.get(path, ""), blocks, proposal.early.get(path, ()))
    return changed


def _without(proposal: Proposal, files: Mapping[str, str]) -> dict[str, str]:
    """Return the files that the proposal does not delete. Raises ``InvalidAnswer``."""
    for path in proposal.deleted:
        if path not in files:
            raise InvalidAnswer("the answer deletes a file that the program does not have", path)
        if path in proposal.blocks or path in [edit.path for edit in proposal.edits]:
            raise InvalidAnswer("the answer both deletes and changes a file", path)
    kept = {path: text for path, text in files.items() if path not in proposal.deleted}
    if not kept and not proposal.blocks:
        raise InvalidAnswer("the answer deletes every file")
    return kept


def _with_characters(proposal: Proposal, files: Mapping[str, str]) -> Proposal:
    """Return the proposal with the characters that its prompt showed as escapes."""
    shown = frozenset().union(*(escaped_characters(text) for text in files.values()))
    if not shown:
        return proposal
    return replace(
        proposal,
        edits=tuple(replace(e, lines=tuple(restored(line, shown) for line in e.lines)) for e in proposal.edits),
        blocks={path: tuple(restored(text, shown) for text in texts) for path, texts in proposal.blocks.items()},
        early={path: tuple(restored(text, shown) for text in texts) for path, texts in proposal.early.items()},
        unfenced=tuple(restored(text, shown) for text in proposal.unfenced),
    )


def is_whole_file(proposal: Proposal, path: str, text: str, files: Mapping[str, str]) -> bool:
    """Return whether ``text`` is given as a whole file by the proposal."""
    given = _with_characters(proposal, files)
    return not given.edits and text in (*given.blocks.get(path, ()), *given.unfenced)


def idea_of_change(before: Mapping[str, str], after: Mapping[str, str]) -> str:
    """Return an idea for a change without one: its first new line."""
    for path, text in sorted(after.items()):
        known = {line.strip() for line in bodies(before.get(path, ""))}
        new = next((line for line in bodies(text) if line.strip() and line.strip() not in known), None)
        if new is not None:
            return f"{NO_IDEA}; it begins with `{one_line(new, 120)}`"
    return f"{NO_IDEA}; it only removes something"


def _program_of(texts: Sequence[str], files: Mapping[str, str]) -> tuple[str, str]:
    """Return the path and text of a program without a fence. Raises ``InvalidAnswer`` if there is none."""
    for text in texts:
        for path, old in files.items():
            if language_for(path) is PYTHON and is_whole(old, text):
                return path, text
    raise InvalidAnswer(
        f"the answer has neither a search/replace block nor a whole file in a fenced block. A search/replace block is "
        f"{FORM}"
    )


def _check_marks(path: str, old: str, new: str) -> None:
    """Raise ``InvalidAnswer`` for marks of answers that a file would get, unless they are in strings of a program.

    They are no text of the file: the end of an edit was forgotten, or a thought ends within a draft.
    """
    known = set(bodies(old))
    if any((is_named_mark(line) or ends_thought(line)) and line not in known for line in bodies(new)):
        try:
            if language_for(path) is not PYTHON:
                raise InvalidAnswer(_INCOMPLETE)
            parse(new, path)
        except Unparsable:
            raise InvalidAnswer(_INCOMPLETE) from None


def _check_quotations(old: str, new: str, blocks: Sequence[str]) -> None:
    """Raise ``InvalidAnswer`` for fenced blocks beside edits that do not quote the file before or after them."""
    for block in blocks:
        if not any(holds(text, block, indented=False) for text in (old, new)):
            raise InvalidAnswer("the answer has both search/replace blocks and a whole file; give one or the other")


def _written(path: str, old: str, blocks: Sequence[str], early: Sequence[str]) -> str:
    """Return the file made of fenced blocks: a whole file, pairs, or definitions. Raises ``InvalidAnswer``."""
    if late := blocks[len(early) :]:
        blocks = [*(block for block in early if not holds(old, block)), *late]
    if len(set(blocks)) == 1 and is_whole(old, blocks[0]):
        blocks = blocks[:1]
    if len(blocks) == 1 and not is_partial(old, blocks[0]):
        _check_marks(path, old, blocks[0])
        return blocks[0]
    if (paired := _paired(path, old, blocks)) is not None:
        return paired
    if not all(is_partial(old, block) for block in blocks):
        count = "two" if len(blocks) == 2 else str(len(blocks))
        more = " Begin and end it with four backticks if it has lines of three" if _has_fences(old) else ""
        raise InvalidAnswer(
            f"there are {count} fenced blocks for {path}; give the whole file in one, or what changes in "
            f"search/replace blocks. A search/replace block is {FORM}.{more}"
        )
    try:
        return merged(old, blocks)
    except AmbiguousBlock as error:
        raise InvalidAnswer(str(error), error.shown) from None


def _has_fences(text: str) -> bool:
    return any(map(is_fence_mark, bodies(text)))


def _paired(path: str, old: str, blocks: Sequence[str]) -> str | None:
    """Return the file in which each second block replaces the text of the first; None if the blocks are no pairs.

    They are no pairs if both are texts of the file (quotations), if the second repeats functions of the file beside
    the quoted one (a whole program), or if the file has fences, whose marks may have cut a whole file into pieces.
    """
    if len(blocks) % 2 or len(blocks) > _MOST_PAIRED or _has_fences(old):
        return None
    edits: list[tuple[int, Edit]] = []
    for search, new in zip(blocks[::2], blocks[1::2], strict=True):
        if holds(old, new) and not holds(search, new):
            return None
        edits.append((len(edits) + 1, Edit(path, (*_filled(search), "=======", *_filled(new)))))
    if any(len(edit.middles()) != 1 for _, edit in edits):
        return None
    try:
        changed = edited(old, edits)
    except InvalidAnswer:
        return None
    return None if repeats(old, changed) else changed


def _filled(text: str) -> list[str]:
    """Return the lines without blank ones at both ends, and without a comment with the file's name above them."""
    lines = bodies(text)
    filled = [at for at, line in enumerate(lines) if line.strip() and not (at == 0 and comment_file(line))]
    return lines[filled[0] : filled[-1] + 1] if filled else []
