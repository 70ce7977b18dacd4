"""Data of single nodes for the page: diff to the first parent, curve, tail of the log, evaluations, scores by case.

All of it was written by a candidate or a model. It is truncated, stripped of control characters, and shown as text.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from patiencediff import PatienceSequenceMatcher

from archive.query.query import Reader
from archive.query.questions import rows
from archive.query.texts import Texts, chunks
from prepare.output import printable

_DIFF_LINES = 400
_LOG = 1500
_POINTS = 80
_CONTEXT = 3
SHOWN_CASES = 40
"""Cases shown of a node at first, the first by name."""
_MOST_CASES = 5_000
_AT_ONCE = 200
"""Nodes whose cases are read at once: times ``SHOWN_CASES``, below the cap of a query's rows."""
_FEEDBACK = 300
_PROGRAM = 400_000
"""Characters: longer programs are compared by ``python -m archive diff``."""
_CERTIFICATE = 20_000
"""Characters: longer ones are printed by ``python -m archive certificate ID``."""


def details(reader: Reader, ids: Sequence[str], parents: Sequence[Sequence[int]]) -> Iterator[dict[str, Any]]:
    """Return an object per node, in the order of ``ids``. ``parents``: positions of each node's parents in ``ids``."""
    texts = Texts(reader)
    for first in range(0, len(ids), 500):
        part = ids[first : first + 500]
        curves, evaluations, cases = _curves(reader, part), _evaluations(reader, part), _cases(reader, part)
        certificates = _certificates(reader, part)
        texts.fetch([*part, *(ids[p[0]] for p in parents[first : first + 500] if p)])
        for offset, node_id in enumerate(part):
            above = parents[first + offset]
            changed = _changes(texts.of(ids[above[0]]), texts.of(node_id)) if above else []
            yield {
                "diff": _joined(changed),
                "cut": max(0, len(changed) - _DIFF_LINES),
                "curve": curves.get(node_id, []),
                "evaluations": evaluations.get(node_id, []),
                "cases": cases.get(node_id, []),
                "certificate": certificates.get(node_id, ""),
            }


def diff(before: Mapping[str, str], after: Mapping[str, str]) -> str:
    """Return a unified diff of all files, cut after some hundred lines."""
    return _joined(_changes(before, after))


def program(reader: Reader, node_id: str) -> dict[str, list[str]] | None:
    """Return the lines of each file of a node, as in the diffs; None if there is no such node or it is very long."""
    texts = Texts(reader)
    texts.fetch([node_id])
    files = texts.of(node_id)
    if not files or sum(map(len, files.values())) > _PROGRAM:
        return None
    return {path: [printable(line) for line in text.splitlines()] for path, text in files.items()}


def all_cases(reader: Reader, node_id: str) -> dict[str, list[Any]] | None:
    """Return the names and the mean screening scores of all cases of a node; None if it has none."""
    sql = f"SELECT case_name, value FROM cases WHERE node_id = ? ORDER BY case_name LIMIT {_MOST_CASES}"
    found = rows(reader, sql, [node_id])
    if not found:
        return None
    return {"names": [printable(row["case_name"]) for row in found], "values": [row["value"] for row in found]}


def _changes(before: Mapping[str, str], after: Mapping[str, str]) -> list[str]:
    """Return the lines of a unified diff of all files."""
    lines: list[str] = []
    for path in sorted({*before, *after}):
        old, new = before.get(path, ""), after.get(path, "")
        if old != new:
            lines += [f"--- {path}", f"+++ {path}", *_changed(old.splitlines(), new.splitlines())]
    return lines


def _joined(lines: Sequence[str]) -> str:
    if len(lines) > _DIFF_LINES:
        lines = [*lines[:_DIFF_LINES], f"... {len(lines) - _DIFF_LINES} more lines"]
    return printable("\n".join(lines))


def _changed(old: list[str], new: list[str]) -> Iterator[str]:
    """Return the hunks. Equal lines at both ends are skipped first: most children differ in one place."""
    head = 0
    while head < min(len(old), len(new)) and old[head] == new[head]:
        head += 1
    tail = 0
    while tail < min(len(old), len(new)) - head and old[-1 - tail] == new[-1 - tail]:
        tail += 1
    first = max(0, head - _CONTEXT)
    old_part = old[first : len(old) - max(0, tail - _CONTEXT)]
    new_part = new[first : len(new) - max(0, tail - _CONTEXT)]
    for group in PatienceSequenceMatcher(None, old_part, new_part).get_grouped_opcodes(_CONTEXT):
        (_, i1, _, j1, _), (_, _, i2, _, j2) = group[0], group[-1]
        yield f"@@ -{first + i1 + 1},{i2 - i1} +{first + j1 + 1},{j2 - j1} @@"
        for tag, a, b, c, d in group:
            if tag == "equal":
                yield from (f" {line}" for line in old_part[a:b])
            else:
                yield from (f"-{line}" for line in old_part[a:b])
                yield from (f"+{line}" for line in new_part[c:d])


