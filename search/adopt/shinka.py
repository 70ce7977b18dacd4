"""Adapter for ShinkaEvolve: ``initial.*``, and ``evaluate.py``, which writes ``metrics.json`` and ``correct.json``."""

from __future__ import annotations

import re

from search.adopt.base import (
    COMBINED_SCORE,
    Adopted,
    Asked,
    blocks_of,
    chosen,
    everything,
    instructions,
    own_file,
    self_reported,
    text_of,
    with_added,
    workspace,
)
from search.adopt.source import Source

_IMPORT = re.compile(r"^\s*(?:from|import)\s+shinka\b", re.MULTILINE)
_SECONDS = 300.0
_CONTRACT = "The program is a file that `evaluate.py` runs and measures; a larger combined_score is better."


def recognises(source: Source) -> bool:
    return "evaluate.py" in source.files and source.named("initial") is not None


def convert(source: Source, asked: Asked) -> Adopted:
    """Make a task with the same program and evaluator, which runs as Shinka runs it and writes the same two files."""
    program = source.named("initial")
    assert program is not None  # recognises() found it
    stand_in = _IMPORT.search(text_of(source, "evaluate.py")) is not None
    beside = {"shinka/__init__.py": b"", "shinka/core.py": own_file("shinka_core.py")} if stand_in else {}
    files = workspace(source, chosen(source, asked, [program]))
    blocks, notes = blocks_of(text_of(source, program))
    settings = {**self_reported(with_added(files, beside), COMBINED_SCORE, _SECONDS), **blocks}
    written = {
        **beside,
        "score.py": own_file("shinka_score.py", PROGRAM=program),
        "program.md": instructions(_CONTRACT),
    }
    if stand_in:
        notes.append(
            "shinka/ in the folder stands in for the package: it has run_shinka_eval without plots and early stops"
        )
    return Adopted("ShinkaEvolve", settings, everything(files), written, notes)
