"""A run as the table ``results.tsv`` that users of autoresearch keep: a line for each first screening, in order."""

from __future__ import annotations

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


def results_tsv(reader: Reader, run: str | None) -> str:
    """Return the table: commit, the metric, memory_gb, status and description. Raises ArchiveError.

    ``keep``: better than all before it; ``discard``; ``crash``: without a score, which is 0 as in autoresearch.
    """
    name = which_run(reader, run)
    ((metric, direction),) = reader.query("SELECT metric, direction FROM runs WHERE run = ?", [name]).rows
    sign, best = (1 if direction == "minimise" else -1), float("inf")
    lines = [f"commit\t{one_line(metric, _WIDEST)}\tmemory_gb\tstatus\tdescription"]
    for node_id, outcome, score, memory, idea in reader.query(_SQL, [name]).rows:
        scored = outcome == "scored"
        status = "crash" if not scored else "keep" if sign * score < best else "discard"
        best = min(best, sign * score) if scored else best
        figures = f"{score:.6f}\t{memory or 0:.1f}" if scored else "0.000000\t0.0"
        lines.append(f"{node_id[:_ID]}\t{figures}\t{status}\t{one_line(idea, _WIDEST)}")
    return "\n".join(lines)
