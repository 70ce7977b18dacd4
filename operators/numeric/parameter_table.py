"""The parameters of a run's programs as a table, read through SQL, for the report page.

The effects of the best program's parameters are those of ``python -m search explain``, from the same programs.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from archive.query.query import Reader
from archive.query.questions import best_lineage, rows
from archive.query.tables import one_line
from archive.query.texts import Texts
from operators.languages.files import Files
from operators.numeric.observations import differ_in_values_only, half_best, values_of
from operators.numeric.parameter_effects import explanation
from operators.numeric.proposer.ranges import Number
from operators.numeric.proposer.trials import Direction, Key, Observation
from operators.numeric.tune import FED

_EACH = 200
"""Programs that are read: as many of the best ones and of the latest ones."""
_COLUMNS = 30
_NAME = 80
"""Characters of a parameter's name."""

_PROGRAMS = f"""
WITH ranked AS (
    SELECT n.node_id, n.number, s.score, s.runs, if(r.direction = 'minimise', s.score, -s.score) AS badness,
           count(*) OVER () AS scored
    FROM sound_scores AS s JOIN nodes AS n ON n.node_id = s.node_id AND n.run = s.run
    JOIN runs AS r ON r.run = s.run
    WHERE s.run = ?
)
SELECT node_id, number, score, runs, badness, scored FROM ranked
QUALIFY row_number() OVER (ORDER BY badness, number) <= {_EACH} OR row_number() OVER (ORDER BY number DESC) <= {_EACH}
    OR number = 0
ORDER BY number"""


@dataclass(frozen=True)
class _Program:
    """A scored program of the run."""

    node_id: str
    score: float
    runs: int
    badness: float
    files: Files
    values: Mapping[Key, Number]


def parameter_table(reader: Reader, run: str) -> dict[str, Any]:
    """Return ``nodes``, ``columns`` and ``values`` (by column), and the best program's ``effects``."""
    found = rows(reader, _PROGRAMS, [run])
    declared, direction = _task(reader, run)
    texts, lineage = Texts(reader), best_lineage(reader, run)
    texts.fetch([*(row["node_id"] for row in found), *lineage])
    programs = [_program(row, texts.of(row["node_id"]), declared) for row in found]
    effects = _effects(programs, lineage, [texts.of(node_id) for node_id in lineage], direction)
    columns, varied = _columns(programs, [row["name"] for row in (effects or {}).get("rows", [])])
    return {
        "nodes": [program.node_id for program in programs],
        "scored": found[0]["scored"] if found else 0,
        "columns": [{"file": one_line(path, _NAME), "name": one_line(name, _NAME)} for path, name in columns],
        "left_out": varied - len(columns),
        "values": [[_number(program.values.get(key)) for program in programs] for key in columns],
        "effects": effects,
    }


def _program(row: Mapping[str, Any], files: Files, declared: Mapping[str, str]) -> _Program:
    return _Program(row["node_id"], row["score"], row["runs"], row["badness"], files, values_of(files, declared))


def _number(value: Number | None) -> float | int | None:
    """Return a parameter as a number that JSON and JavaScript have: truth as 0 or 1, and no infinity."""
    if value is None or not abs(value) < 1e300:
        return None
    return float(value) if isinstance(value, float) else int(value)


def _task(reader: Reader, run: str) -> tuple[dict[str, str], Direction]:
    """Return the declared ranges of the run's task and its direction. The archive may come from elsewhere."""
    sql = "SELECT direction, config->'$.task.parameters' AS declared FROM runs WHERE run = ?"
    (row,) = rows(reader, sql, [run])
    told = json.loads(row["declared"] or "null")
    ranges = {key: said for key, said in told.items() if isinstance(said, str)} if isinstance(told, dict) else {}
    return ranges, "maximise" if row["direction"] == "maximise" else "minimise"


def _columns(programs: Sequence[_Program], first: Sequence[str]) -> tuple[list[Key], int]:
    """Return the parameters with several values, at most ``_COLUMNS``, and how many there are.

    Args:
        first: Names of those that come first; then those with the most values.
    """
    seen: dict[Key, set[Number]] = {}
    for program in programs:
        for key, value in program.values.items():
            seen.setdefault(key, set()).add(value)
    varied = [key for key, values in seen.items() if len(values) > 1]
    place = {name: i for i, name in enumerate(first)}
    varied.sort(key=lambda key: (place.get(key[1], len(place)), -len(seen[key]), key))
    return varied[:_COLUMNS], len(varied)


def _effects(
    programs: Sequence[_Program], ids: Sequence[str], lineage: Sequence[Files], direction: Direction
) -> dict[str, Any] | None:
    """Return what ``explain`` says of the last node of a lineage; None with too few programs of its code."""
    if not lineage:
        return None
    files, start = lineage[-1], values_of(lineage[-1])
    by_score = sorted(range(len(programs)), key=lambda i: programs[i].badness)
    chosen = half_best(by_score[:FED], range(len(programs))[: -FED - 1 : -1], lambda i: programs[i].values, start, FED)
    same = [
        Observation(values_of(one.files), one.score, one.runs)
        for one in (programs[i] for i in chosen)
        if differ_in_values_only(files, one.files)
    ]
    found = explanation(lineage, same, direction)
    if found is None:
        return None
    told = [{**asdict(effect), "verdict": effect.verdict} for effect in found.effects]
    for row in told:
        row["name"] = one_line(row["name"], _NAME)
    return {"node": ids[-1], "programs": found.programs, "code_changed": found.code_changed, "rows": told}