def _curves(reader: Reader, ids: Sequence[str]) -> dict[str, list[list[float]]]:
    """Return [seconds, loss] of each node's first screening, thinned to ``_POINTS``; reported by the candidate."""
    marks = ", ".join("?" * len(ids))
    sql = f"""
    WITH numbered AS (
        SELECT c.node_id, c.elapsed, c.loss, row_number() OVER w AS place, count(*) OVER (PARTITION BY c.node_id) AS n
        FROM curves AS c
        JOIN (
            SELECT node_id, arg_min(seed, arrival) AS seed FROM evaluations WHERE purpose = 'screen' GROUP BY node_id
        ) AS f ON f.node_id = c.node_id AND f.seed = c.seed
        WHERE c.purpose = 'screen' AND c.node_id IN ({marks})
        WINDOW w AS (PARTITION BY c.node_id ORDER BY c.step)
    )
    SELECT node_id, list([round(elapsed, 3), loss] ORDER BY place) AS points
    FROM numbered WHERE place = 1 OR place = n OR place % greatest(1, n // {_POINTS}) = 0 GROUP BY node_id"""
    found: dict[str, list[list[float]]] = {}
    for some in chunks(ids, 500):
        found |= {row["node_id"]: row["points"] for row in rows(reader, sql, some)}
    return found


def _evaluations(reader: Reader, ids: Sequence[str]) -> dict[str, list[dict[str, Any]]]:
    """Return the evaluations of each node. Reasons, logs and scores of claim runs are left out, as in all views."""
    marks = ", ".join("?" * len(ids))
    sql = f"""
    SELECT node_id, purpose, seed::VARCHAR AS seed, outcome, if(split = 'val', score, NULL) AS score, trust, sandbox,
           round(seconds, 2) AS seconds, round(wall_seconds, 2) AS wall, steps, round(peak_memory_mb) AS memory_mb,
           if(purpose = 'screen', reason, NULL) AS reason,
           if(purpose = 'screen' AND outcome <> 'scored', right(log, {_LOG}), '') AS log
    FROM evaluations WHERE node_id IN ({marks}) ORDER BY arrival"""
    found: dict[str, list[dict[str, Any]]] = {}
    for some in chunks(ids, 500):
        for row in rows(reader, sql, some):
            node_id = row.pop("node_id")
            row["log"], row["reason"] = printable(row["log"]), printable(row["reason"] or "")[:1000]
            found.setdefault(node_id, []).append(row)
    return found


def _cases(reader: Reader, ids: Sequence[str]) -> dict[str, list[dict[str, Any]]]:
    """Return the scores by case of each node, with what the scorer said of it in the last screening."""
    found: dict[str, list[dict[str, Any]]] = {}
    for some in chunks(ids, _AT_ONCE):
        for row in rows(reader, _cases_of(len(some)), some):
            node_id = row.pop("node_id")
            shown = {name: printable(row[name]) for name in ("case", "feedback")}
            found.setdefault(node_id, []).append(row | shown)
    return found


def _cases_of(count: int) -> str:
    marks = ", ".join(f"${place}" for place in range(1, count + 1))
    return f"""
    WITH said AS (
        SELECT c.node_id, c.case_name, arg_max(c.feedback, s.arrival) AS feedback,
               arg_max(c.ending, s.arrival) AS ending
        FROM case_scores AS c JOIN screenings AS s USING (node_id, seed)
        WHERE c.purpose = 'screen' AND c.node_id IN ({marks}) GROUP BY ALL
    )
    SELECT node_id, case_name AS case, value, best, gain_on_root AS gain, ending,
           left(feedback, {_FEEDBACK}) AS feedback
    FROM cases JOIN said USING (node_id, case_name) WHERE node_id IN ({marks})
    QUALIFY row_number() OVER (PARTITION BY node_id ORDER BY case_name) <= {SHOWN_CASES} ORDER BY node_id, case_name"""


def _certificates(reader: Reader, ids: Sequence[str]) -> dict[str, str]:
    """Return the certificate of each node's last screening that has one, if it is short."""
    marks = ", ".join("?" * len(ids))
    sql = f"""
    SELECT e.node_id, arg_max(s.text, e.arrival) AS text
    FROM evaluations AS e JOIN sources AS s ON s.sha = e.certificate_sha
    WHERE e.purpose = 'screen' AND len(s.text) <= {_CERTIFICATE} AND e.node_id IN ({marks}) GROUP BY e.node_id"""
    return {row["node_id"]: printable(row["text"]) for row in rows(reader, sql, ids)}
