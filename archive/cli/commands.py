"""Queries behind the commands of ``python -m archive``; each returns a table or a text."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from archive.errors import QueryError
from archive.query.query import Reader
from archive.query.questions import full_id, which_run
from archive.query.select import Result
from archive.query.tables import cell, plain
from prepare.command_line import command
from prepare.output import many, printable


def leaderboard(reader: Reader, run: str | None, limit: int) -> Result:
    """Return the best nodes of a run (default: the most recently active one)."""
    # The view, with the limit before the joins: that halves the time.
    sql = """
        WITH board AS MATERIALIZED (
            SELECT s.run, s.node_id, s.score, s.runs, q.because AS suspect,
                   if(r.direction = 'minimise', 1, -1) AS sign
            FROM scores AS s JOIN runs AS r USING (run) LEFT JOIN suspects AS q ON q.node_id = s.node_id
            WHERE s.run = $1 ORDER BY suspect IS NOT NULL, sign * s.score, s.scored_at LIMIT $2
        )
        SELECT if(suspect IS NULL, rank() OVER (ORDER BY suspect IS NOT NULL, sign * b.score), NULL) AS place,
               b.node_id, b.score, b.runs, sign * root.score - sign * b.score AS gain_on_root,
               n.operator, n.idea, suspect
        FROM board AS b JOIN nodes AS n USING (node_id) LEFT JOIN baselines AS root ON root.run = b.run
        ORDER BY suspect IS NOT NULL, sign * b.score, n.number
    """
    return reader.query(sql, [which_run(reader, run), limit])


def lineage(reader: Reader, start: str) -> Result:
    """Return a node's ancestors and the node, parents before children."""
    return reader.query(
        "SELECT node_id, operator, parents, score, runs, gain, idea, suspect FROM lineage(?)", [full_id(reader, start)]
    )


def runs(reader: Reader) -> Result:
    """Return a row per run, the oldest first."""
    return reader.query("SELECT * FROM run_summary")


def events(reader: Reader, run: str | None, limit: int) -> Result:
    """Return the last ``limit`` events of a run, oldest first."""
    sql = (
        "SELECT happened_at, kind, node_id, message FROM "
        "(SELECT *, rowid AS place FROM events WHERE run = ? ORDER BY rowid DESC LIMIT ?) ORDER BY place"
    )
    return reader.query(sql, [which_run(reader, run), limit])


# ---------------------------------------------------------------- show, certificate

_WORST = 5
"""Cases that ``show`` lists."""

_CASES = """
    WITH said AS (
        SELECT c.case_name, arg_max(c.feedback, s.arrival) AS feedback, arg_max(c.ending, s.arrival) AS ending
        FROM case_scores AS c JOIN screenings AS s USING (node_id, seed)
        WHERE c.purpose = 'screen' AND c.node_id = $1 GROUP BY c.case_name
    )
    SELECT case_name, value, best, gain_on_root, evaluations, ending, feedback
    FROM cases JOIN said USING (case_name) JOIN runs USING (run)
    WHERE node_id = $1 ORDER BY if(direction = 'minimise', -value, value), case_name
"""
"""A node's cases, the worst first."""

_CERTIFICATE = """
    SELECT s.text FROM evaluations AS e JOIN sources AS s ON s.sha = e.certificate_sha JOIN runs AS r USING (run)
    WHERE e.node_id = ? AND e.purpose = 'screen'
    ORDER BY if(r.direction = 'minimise', e.score, -e.score), e.arrival LIMIT 1
"""


