"""Gains of each model's moves as known when a given move was chosen, from the archive.

Moves, refusals, nodes and evaluations carry their order of arrival, so the state of knowledge at a move can be
recovered later, and a resumed search sees what the first session saw.
"""

from __future__ import annotations

from collections.abc import Mapping

from operators.base import Query
from operators.llm.several import ModelCredit

# A move has ended once its candidate was refused, or its node was screened. A child that has no mean gained nothing.
# Only what was trained under the same conditions is compared.
_CREDITS = """
WITH it AS (SELECT m.arrival, r.direction FROM moves AS m JOIN runs AS r USING (run) WHERE m.run = ? AND m.move = ?),
landed AS (
    SELECT node_id, fingerprint, budget_seconds, hardware, avg(score) FILTER (outcome = 'scored') AS mean,
           bool_or(coalesce(violation, false)) AS cheated
    FROM evaluations, it
    WHERE run = ? AND purpose = 'screen' AND outcome <> 'lost' AND evaluations.arrival < it.arrival GROUP BY ALL
),
before AS (
    SELECT p.node_id, l.fingerprint, l.budget_seconds, l.hardware,
           CASE it.direction WHEN 'minimise' THEN min(l.mean) ELSE max(l.mean) END AS mean
    FROM parents AS p JOIN landed AS l ON l.node_id = p.parent_id, it
    GROUP BY p.node_id, l.fingerprint, l.budget_seconds, l.hardware, it.direction
),
gained AS (
    SELECT l.node_id, bool_or(l.cheated) AS cheated,
           max(CASE it.direction WHEN 'minimise' THEN b.mean - l.mean ELSE l.mean - b.mean END) AS gain
    FROM landed AS l LEFT JOIN before AS b USING (node_id, fingerprint, budget_seconds, hardware), it GROUP BY l.node_id
),
ended AS (
    SELECT f.move, 0.0 AS gain FROM refusals AS f, it WHERE f.run = ? AND f.arrival < it.arrival
    UNION ALL
    SELECT n.move, CASE WHEN g.cheated THEN 0 ELSE greatest(0, coalesce(g.gain, 0)) END
    FROM nodes AS n JOIN gained AS g USING (node_id) WHERE n.run = ?
),
asked AS (
    SELECT move, asked, sum(charged_dollars) AS dollars, count(charged_dollars) < count(*) AS unknown
    FROM llm_calls WHERE run = ? AND asked IS NOT NULL AND operator <> 'agent' GROUP BY move, asked
)
SELECT asked, count(*), sum(gain), max(gain), CASE WHEN bool_or(unknown) THEN NULL ELSE sum(dollars) END
FROM asked JOIN ended USING (move) GROUP BY asked
"""


def credits_at(query: Query, run: str, move: int) -> Mapping[str, ModelCredit]:
    """Return the credit of each model that was asked in the run, as known when ``move`` was chosen.

    A gain is that of the child's mean screening score over the best of its parents' means.
    """
    rows = query(_CREDITS, [run, move, run, run, run, run])
    return {name: ModelCredit(int(n), float(gain), float(best), dollars) for name, n, gain, best, dollars in rows}
