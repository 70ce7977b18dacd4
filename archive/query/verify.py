"""Integrity check of an archive: texts against their hashes, orphans in every direction, duplicate rows.

Read-only SQL throughout, so it works on a file and on a running search.
"""

from __future__ import annotations

from archive.query.query import Reader
from archive.query.select import Result

_ROOTS = "SELECT node_id FROM nodes WHERE number = 0"

_WRONG = {
    "source whose text has another hash": "SELECT sha FROM sources WHERE sha256(text) <> sha",
    "source stored twice": "SELECT sha FROM sources GROUP BY sha HAVING count(*) > 1",
    "source that nothing names": (
        "SELECT sha FROM sources WHERE sha NOT IN (SELECT sha FROM files) "
        "AND sha NOT IN (SELECT prompt_sha FROM llm_calls) AND sha NOT IN (SELECT answer_sha FROM llm_calls) "
        "AND sha NOT IN (SELECT template_sha FROM llm_calls WHERE template_sha IS NOT NULL) "
        "AND sha NOT IN (SELECT certificate_sha FROM evaluations WHERE certificate_sha IS NOT NULL)"
    ),
    "file without its source": "SELECT sha FROM files WHERE sha NOT IN (SELECT sha FROM sources)",
    "file of an unknown node": "SELECT node_id FROM files WHERE node_id NOT IN (SELECT node_id FROM nodes)",
    "file of a node stored twice": "SELECT node_id FROM files GROUP BY node_id, path HAVING count(*) > 1",
    "run stored twice": "SELECT run FROM runs GROUP BY run HAVING count(*) > 1",
    "run id used twice": "SELECT run_id FROM runs GROUP BY run_id HAVING count(*) > 1",
    "node stored twice": "SELECT node_id FROM nodes GROUP BY node_id HAVING count(*) > 1",
    "node number used twice": "SELECT run || ' ' || number FROM nodes GROUP BY run, number HAVING count(*) > 1",
    "node of an unknown run": "SELECT node_id FROM nodes WHERE run NOT IN (SELECT run FROM runs)",
    "node without files": "SELECT node_id FROM nodes WHERE node_id NOT IN (SELECT node_id FROM files)",
    "node without its move": (
        "SELECT node_id FROM nodes AS n WHERE NOT EXISTS (FROM moves AS m WHERE m.run = n.run AND m.move = n.move)"
    ),
    "node without a parent": (
        f"SELECT node_id FROM nodes WHERE node_id NOT IN (SELECT node_id FROM parents) AND node_id NOT IN ({_ROOTS})"
    ),
    "root with a parent": f"SELECT node_id FROM parents WHERE node_id IN ({_ROOTS})",
    "parent link of an unknown node": "SELECT node_id FROM parents WHERE node_id NOT IN (SELECT node_id FROM nodes)",
    "parent link to an unknown node": (
        "SELECT parent_id FROM parents WHERE parent_id NOT IN (SELECT node_id FROM nodes)"
    ),
    "parent link stored twice": "SELECT node_id FROM parents GROUP BY node_id, place HAVING count(*) > 1",
    "parent that is no elder of the same run": (
        "SELECT p.node_id FROM parents AS p JOIN nodes AS n ON n.node_id = p.node_id "
        "JOIN nodes AS q ON q.node_id = p.parent_id WHERE q.run <> n.run OR q.number >= n.number"
    ),
    "move stored twice": "SELECT run || ' ' || move FROM moves GROUP BY run, move HAVING count(*) > 1",
    "move of an unknown run": "SELECT DISTINCT run FROM moves WHERE run NOT IN (SELECT run FROM runs)",
    "move of an unknown node": (
        "SELECT node_id FROM moves WHERE node_id IS NOT NULL AND node_id NOT IN (SELECT node_id FROM nodes)"
    ),
    "refusal without its move": (
        "SELECT run || ' ' || move FROM refusals AS f "
        "WHERE NOT EXISTS (FROM moves AS m WHERE m.run = f.run AND m.move = f.move)"
    ),
    "run with a gap in the numbers of its moves": (
        "SELECT run FROM moves GROUP BY run HAVING max(move) + 1 <> count(DISTINCT move)"
    ),
    "run with a gap in the numbers of its nodes": (
        "SELECT run FROM nodes GROUP BY run HAVING max(number) + 1 <> count(DISTINCT number)"
    ),
    "evaluation of an unknown node": (
        "SELECT node_id FROM evaluations AS e "
        "WHERE NOT EXISTS (FROM nodes AS n WHERE n.node_id = e.node_id AND n.run = e.run)"
    ),
    "evaluation stored twice": (
        "SELECT node_id FROM evaluations WHERE outcome <> 'lost' GROUP BY node_id, seed, purpose HAVING count(*) > 1"
    ),
    "evaluation without its move": (
        "SELECT node_id FROM evaluations AS e "
        "WHERE NOT EXISTS (FROM moves AS m WHERE m.run = e.run AND m.move = e.move)"
    ),
    "evaluation scored without a finite score": (
        "SELECT node_id FROM evaluations WHERE outcome = 'scored' AND (score IS NULL OR NOT isfinite(score))"
    ),
    "failed evaluation with a score": (
        "SELECT node_id FROM evaluations WHERE outcome <> 'scored' AND score IS NOT NULL"
    ),
    "evaluation without its certificate": (
        "SELECT node_id FROM evaluations WHERE certificate_sha NOT IN (SELECT sha FROM sources)"
    ),
    "failed evaluation with a certificate": (
        "SELECT node_id FROM evaluations WHERE outcome <> 'scored' AND certificate_sha IS NOT NULL"
    ),
    "curve without its evaluation": (
        "SELECT DISTINCT c.node_id FROM curves AS c ANTI JOIN evaluations AS e USING (node_id, seed, purpose)"
    ),
    "window scores without their evaluation": (
        "SELECT DISTINCT w.node_id FROM window_scores AS w ANTI JOIN evaluations AS e USING (node_id, seed, purpose)"
    ),
    "training without its move": (
        "SELECT run || ' ' || move FROM trainings AS t "
        "WHERE NOT EXISTS (FROM moves AS m WHERE m.run = t.run AND m.move = t.move)"
    ),
    "training stored twice": "SELECT run || ' ' || move FROM trainings GROUP BY run, move HAVING count(*) > 1",
    "judgement without its training": (
        "SELECT run || ' ' || move FROM judgements AS j "
        "WHERE NOT EXISTS (FROM trainings AS t WHERE t.run = j.run AND t.move = j.move AND t.arrival < j.arrival)"
    ),
    "answers of a stage before the judgement began, or stored twice": (
        "SELECT run || ' ' || move FROM stage_answers AS s "
        "WHERE NOT EXISTS (FROM judgements AS j WHERE j.run = s.run AND j.move = s.move AND j.arrival < s.arrival) "
        "UNION ALL SELECT run || ' ' || move FROM stage_answers GROUP BY run, move, stage HAVING count(*) > 1"
    ),
    "case scores without their evaluation": (
        "SELECT DISTINCT c.node_id FROM case_scores AS c ANTI JOIN evaluations AS e USING (node_id, seed, purpose)"
    ),
    "case of an evaluation stored twice": (
        "SELECT node_id FROM case_scores GROUP BY node_id, seed, purpose, case_name HAVING count(*) > 1"
    ),
    "call of an unknown run": "SELECT DISTINCT run FROM llm_calls WHERE run NOT IN (SELECT run FROM runs)",
    "call without its prompt, answer or templates": (
        "SELECT run || ' ' || move FROM llm_calls WHERE prompt_sha NOT IN (SELECT sha FROM sources) "
        "OR answer_sha NOT IN (SELECT sha FROM sources) OR template_sha NOT IN (SELECT sha FROM sources)"
    ),
    "request of an unknown run": "SELECT DISTINCT run FROM llm_requests WHERE run NOT IN (SELECT run FROM runs)",
    "request stored twice": "SELECT request FROM llm_requests GROUP BY request HAVING count(*) > 1",
    "call without its request": (
        "SELECT run || ' ' || move FROM llm_calls WHERE request IS NOT NULL "
        "AND request NOT IN (SELECT request FROM llm_requests)"
    ),
    "decision about an unknown node": "SELECT node_id FROM decisions WHERE node_id NOT IN (SELECT node_id FROM nodes)",
    "event of an unknown run": "SELECT DISTINCT run FROM events WHERE run NOT IN (SELECT run FROM runs)",
    "event about an unknown node": (
        "SELECT node_id FROM events WHERE node_id IS NOT NULL AND node_id NOT IN (SELECT node_id FROM nodes)"
    ),
    "study registered twice": "SELECT study FROM studies GROUP BY study HAVING count(*) > 1",
    "run of an unknown study": "SELECT run FROM study_runs WHERE study NOT IN (SELECT study FROM studies)",
    "move of a study that is older than its plan": (
        "SELECT m.run || ' ' || move FROM moves AS m JOIN study_runs USING (run) JOIN studies AS s USING (study) "
        "WHERE m.arrival <= s.arrival"
    ),
    "place in the order of arrival used twice": (
        "SELECT run || ' ' || arrival FROM (SELECT run, arrival FROM moves UNION ALL SELECT run, arrival FROM nodes "
        "UNION ALL SELECT run, arrival FROM refusals UNION ALL SELECT run, arrival FROM evaluations "
        "UNION ALL SELECT run, arrival FROM trainings UNION ALL SELECT run, arrival FROM judgements "
        "UNION ALL SELECT run, arrival FROM stage_answers) "
        "GROUP BY run, arrival HAVING count(*) > 1"
    ),
}
"""What is wrong -> the statement that finds it: a key a row."""