def node_facts(reader: Reader, start: str) -> dict[str, Any]:
    """Return everything about a node as plain JSON values, without scores on a claim's splits (see ``views.sql``)."""
    node_id = full_id(reader, start)

    def rows(sql: str) -> list[dict[str, Any]]:
        result = reader.query(sql, [node_id])
        return [dict(zip(result.columns, map(plain, row), strict=True)) for row in result.rows]

    (facts,) = rows("SELECT node_id, run, number, move, operator, idea, lines, created_at FROM nodes WHERE node_id = ?")
    # The last row is the node itself.
    facts |= rows("SELECT score, runs, deviation, suspect FROM ancestry([?]) ORDER BY number DESC LIMIT 1")[0]
    facts["parents"] = [
        row["parent_id"] for row in rows("SELECT parent_id FROM parents WHERE node_id = ? ORDER BY place")
    ]
    facts["children"] = [
        row["node_id"]
        for row in rows(
            "SELECT node_id FROM nodes WHERE node_id IN (SELECT node_id FROM parents WHERE parent_id = ?) "
            "ORDER BY number"
        )
    ]
    facts["evaluations"] = rows(
        "SELECT purpose, seed::VARCHAR AS seed, outcome, if(split = 'val', score, NULL) AS score, trust, seconds, "
        "steps, device, hardware, if(purpose = 'screen', reason, NULL) AS reason, "
        "if(purpose = 'screen', right(log, 2000), '') AS log, finished_at "
        "FROM evaluations WHERE node_id = ? ORDER BY arrival, finished_at"
    )
    facts["cases"] = rows(_CASES)
    facts["decisions"] = rows("SELECT kind, reason, decided_at FROM decisions WHERE node_id = ? ORDER BY arrival")
    facts["files"] = {
        row["path"]: row["text"] for row in rows("SELECT path, text FROM programs WHERE node_id = ? ORDER BY path")
    }
    return facts


def node_text(facts: dict[str, Any]) -> str:
    """Format ``node_facts`` as text."""
    score = "none yet" if facts["score"] is None else f"{facts['score']:.6g} on val, {many(facts['runs'], 'run')}"
    lines = [
        f"node      {facts['node_id']} (number {facts['number']} of run {cell(facts['run'])})",
        f"operator  {cell(facts['operator'])}",
        f"parents   {', '.join(facts['parents']) or 'none: the seed program'}",
        f"children  {', '.join(facts['children']) or 'none'}",
        f"idea      {cell(facts['idea'], 2000)}",
        f"made      {facts['created_at']} UTC",
        f"score     {score}",
    ]
    if facts["suspect"] is not None:
        lines.append(f"suspect   {cell(facts['suspect'], 300)}: its scores count for nothing")
    lines += [f"decision  {row['kind']}: {cell(row['reason'], 300)}" for row in facts["decisions"]]
    for row in facts["evaluations"]:
        result = f"{row['score']:.6g}" if row["score"] is not None else row["outcome"]
        why = f": {cell(row['reason'], 300)}" if row["reason"] else ""
        lines.append(
            f"{row['purpose']:<8}  {result}{why} (seed {row['seed']}, {row['seconds']:.1f} s on {cell(row['device'])}, "
            f"{row['trust']})"
        )
        if row["outcome"] != "scored" and row["log"].strip():
            lines += [f"          | {line}" for line in printable(row["log"]).splitlines()[-15:]]
    lines += _case_lines(facts)
    for path, text in facts["files"].items():
        lines += ["", f"---- {cell(path)}", printable(text)]
    return "\n".join(lines).rstrip("\n")


def _case_lines(facts: dict[str, Any]) -> Iterator[str]:
    """Yield the worst cases with their gains on the root and what the scorer said of them last."""
    for row in facts["cases"][:_WORST]:
        gain = "" if row["gain_on_root"] is None else f", {row['gain_on_root']:+.4g} on the root"
        said = f": {cell(row['feedback'], 300)}" if row["feedback"] else ""
        yield f"case      {cell(row['case_name'], 60)}: {row['value']:.6g} (best {row['best']:.6g}{gain}){said}"
    if (more := len(facts["cases"]) - _WORST) > 0:
        yield f"          and {many(more, 'better case')}"


