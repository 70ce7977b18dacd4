"""Resolution of merge conflicts by a language model.

The model is shown the merged program with an open place for each conflict, the three versions of each place, and the
ideas that led to both parents. It answers with the lines of every place:

    IDEA: the gate of A in front of the wider block of B

    PLACE 1
    ```
        x = x + self.gate(x) * self.block(x)
    ```

The answer passes the same checks as every answer, with one repair turn (``operators.rewrite.operator``).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from archive.records import Candidate, Propose
from operators.base import Context, NoCandidate
from operators.llm.base import Answer
from operators.llm.meter import CallId, Meter
from operators.rewrite.answers.grammar import Element, split_lines
from operators.rewrite.answers.search_replace import NO_IDEA, Answered, InvalidAnswer, parsed
from operators.rewrite.conversation import ask_with_repair, build_prompt, require_complete, require_well_formed
from operators.rewrite.prompt import sections
from operators.rewrite.prompt.templates import Templates
from operators.rewrite.prompt.truncation import TooLong
from operators.sanitize import escaped_characters, quote, restored, visible

_PLACE = re.compile(r"^[\s*#_`]*PLACE\s+(\d{1,4})[\s*#_`:]*$")
_LONGEST = 6000
"""Maximum characters shown of one version of a place."""


@dataclass(frozen=True)
class Place:
    """Lines, with line ends, that both parents changed: in the base and in each parent."""

    path: str
    base: tuple[str, ...]
    a: tuple[str, ...]
    b: tuple[str, ...]


@dataclass(frozen=True)
class MergeAnswer:
    """The idea of the merged program, and the lines of each place, in order."""

    idea: str
    places: tuple[tuple[str, ...], ...]


class Resolver:
    """Asks the model about the conflicts of one merge."""

    def __init__(self, llm: Meter, name: str, prompts: str | None) -> None:
        """``name``: of the operator. Raises ValueError for a folder without templates."""
        self.llm = llm
        self.name = name
        self.templates = Templates(prompts)

    def resolve(
        self,
        move: Propose,
        context: Context,
        ancestor: str,
        draft: Mapping[str, str],
        places: Sequence[Place],
        finish: Callable[[MergeAnswer], Candidate],
    ) -> Candidate | NoCandidate:
        """Return the candidate that ``finish`` makes of an answer, or why there is none.

        ``draft``: the merged files with a line for each open place. ``finish`` may raise ``InvalidAnswer``.
        """
        with context.tree.lock:
            parts = {
                "noise": sections.noise(context.sigma, context.task),
                "source": sections.sources(draft, context.task),
                "conflicts": "\n\n".join(_shown(place, number) for number, place in enumerate(places, 1)),
            }
            for side, parent in zip("ab", move.parents, strict=True):
                parts[f"{side}_result"] = sections.result(context.tree, parent, context.task)
                older = {*context.tree.ancestors(ancestor), ancestor}
                parts[f"{side}_ideas"] = sections.ancestors(context.tree, parent, older).text()
        try:
            prompt = build_prompt(self.templates, "resolve", parts, context, self.llm.prompt_tokens)
        except TooLong as error:
            return NoCandidate(str(error))
        version = self.templates.version(("system", "repair", "resolve"))

        def read(answer: Answer, last: bool) -> Candidate:
            require_complete(answer)
            shown = frozenset().union(*(escaped_characters(text) for text in (*draft.values(), *map(_text, places))))
            answered = read_places(answer.text, len(places))
            lines = tuple(tuple(restored(line, shown) for line in place) for place in answered.places)
            candidate = finish(MergeAnswer(answered.idea, lines))
            require_well_formed(candidate.files, context)
            return candidate

        def call_id(turn: int) -> CallId:
            return CallId(context.run, context.move_number, turn, self.name, template=version)

        return ask_with_repair(self.llm, prompt, call_id, self.templates, read)


def read_places(text: str, count: int) -> MergeAnswer:
    """Read one block for each of the places 1 to ``count``. Raises ``InvalidAnswer`` if some are missing or extra."""
    answer = parsed(text)
    found: dict[int, list[tuple[str, ...]]] = {}
    number = 0
    for element in answer.elements:
        if element.kind == "text" and (named := _PLACE.match(answer.lines[element.first])):
            number = int(named[1])
            if number in found or not 1 <= number <= count:
                raise InvalidAnswer(f"PLACE {number} is given twice, or is none of the places 1 to {count}")
            found[number] = []
        elif number and element.kind != "text":
            found[number].append(_lines(answer, element, number))
    if missing := [number for number in range(1, count + 1) if number not in found]:
        raise InvalidAnswer(f"PLACE {missing[0]} is missing; give a block for each of the {count} places")
    for number, blocks in sorted(found.items()):
        if len(blocks) != 1:
            raise InvalidAnswer(
                f"PLACE {number} has {'several blocks' if blocks else 'no block'} between lines of three backticks; "
                "give one, with four backticks if it has lines of three"
            )
    return MergeAnswer(answer.idea or NO_IDEA, tuple(found[number][0] for number in range(1, count + 1)))


def _lines(answer: Answered, element: Element, number: int) -> tuple[str, ...]:
    """Return the lines of a fence, with their ends. Raises ``InvalidAnswer`` for what is none."""
    if element.kind != "fence" or not element.closed:
        raise InvalidAnswer(f"PLACE {number} has no block between lines of three backticks")
    return tuple(split_lines(answer.fenced(element)))


def _text(place: Place) -> str:
    return "".join((*place.base, *place.a, *place.b))


def _shown(place: Place, number: int) -> str:
    versions = (("before", place.base), ("A", place.a), ("B", place.b))
    # Not in the form of an answer, which a small model would copy.
    return f"Open place number {number}, of {place.path}.\n\n" + "\n\n".join(
        f"{name}:\n{quote(visible(''.join(lines)), 'source', _LONGEST, keep='head')}" for name, lines in versions
    )