_EMPTY = {
    "no run, as in a copy of the file alone while its search ran": "SELECT '-' WHERE NOT EXISTS (FROM runs)",
    "run without an evaluation, as in a copy of the file alone while its search ran": (
        "SELECT run FROM runs WHERE run NOT IN (SELECT run FROM evaluations)"
    ),
}
"""What is suspicious where no search is writing: a copy of the file without its log looks so."""

_EXAMPLES = 3

_NOT_ENDED = """
    SELECT r.run, (SELECT count(*) FROM evaluations AS e WHERE e.run = r.run AND outcome <> 'lost') AS evaluations
    FROM runs AS r
    WHERE NOT EXISTS (
        FROM events AS s WHERE s.run = r.run AND s.kind = 'searched' AND (
            s.arrival = 0  -- written before schema 7
            OR s.arrival > (SELECT max(arrival) FROM moves AS m WHERE m.run = r.run AND m.purpose = 'screen')
        )
    )
    ORDER BY r.rowid
"""


def verify(reader: Reader, idle: bool = False) -> Result:
    """Return (wrong, count, examples) for every kind of damage found; no rows for a sound archive.

    A single statement, so that all checks see one state of a running search. ``idle``: no search has
    the archive open, so that a run without evaluations is suspicious.
    """
    checks = {**_WRONG, **_EMPTY} if idle else _WRONG
    parts = (
        f"SELECT {place} AS place, '{wrong}' AS wrong, count(*) AS count, list(k)[1:{_EXAMPLES}] AS examples "
        f"FROM ({sql}) AS q(k)"
        for place, (wrong, sql) in enumerate(checks.items())
    )
    return reader.query(
        f"SELECT wrong, count, examples FROM ({' UNION ALL '.join(parts)}) WHERE count > 0 ORDER BY place"
    )


def not_ended(reader: Reader) -> list[tuple[str, int]]:
    """Return (run, evaluations) of the runs whose search has not come to its end."""
    return [(str(run), int(evaluations)) for run, evaluations in reader.query(_NOT_ENDED).rows]
