"""A run's agents as an archive of ADAS (``*_run_archive.json``), which ``python -m search adopt`` reads, too."""

from __future__ import annotations

import json
from typing import Any

import numpy as np

from archive.bootstrap import bootstrap
from archive.query.query import Reader
from archive.query.questions import which_run

_SQL = """
SELECT n.node_id, n.number, n.operator, n.idea, any_value(s.text) AS code,
       list(DISTINCT struct_pack(seed := c.seed, name := c.case_name, value := c.value)) AS items
FROM nodes AS n
JOIN (SELECT node_id, min_by(sha, path) AS sha FROM files WHERE path LIKE '%.py' GROUP BY node_id) AS f USING (node_id)
JOIN sources AS s ON s.sha = f.sha
JOIN case_scores AS c ON c.node_id = n.node_id AND c.purpose = 'screen' AND c.ending IS NOT NULL
JOIN evaluations AS e ON e.node_id = c.node_id AND e.seed = c.seed AND e.purpose = c.purpose AND e.outcome = 'scored'
WHERE n.run = ? GROUP BY n.node_id, n.number, n.operator, n.idea ORDER BY n.number"""


def adas_archive(reader: Reader, run: str | None) -> str:
    """Return the scored agents of a run as JSON: thought, name, code, generation, fitness. Raises ArchiveError.

    The fitness is the sentence that ADAS writes, with an interval whose clusters are the items.
    """
    found = [_entry(*row) for row in reader.query(_SQL, [which_run(reader, run)]).rows]
    return json.dumps(found, indent=4, ensure_ascii=False)


def _entry(
    node_id: str, number: int, operator: str, idea: str, code: str, items: list[dict[str, Any]]
) -> dict[str, Any]:
    by_name: dict[str, list[float]] = {}
    for item in sorted(items, key=lambda each: (each["name"], each["seed"])):
        by_name.setdefault(item["name"], []).append(float(item["value"]))
    return {
        "thought": idea,
        "name": f"{operator} {node_id[:8]}",
        "code": code,
        "generation": number or "initial",
        "fitness": _fitness(by_name),
    }


def _fitness(items: dict[str, list[float]]) -> str:
    found = bootstrap(items, np.random.default_rng(0))
    if found is None:
        return ""
    low, high, middle = (f"{100 * share:.1f}%" for share in (found.low, found.high, found.mean))
    return f"95% Bootstrap Confidence Interval: ({low}, {high}), Median: {middle}"
