"""The worth of each step of a node's lineage with its interval, from the evaluations of ``python -m search ablate``."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from archive.query.query import Reader
from archive.query.questions import rows

if TYPE_CHECKING:  # numpy takes longer than all that the summary of a run without ablations needs
    from archive.difference import Difference, Measurement
    from archive.interval import NoInterval
    from archive.records import Direction

NO_EFFECT = "no effect beyond noise"
"""The verdict on a step whose interval holds zero."""


def ablations(reader: Reader, run: str) -> list[dict[str, Any]]:
    """Return ``{"run", "node", "steps"}`` for each ablation of a node of ``run``, the most valuable steps first.

    A step has ``node``, ``worth``, ``low`` and ``high`` (95%, by ``archive.difference``; None where the data allow no
    interval), ``cases`` (paired ones), ``runs``, ``verdict`` and ``idea``. Nodes are given by their ids, and parts of
    an agent by their names.
    """
    found: dict[tuple[str, str], list[dict[str, Any]]] = {}
    sql = "SELECT * FROM ablations WHERE node_id IN (SELECT node_id FROM nodes WHERE run = ?)"
    measured: dict[str, _Ablated] = {}
    for row in rows(reader, sql, [run]):
        name = row["run"]
        measured.setdefault(name, _measured(reader, name))
        found.setdefault((name, row["node_id"]), []).append(_step(row, measured[name]))
    return [{"run": name, "node": node_id, "steps": steps} for (name, node_id), steps in found.items()]


def within_noise(step: Mapping[str, Any]) -> bool:
    """Return whether the interval of a step's worth contains zero."""
    return step["low"] is not None and step["low"] <= 0 <= step["high"]


_MEASURED = """
SELECT n.number, n.ablated, s.score, (
    SELECT json_group_object(c.case_name, c.value) FROM case_scores AS c
    WHERE c.node_id = s.node_id AND c.seed = s.seed AND c.purpose = 'screen'
) AS cases
FROM screenings AS s JOIN nodes AS n USING (node_id)
WHERE n.run = ? AND s.score IS NOT NULL
"""


@dataclass(frozen=True)
class _Ablated:
    """The evaluations of an ablation: of the whole program, and of the program without each step."""

    direction: Direction
    deterministic: bool
    whole: list[Measurement]
    without: Mapping[str, list[Measurement]]
    """By the first characters of the step's id."""

    def difference(self, step: str) -> Difference | NoInterval:
        from archive.difference import compare

        sides = [scores for start, scores in self.without.items() if step.startswith(start)]
        return compare(sides[0] if sides else [], self.whole, self.direction, deterministic=self.deterministic)


def _measured(reader: Reader, run: str) -> _Ablated:
    from archive.difference import Measurement
    from archive.noise import is_deterministic

    whole: list[Measurement] = []
    without: dict[str, list[Measurement]] = {}
    found = rows(reader, _MEASURED, [run])
    for row in found:
        side = whole if row["number"] == 0 else without.setdefault(row["ablated"], [])
        side.append(Measurement(row["score"], json.loads(row["cases"] or "{}")))
    (facts,) = rows(reader, "SELECT direction, config FROM runs WHERE run = ?", [run])
    return _Ablated(facts["direction"], is_deterministic(json.loads(facts["config"])), whole, without)


def _step(row: Mapping[str, Any], measured: _Ablated) -> dict[str, Any]:
    from archive.interval import NoInterval

    found = measured.difference(row["step"])
    low, high, cases = (None, None, 0) if isinstance(found, NoInterval) else (found.low, found.high, found.cases)
    return {
        "node": row["step"], "worth": row["worth"], "low": low, "high": high, "cases": cases, "runs": row["runs"],
        "verdict": _verdict(row, low, high), "idea": row["idea"],
    }  # fmt: skip


def _verdict(row: Mapping[str, Any], low: float | None, high: float | None) -> str:
    if row["worth"] is None:
        return f"the program fails without it ({row['outcome']})" if row["outcome"] else "not evaluated yet"
    if low is None or high is None:
        return "one run: no interval"
    if low > 0:
        return "carries gain"
    return "does harm" if high < 0 else NO_EFFECT
