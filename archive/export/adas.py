"""A run's agents as an archive of ADAS (``*_run_archive.json``), which ``python -m search adopt`` reads, too."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from archive.bootstrap import bootstrap
from archive.query.query import Reader, held
from archive.query.questions import which_run

_NODES = """
SELECT n.node_id, n.number, n.operator, n.idea, s.text AS code
FROM nodes AS n
JOIN (SELECT node_id, min_by(sha, path) AS sha FROM files WHERE path LIKE '%.py' GROUP BY node_id) AS f USING (node_id)
JOIN sources AS s ON s.sha = f.sha
WHERE n.run = ? ORDER BY n.number"""
_ITEMS = """
SELECT c.node_id, list(DISTINCT struct_pack(seed := c.seed, name := c.case_name, value := c.value)) AS items
FROM case_scores AS c JOIN evaluations AS e USING (node_id, seed, purpose)
WHERE e.run = ? AND c.purpose = ? AND c.ending IS NOT NULL AND e.outcome = 'scored'
      AND (c.purpose = 'screen' OR e.arrival < (
          SELECT max(arrival) FROM decisions WHERE run = e.run AND kind IN ('champion', 'no_champion')))
GROUP BY c.node_id"""


def adas_archive(reader: Reader, run: str | None) -> str:
    """Return the scored agents of a run as JSON: thought, name, code, generation, fitness. Raises ArchiveError.

    The fitness is the sentence that ADAS writes, with an interval whose clusters are the items. Agents that a claim
    with a verdict has judged on the holdout have the same of it, as ``test_fitness``.
    """
    with held(reader) as one:
        name = which_run(one, run)
        fitness, tested = (_sentences(one, name, purpose) for purpose in ("screen", "report"))
        rows = one.query(_NODES, [name]).rows
    entries = [
        {
            "thought": idea,
            "name": f"{operator} {node_id[:8]}",
            "code": code,
            "generation": number or "initial",
            "fitness": fitness[node_id],
            **({"test_fitness": tested[node_id]} if node_id in tested else {}),
        }
        for node_id, number, operator, idea, code in rows
        if node_id in fitness
    ]
    return json.dumps(entries, indent=4, ensure_ascii=False)


def _sentences(reader: Reader, run: str, purpose: str) -> dict[str, str]:
    """Return the fitness of each agent that was scored for a purpose, by node."""
    return {node_id: _fitness(_by_name(items)) for node_id, items in reader.query(_ITEMS, [run, purpose]).rows}


def _by_name(items: Sequence[Mapping[str, Any]]) -> dict[str, list[float]]:
    found: dict[str, list[float]] = {}
    for item in sorted(items, key=lambda each: (each["name"], each["seed"])):
        found.setdefault(item["name"], []).append(float(item["value"]))
    return found


def _fitness(items: dict[str, list[float]]) -> str:
    found = bootstrap(items, np.random.default_rng(0))
    if found is None:
        return ""
    low, high, middle = (f"{100 * share:.1f}%" for share in (found.low, found.high, found.mean))
    return f"95% Bootstrap Confidence Interval: ({low}, {high}), Median: {middle}"
