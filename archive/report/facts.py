"""The data of the report: plain JSON values, read from an archive by SQL in bounded parts.

Scores are comparable screening scores on val; of the claim only the reason of the verdict is included. Times are hours
since the start of the run's first evaluation.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from archive.query.ablations import ablations
from archive.query.query import Reader, held
from archive.query.questions import (
    KNOWN,
    PART,
    RANKED_OUT,
    TRUST,
    holdout_reads,
    known_in_words,
    last_verdict,
    parts,
    rows,
    trust_in_words,
    which_run,
)
from archive.query.tables import one_line
from archive.report.costs import costs
from archive.report.layout import kept_steps, score_range
from archive.report.lessons import learned
from archive.report.now import now, runs

_CASES = 20
"""Cases of the best node that are shown: those with the smallest gains."""
_IDEA = 300
_REASON = 300


def gather(reader: Reader, run: str | None = None) -> dict[str, Any]:
    """Return the data of a run (default: the most recently active one), without those of single nodes (``details``).

    Raises QueryError if there is no such run, or no run at all.
    """
    with held(reader) as one:
        return _gathered(one, which_run(one, run))


def _gathered(reader: Reader, name: str) -> dict[str, Any]:
    (summary,) = rows(reader, "SELECT * FROM run_summary WHERE run = ?", [name])
    nodes = _nodes(reader, name)
    place = {node_id: i for i, node_id in enumerate(nodes["id"])}
    facts: dict[str, Any] = {
        "run": {**summary, "unit": _unit(reader, name), "conditions": _conditions(reader, name)},
        "nodes": nodes,
        "experiments": _experiments(reader, name, place),
        "verdict": _verdict(reader, name),
        "operators": rows(reader, _OPERATORS, [name]),
        "models": rows(reader, "SELECT * EXCLUDE (run) FROM model_stats WHERE run = ?", [name]),
        "spending": rows(reader, "SELECT * EXCLUDE (run) FROM spending WHERE run = ?", [name]),
        "failures": rows(
            reader,
            "SELECT outcome, count(*) AS count FROM failures WHERE run = ? AND purpose = 'screen' "
            "GROUP BY ALL ORDER BY ALL",
            [name],
        ),
        **_sigma(reader, name),
        "holdout_reads": holdout_reads(reader, name),
        "has_curves": bool(reader.query(_HAS_CURVES, [name]).rows),
    }
    best = (facts["verdict"] or {}).get("node") or summary["leader"]
    facts["lineage"] = _lineage(reader, best, place)
    facts["cases"] = _cases(reader, best)
    facts["costs"] = costs(reader, name, place, nodes["suspect"])
    facts["now"] = now(reader, name, place)
    facts["runs"] = runs(reader)
    facts["ablations"] = [_placed(found, place) for found in ablations(reader, name)]
    facts["lessons"] = learned(facts)
    facts["kept"] = kept_steps(facts["experiments"], summary["direction"])
    facts["range"] = score_range(
        facts["experiments"], summary["direction"], nodes["score"][0] if nodes["score"] else None
    )
    return facts


_HAS_CURVES = "SELECT 1 FROM curves AS c JOIN nodes AS n ON n.node_id = c.node_id WHERE n.run = ? LIMIT 1"

# ---------------------------------------------------------------- nodes

_OPERATORS = "SELECT * EXCLUDE (run, suspect) FROM operator_stats WHERE run = ?"
"""Query without the suspects, among which the view counts candidates over a limit: those are failures."""

_NODES = f"""
SELECT n.node_id, n.operator, n.idea, n.lines, s.score, s.runs, s.deviation, g.gain, t.outcome, t.reason, c.seconds,
       c.evaluations, k.dollars, k.tokens, x.because AS suspect, x.suspicion,
       (SELECT list(p.parent_id ORDER BY p.place) FROM parents AS p WHERE p.node_id = n.node_id) AS parents
