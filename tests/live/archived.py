"""How good a model's proposals were in whole searches: the table of ``proposals.py``, read from archives.

    python tests/live/archived.py night.duckdb [more.duckdb]

For each operator: how many proposals a model was asked for, how many of its first answers could be used, how many were
mended by the repair turn, what the others were refused for, how many of the programs got a score, and how many were
better than the better of their parents (`improved`), by more than two deviations of a difference (`beyond_noise`).
Tokens and seconds are means over calls. Screening scores only. The last line is one JSON object.
"""

from __future__ import annotations

import argparse
import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import duckdb
from judging import mean, reached, summary

from archive.storage import schema
from archive.storage.database import connect

Row = dict[str, Any]
NOISE = 2 * 2**0.5
_PROPOSALS = """
    SELECT c.run, c.move, any_value(c.operator) AS operator, count(*) AS turns,
           max(p.text) FILTER (c.turn = 1) AS second_prompt, any_value(r.reason) AS refused,
           any_value(n.node_id) AS node_id, any_value(n.idea) AS idea,
           any_value(e.outcome) AS fate, any_value(g.gain) AS gain, any_value(z.sigma) AS sigma,
           sum(c.tokens_in) AS tokens_in, sum(c.tokens_out) AS tokens_out, sum(c.seconds) AS seconds
    FROM llm_calls AS c
    LEFT JOIN sources AS p ON p.sha = c.prompt_sha
    LEFT JOIN refusals AS r ON r.run = c.run AND r.move = c.move
    LEFT JOIN nodes AS n ON n.run = c.run AND n.move = c.move
    LEFT JOIN (SELECT node_id, min_by(outcome, arrival) AS outcome FROM screenings GROUP BY node_id) AS e
        ON e.node_id = n.node_id
    LEFT JOIN gains AS g ON g.node_id = n.node_id
    LEFT JOIN noise AS z ON z.run = c.run
    WHERE c.outcome = 'answered'
    GROUP BY c.run, c.move ORDER BY c.run, c.move
"""
_TOLD = re.compile(r"\[user\]\nYour answer cannot be used: (.*?)\n\nDo not repeat it\.", re.DOTALL)
"""The reason in the repair turn (``operators/prompts/repair.md``)."""
_LAST = "one repair did not help: "


def proposals(path: Path) -> list[Row]:
    """What came of each proposal that a model was asked for and answered, and that was made into a node or refused."""
    connection = connect(path, read_only=True)
    schema.prepare_reading(connection, path)
    try:
        return _judged(connection)
    finally:
        connection.close()


def _judged(connection: duckdb.DuckDBPyConnection) -> list[Row]:
    asked = connection.execute(_PROPOSALS)
    names = [column[0] for column in asked.description or ()]
    rows = []
    for values in asked.fetchall():
        row = dict(zip(names, values, strict=True))
        if row["node_id"] is None and row["refused"] is None:
            continue  # the search ended before the answer was used
        told = _told(row)
        drawn = (row["idea"] or "").partition("; conflicts drawn: ")[2]  # a crossover goes on without the model
        refused = drawn or row["refused"]
        row["first"] = reached(told or refused)
        row["reason"] = refused.rpartition(_LAST)[2] if refused else None
        row["last"], row["told"] = reached(row["reason"]), told or row["reason"]
        rows.append(row)
    return rows


def _told(row: Mapping[str, Any]) -> str | None:
    found = _TOLD.findall(row["second_prompt"] or "")
    return found[-1] if found else None


def figures(rows: Sequence[Row]) -> Row:
    made = [row for row in rows if "accepted" in row["last"]]
    calls = sum(row["turns"] for row in rows)
    compared = [row for row in made if row["gain"] is not None]
    return {
        "proposals": len(rows),
        **{f"first_{stage}": sum(stage in row["first"] for row in rows) for stage in ("read", "applied", "parsed")},
        "first_accepted": sum("accepted" in row["first"] for row in rows),
        "repairs": sum(row["turns"] > 1 for row in rows),
        "repairs_that_helped": sum(row["turns"] > 1 for row in made),
        "accepted": len(made),
        "ran": sum(row["fate"] == "scored" for row in made),
        "trained": sum(row["fate"] is not None for row in made),
        "improved": sum(row["gain"] > 0 for row in compared),
        "beyond_noise": sum(row["gain"] > NOISE * (row["sigma"] or 0.0) for row in compared),
        "calls": calls,
        "tokens_in": round(sum(row["tokens_in"] or 0 for row in rows) / calls, 1) if calls else None,
        "tokens_out": round(sum(row["tokens_out"] or 0 for row in rows) / calls, 1) if calls else None,
        "seconds": mean(row["seconds"] / row["turns"] for row in rows),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("archives", nargs="+", type=Path, help="files in which searches with a model are")
    print(json.dumps(summary([row for path in parser.parse_args().archives for row in proposals(path)], figures)))


if __name__ == "__main__":
    main()
