"""Calls of language models for the page: one row each, and their prompts and answers as they were.

Prompts quote candidates and answers are a model's: all of it is untrusted, and shown as text.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from archive.query.query import Reader
from archive.query.questions import PART, best_lineage, rows
from archive.query.tables import one_line
from prepare.output import printable

_CALLS = 4_000
"""Calls that are listed: those of the leader's lineage, then the latest."""
_TEXT = 60_000
"""Characters of a prompt or an answer that are shown: its beginning and its end."""
_CLAIM = "not shown: from a run of the claim"
_COLUMNS = ("move", "turn", "node", "operator", "aim", "model", "outcome", "reason", "tokens_in", "tokens_out")
_COSTS = ("seconds", "dollars")


def calls(reader: Reader, run: str) -> dict[str, Any]:
    """Return the calls as columns; ``count``: of all calls, of which at most ``_CALLS`` are listed."""
    kin = best_lineage(reader, run)
    led = f"node_id IS NOT NULL AND node_id IN ({', '.join(['?'] * len(kin)) or 'NULL'})"
    sql = f"""
    SELECT move, turn, node_id AS node, purpose AS operator, aim, model, outcome, left(reason, 300) AS reason,
           tokens_in, tokens_out, round(seconds, 2) AS seconds, dollars, count(*) OVER () AS count
    FROM calls WHERE run = ? ORDER BY coalesce({led}, false) DESC, move DESC, turn, called_at LIMIT ? OFFSET ?"""
    found: list[dict[str, Any]] = []
    while len(found) < _CALLS and (part := rows(reader, sql, [run, *kin, min(PART, _CALLS - len(found)), len(found)])):
        found += part
    for row in found:
        row.update({name: one_line(row[name] or "", 300) for name in ("operator", "aim", "model", "reason")})
    return {
        "count": found[0]["count"] if found else 0,
        **{name: [row[name] for row in found] for name in (*_COLUMNS, *_COSTS)},
    }


def texts(reader: Reader, run: str, moves: Sequence[int]) -> dict[int, list[dict[str, Any]]]:
    """Return prompt and answer of each call of some moves, in the order of a move's calls, at most 50 of each.

    Those of an agent in a claim's move are not shown: they quote the items that the claim is judged on.
    """
    sql = f"""
    SELECT c.move, c.turn, c.model, if(m.purpose <> 'screen', '{_CLAIM}', {_shown("p")}) AS prompt,
           if(m.purpose <> 'screen', '{_CLAIM}', {_shown("a")}) AS answer
    FROM calls AS c LEFT JOIN moves AS m ON m.run = c.run AND m.move = c.move
    LEFT JOIN sources AS p ON p.sha = c.prompt_sha LEFT JOIN sources AS a ON a.sha = c.answer_sha
    WHERE c.run = ? AND c.move IN ({", ".join(["?"] * len(moves))})
    QUALIFY row_number() OVER (PARTITION BY c.move ORDER BY c.turn, c.called_at) <= 50
    ORDER BY c.move, c.turn, c.called_at"""
    found: dict[int, list[dict[str, Any]]] = {move: [] for move in moves}
    for row in rows(reader, sql, [run, *moves]):
        shown = {name: printable(row[name]) for name in ("prompt", "answer")}
        found[row.pop("move")].append({**row, "model": one_line(row["model"], 120), **shown})
    return found


def _shown(source: str) -> str:
    """Return SQL for a text, or for its beginning and end with the number of characters between them."""
    text, half = f"coalesce({source}.text, '')", _TEXT // 2
    between = f"printf('\n... %d more characters ...\n', len({text}) - {2 * half})"
    return f"if(len({text}) <= {_TEXT}, {text}, concat(left({text}, {half}), {between}, right({text}, {half})))"


def moves_in_order(listed: dict[str, Any]) -> Iterator[int]:
    """Yield the moves of the listed calls once each, in the order of the list."""
    yield from dict.fromkeys(listed["move"])