FROM (SELECT * FROM nodes WHERE run = ? AND number BETWEEN ? AND ?) AS n
LEFT JOIN scores AS s ON s.node_id = n.node_id AND s.run = n.run
LEFT JOIN gains AS g ON g.node_id = n.node_id AND g.run = n.run
LEFT JOIN (
    SELECT node_id, arg_max(outcome, arrival) AS outcome, arg_max(reason, arrival) AS reason
    FROM evaluations WHERE purpose = 'screen' GROUP BY node_id
) AS t ON t.node_id = n.node_id
LEFT JOIN (
    SELECT node_id, sum(seconds) AS seconds, count(*) AS evaluations FROM evaluations GROUP BY node_id
) AS c ON c.node_id = n.node_id
LEFT JOIN (
    SELECT run, move, sum(dollars) AS dollars, sum(tokens_in + tokens_out)::BIGINT AS tokens FROM llm_calls GROUP BY ALL
) AS k ON k.run = n.run AND k.move = n.move
LEFT JOIN (
    SELECT node_id, any_value(because) AS because,
           CASE WHEN any_value(origin) <> node_id THEN 'descends'
                WHEN node_id IN (SELECT node_id FROM violations WHERE cheats) THEN 'cheats'
                ELSE 'invalid' END AS suspicion
    FROM suspects WHERE {RANKED_OUT} GROUP BY node_id
) AS x ON x.node_id = n.node_id
ORDER BY n.number"""


_COLUMNS = (
    "suspect", "suspicion", "score", "runs", "deviation", "gain", "lines", "seconds", "evaluations", "dollars",
    "tokens",
)  # fmt: skip


def _nodes(reader: Reader, run: str) -> dict[str, list[Any]]:
    """Return columns over the run's nodes in order of their numbers; ``parents`` are positions in these columns."""
    last = int(reader.query("SELECT coalesce(max(number), -1) FROM nodes WHERE run = ?", [run]).rows[0][0])
    found = list(parts(reader, _NODES, run, last))
    place = {row["node_id"]: i for i, row in enumerate(found)}
    parents = [[place[parent] for parent in row["parents"] or () if parent in place] for row in found]
    return {
        "id": [row["node_id"] for row in found],
        "parents": parents,
        "operator": [one_line(row["operator"], 40) for row in found],
        "idea": [one_line(row["idea"], _IDEA) for row in found],
        "reason": [one_line(row["reason"] or "", _REASON) for row in found],
        "state": [_state(row) for row in found],
        **{name: [row[name] for row in found] for name in _COLUMNS},
    }


def _state(row: Mapping[str, Any]) -> str:
    if row["score"] is not None:
        return "scored"
    return row["outcome"] if row["outcome"] not in (None, "scored") else "waiting"


def _lineage(reader: Reader, node_id: str | None, place: Mapping[str, int]) -> list[int]:
    if node_id is None:
        return []
    family = reader.query("SELECT node_id FROM lineage(?)", [node_id]).rows
    return [place[str(each)] for (each,) in family if str(each) in place]


def _cases(reader: Reader, node_id: str | None) -> dict[str, Any]:
    """Return the best node's screening scores by case beside the root's, the smallest gains first, with counts."""
    sql = """
    SELECT c.case_name AS case, root.value AS seed_program, c.value AS best, c.gain_on_root AS gain
    FROM cases AS c
    LEFT JOIN cases AS root ON root.run = c.run AND root.case_name = c.case_name
         AND root.node_id = (SELECT node_id FROM nodes WHERE run = c.run AND number = 0)
    WHERE c.node_id = ? ORDER BY gain, c.case_name"""
    found = rows(reader, sql, [node_id]) if node_id is not None else []
    gains = [row["gain"] or 0.0 for row in found]
    return {
        "rows": [{**row, "case": one_line(row["case"], 60)} for row in found[:_CASES]],
        "count": len(found), "better": sum(gain > 0 for gain in gains), "worse": sum(gain < 0 for gain in gains),
    }  # fmt: skip


def _placed(ablation: Mapping[str, Any], place: Mapping[str, int]) -> dict[str, Any]:
    """Return an ablation with positions in place of node ids; parts of an agent have a name and None as the node."""
    steps = [
        {**step, "node": place.get(step["node"]), "part": step["node"], "idea": one_line(step["idea"], _IDEA)}
        for step in ablation["steps"]
    ]
    return {**ablation, "node": place[ablation["node"]], "steps": steps}


# ---------------------------------------------------------------- the rest


def _experiments(reader: Reader, run: str, place: Mapping[str, int]) -> list[list[Any]]:
    """Return [node's position, score or null, hours, best mean so far] of every screening, in order of arrival."""
    sql = (
        "SELECT node_id, score, hours, best FROM progress WHERE run = ? AND evaluation BETWEEN ? AND ? "
        "ORDER BY evaluation"
    )
    found: list[list[Any]] = []
    while part := rows(reader, sql, [run, len(found) + 1, len(found) + PART]):
        found += [[place[row["node_id"]], row["score"], row["hours"], row["best"]] for row in part]
    return found


def _unit(reader: Reader, run: str) -> str:
    (row,) = rows(reader, "SELECT config->>'$.task.metric.unit' AS unit FROM runs WHERE run = ?", [run])
    return str(row["unit"] or "")


def _conditions(reader: Reader, run: str) -> dict[str, Any]:
    found = rows(reader, "SELECT * EXCLUDE (run) FROM present_conditions WHERE run = ?", [run])
    return {**(found[0] if found else {}), "trust": trust_in_words(reader.query(TRUST, [run]).rows)}


def _verdict(reader: Reader, run: str) -> dict[str, Any] | None:
    found = last_verdict(reader, run)
    if found is None:
        return None
    known = known_in_words(reader.query(KNOWN, [run]).rows)
    reason = one_line(found["reason"], 1000) + (f". {known}" if known else "")
    return {"kind": found["kind"], "node": found["node_id"], "reason": reason}


def _sigma(reader: Reader, run: str) -> dict[str, float | None]:
    """Return the seed deviation of a score with its interval; None before any node ran twice."""
    found = rows(reader, "SELECT sigma, low AS sigma_low, high AS sigma_high FROM noise WHERE run = ?", [run])
    return found[0] if found else dict.fromkeys(("sigma", "sigma_low", "sigma_high"))
