"""Answers that a real model gave, and what the reader of answers makes of each: ``recorded_answers.json``.

Written by ``tests/live/samples.py --record``; the programs they change are in the same file.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from difflib import unified_diff
from pathlib import Path
from typing import Any

from operators.languages.files import require_parsable
from operators.languages.syntax import Unparsable
from operators.recombine.conflicts import read_places
from operators.rewrite.answers.search_replace import InvalidAnswer, apply, read_answer
from prepare.source import normalised

BOOK = Path(__file__).with_name("recorded_answers.json")


def recorded() -> dict[str, Any]:
    """Programs by name, and answers: operator, name of the program, text, and what was made of it."""
    found: dict[str, Any] = json.loads(BOOK.read_text(encoding="utf-8"))
    return found


def verdict(operator: str, path: str, program: str, text: str) -> dict[str, Any]:
    """Why an answer is refused, or its idea and the lines that it changes."""
    try:
        if operator == "crossover":
            merged = read_places(text, 1)
            return {"idea": merged.idea, "lines": [line for place in merged.places for line in place]}
        proposal = read_answer(normalised(text), (path,), (path,))
        files = apply(proposal, {path: program})
        require_parsable(files, [{path: program}])
    except (InvalidAnswer, Unparsable) as error:
        return {"refused": str(error)}
    return {"idea": proposal.idea, "lines": _changed(path, program, files)}


def _changed(path: str, program: str, files: Mapping[str, str]) -> list[str]:
    lines = unified_diff(program.splitlines(), files[path].splitlines(), n=0, lineterm="")
    return [line for line in list(lines)[2:] if not line.startswith("@@")]