def certificate(reader: Reader, start: str) -> str:
    """Return the JSON that proves the score of the node's best screening. Raises QueryError if there is none."""
    node_id = full_id(reader, start)
    found = reader.query(_CERTIFICATE, [node_id]).rows
    if not found:
        raise QueryError(
            f"node {node_id[:8]} has no certificate: the task's scorer returned none (prepare.Score(certificate=...)) "
            f"with a score of this node. See what it has: {command('archive')} show {node_id[:8]}"
        )
    return str(found[0][0])


# ---------------------------------------------------------------- two nodes, several runs


def difference(reader: Reader, a: str, b: str) -> str:
    """Return the unified diff between the files of two nodes, or a sentence if they are equal."""
    import difflib  # its import takes as long as a query

    ids = full_id(reader, a), full_id(reader, b)
    old, new = ({str(path): str(text) for path, text in _files(reader, node_id)} for node_id in ids)
    lines: list[str] = []
    for path in sorted(old.keys() | new.keys()):
        before, after = (files.get(path, "").splitlines() for files in (old, new))
        names = [f"{node_id[:8]}/{cell(path)}" for node_id in ids]
        lines += difflib.unified_diff(before, after, names[0], names[1], lineterm="")
    return printable("\n".join(lines)) or f"{ids[0][:8]} and {ids[1][:8]} have the same text"


def _files(reader: Reader, node_id: str) -> list[tuple[Any, ...]]:
    return reader.query("SELECT path, text FROM programs WHERE node_id = ?", [node_id]).rows


def compare(reader: Reader, names: Sequence[str]) -> Result:
    """Return runs side by side: a column per run, a row per column of ``run_summary``."""
    known = [which_run(reader, name) for name in names]
    found = reader.query(f"FROM run_summary WHERE run IN ({', '.join('?' * len(known))})", known)
    by_name = {row[0]: row for row in found.rows}
    rows = [(fact, *(by_name[name][place] for name in known)) for place, fact in enumerate(found.columns) if place]
    return Result(("fact", *known), rows)


# ---------------------------------------------------------------- what happens now

_SOURCES = {
    "events": "SELECT happened_at, kind, node_id, message FROM events WHERE run = ?",
    "decisions": "SELECT decided_at, kind, node_id, reason FROM decisions WHERE run = ?",
    # Scores and reasons of a claim's runs are for its verdict: see views.sql.
    "evaluations": (
        "SELECT finished_at, outcome, node_id, CASE WHEN purpose <> 'screen' THEN purpose || ' run' "
        "WHEN score IS NULL THEN reason ELSE 'score ' || format('{:.6g}', score) END FROM evaluations WHERE run = ?"
    ),
}
"""Table -> query for (time, kind, node, text) of its rows, in the order of writing."""


@dataclass(frozen=True)
class Happening:
    """An event, a decision or an evaluation of a run."""

    at: datetime
    kind: str
    node_id: str | None
    words: str

    def __str__(self) -> str:
        return f"{self.at:%H:%M:%S}  {cell(self.kind):<12}  {(self.node_id or '-')[:8]:<8}  {cell(self.words, 200)}"

    def facts(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return {"at": plain(self.at), "kind": self.kind, "node_id": self.node_id, "words": self.words}


def follow(reader: Reader, run: str, last: int, wait: Callable[[], bool]) -> Iterator[Happening]:
    """Yield the ``last`` so far, then new ones, until ``wait()``, called between two polls, returns False."""
    seen = dict.fromkeys(_SOURCES, 0)
    found = _news(reader, run, seen)
    yield from found[len(found) - min(last, len(found)) :]
    while wait():
        yield from _news(reader, run, seen)


def _news(reader: Reader, run: str, seen: dict[str, int]) -> list[Happening]:
    """Return what was recorded since ``seen``, and advance it."""
    rows: list[tuple[Any, ...]] = []
    for source, sql in _SOURCES.items():
        while fresh := reader.query(f"{sql} LIMIT 5000 OFFSET {seen[source]}", [run]).rows:
            seen[source] += len(fresh)
            rows += fresh
    rows.sort(key=lambda row: row[0])
    return [Happening(*row) for row in rows]
