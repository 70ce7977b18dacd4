"""Codes of rows that were written before schema 6, when code decided on the sentences beside them.

Each expression reads one old row. The migration to schema 6 stores its value, a reader of an older file computes it; so
both answer alike. The sentences quoted here are those of schema 5 and must not follow later changes of the wording.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

SINCE = 6
"""The schema that has these columns."""

_VERDICT = """CASE WHEN kind = 'champion' THEN 'improvement' WHEN kind = 'no_champion' THEN CASE
    WHEN starts_with(reason, 'no improvement beyond noise: no node has a better screening mean') THEN 'none_better'
    WHEN starts_with(reason, 'no improvement beyond noise: ') THEN 'within_noise'
    WHEN starts_with(reason, 'no claim: the root has no score') THEN 'root_unscored'
    WHEN starts_with(reason, 'no claim: no finalist is left') THEN 'no_finalist'
    WHEN starts_with(reason, 'no claim: ') THEN 'no_interval' END END"""

_TOKENS = r"TRY_CAST(regexp_extract(message, '\(.*budget\.tokens=([0-9]+).*\): ', 1) AS BIGINT)"
_DOLLARS = r"TRY_CAST(regexp_extract(message, '\(.*budget\.dollars=([-+.0-9e]+).*\): ', 1) AS DOUBLE)"
_MODEL = r"regexp_matches(message, '^The (tokens|dollars|tokens or dollars) for searching are used \(budget\.')"
_BY_BUDGET = f"""(coalesce(contains(message, format('the cap of {{:,}} tokens', {_TOKENS})), false)
    OR coalesce(contains(message, printf('the cap of $%.2f', {_DOLLARS})), false))"""

_EVENT = f"""CASE kind WHEN 'searched' THEN CASE
    WHEN starts_with(message, 'The search stopped: ') THEN 'stopped'
    WHEN starts_with(message, 'The target of ') THEN 'target'
    WHEN message = 'The evaluations for searching are used.' THEN 'evaluations'
    WHEN message = 'The hours for searching are used.' THEN 'hours'
    WHEN message = 'The device hours for searching are used.' THEN 'device_hours'
    WHEN {_MODEL} THEN if({_BY_BUDGET}, 'llm_budget', 'llm_closed') END
WHEN 'widened' THEN CASE
    WHEN contains(message, ' proposals in a row came to nothing after node ') THEN 'refusals'
    WHEN contains(message, ' candidates have not improved on ') THEN 'standstill' END END"""
_LIMITS = f"""CASE WHEN kind = 'searched' AND {_MODEL} AND {_BY_BUDGET}
    THEN json_object('tokens', {_TOKENS}, 'dollars', {_DOLLARS}) END"""

FROM_PROSE: Mapping[str, Mapping[str, str]] = {
    "nodes": {"ablated": "CASE WHEN operator = 'ablate' AND starts_with(idea, 'without ') THEN idea[9:16] END"},
    "llm_calls": {"cut_off": "outcome = 'answered' AND reason = 'cut off at the limit of tokens'"},
    "decisions": {"code": _VERDICT, "arrival": "rowid + 1"},
    "events": {"code": _EVENT, "detail": _LIMITS, "arrival": "rowid + 1"},
}
"""Table -> column -> expression over the columns of schema 1."""

_WIDENED_SINCE = r"""
UPDATE events SET node_id = nodes.node_id FROM nodes
WHERE events.kind = 'widened' AND events.node_id IS NULL AND nodes.run = events.run
AND nodes.node_id[:8] = regexp_extract(message, ' (?:after node|improved on) ([0-9a-f]{8})', 1)"""


def fill() -> Iterator[str]:
    """Yield the statements that store the codes in a file that has just got their columns."""
    for table, columns in FROM_PROSE.items():
        for column, expression in columns.items():
            yield f"UPDATE {table} SET {column} = {expression} WHERE ({expression}) IS DISTINCT FROM {column}"
    yield _WIDENED_SINCE
