"""A run as the table ``results.tsv`` that users of autoresearch keep: a line for each first screening, in order."""

from __future__ import annotations

from collections.abc import Mapping

from archive.query.query import Reader
from archive.query.questions import which_run
from archive.query.tables import one_line

_ID = 7
"""Digits of a node's id, in the column of the commit."""
_WIDEST = 500
"""Characters of a description."""

_SQL = """
SELECT e.node_id, e.outcome, e.score, coalesce(e.peak_device_mb, e.peak_memory_mb) / 1024 AS memory_gb, n.idea
FROM evaluations AS e JOIN nodes AS n USING (node_id)
WHERE e.run = ? AND e.purpose = 'screen' AND e.outcome <> 'lost'
QUALIFY row_number() OVER (PARTITION BY e.node_id ORDER BY e.arrival) = 1
ORDER BY e.arrival"""


def results_rows(reader: Reader, run: str | None) -> list[dict[str, str | float]]:
    """Return the rows: commit, the metric by its name, memory_gb, status and description. Raises ArchiveError.

    ``keep``: better than all before it; ``discard``; ``crash``: without a score, which is 0 as in autoresearch.
    """
    name, metric, direction = _run(reader, run)
    sign, best = (1 if direction == "minimise" else -1), float("inf")
    rows: list[dict[str, str | float]] = []
    for node_id, outcome, score, memory, idea in reader.query(_SQL, [name]).rows:
        scored = outcome == "scored"
        status = "crash" if not scored else "keep" if sign * score < best else "discard"
        best = min(best, sign * score) if scored else best
        rows.append(
            {
                "commit": node_id[:_ID],
                metric: score if scored else 0.0,
                "memory_gb": (memory or 0.0) if scored else 0.0,
                "status": status,
                "description": one_line(idea, _WIDEST),
            }
        )
    return rows


def results_tsv(reader: Reader, run: str | None) -> str:
    """Return the rows as the text of a table. Raises ArchiveError."""
    _, metric, _ = _run(reader, run)
    lines = [_line(metric, row) for row in results_rows(reader, run)]
    return "\n".join([f"commit\t{metric}\tmemory_gb\tstatus\tdescription", *lines])


def _line(metric: str, row: Mapping[str, str | float]) -> str:
    return f"{row['commit']}\t{row[metric]:.6f}\t{row['memory_gb']:.1f}\t{row['status']}\t{row['description']}"


def _run(reader: Reader, run: str | None) -> tuple[str, str, str]:
    """Return the run's name, the name of its metric, and the direction."""
    name = which_run(reader, run)
    ((metric, direction),) = reader.query("SELECT metric, direction FROM runs WHERE run = ?", [name]).rows
    return name, one_line(metric, _WIDEST), direction
