"""Large archives made in bulk by SQL: what a search of 100,000 nodes would have left, in half a minute.

The tree is as a search grows it: a child's parent is one of the later half of the nodes, a tenth are crossovers, a
seventh fails, some are run again, one in ten thousand cheats. A second run is one line of 500 nodes, for deep lineages.
"""

from __future__ import annotations

from pathlib import Path

from archive.records import Run, sha256
from archive.storage.database import connect
from archive.storage.store import Archive

WIDE = Run("wide", "wide", "bench", "val_bpb", "minimise", "ucb", 0, {"task": {"name": "bench"}}, {}, 1.7e9)
DEEP = Run("deep", "deep", "bench", "val_bpb", "minimise", "ucb", 0, {"task": {"name": "bench"}}, {}, 1.7e9 - 1e6)
DEPTH = 500
_PART = 100_000
"""Nodes written at a time: the memory of an archive's connection is bounded."""

_DRAFT = """
CREATE TEMP TABLE draft AS
SELECT $run AS run, i, sha256(concat($run_id, '/', i))[:16] AS id,
       CASE WHEN i = 0 THEN 'seed' WHEN i % 10 = 3 AND i > 20 THEN 'crossover'
            WHEN i % 10 < 3 THEN 'improve' ELSE 'tune' END AS operator,
       sha256(concat($run_id, '/', $first))[:16] AS parent, sha256(concat($run_id, '/', i // 3))[:16] AS other,
       hash(i + 1) % 7 = 0 AND i > 0 AS fails, hash(i + 2) % 10000 = 0 AND i > 0 AS cheats,
       hash(i + 3) % 20 = 0 AS again, 3.6 - 0.5 * (hash(i + 4) % 1000000) / 1000000 - 0.3 * ln(1 + i) / 11 AS score,
       concat($run, ' = ', i, chr(10), 'RATE = 0.', 1 + hash(i + 5) % 999, '  # tune: 0..1', chr(10),
              'def step_', hash(i) % 1000, '():', chr(10),
              repeat(concat('    x = ', i % 97, chr(10)), 80)) AS text,
       TIMESTAMP '2026-01-01' + INTERVAL 1 SECOND * i AS born
FROM range($begin, $end) AS numbers(i)
"""
_FILL = (
    "INSERT INTO sources SELECT sha256(text), text FROM draft ORDER BY i",
    "INSERT INTO files SELECT id, 'train.py', sha256(text) FROM draft ORDER BY i",
    "INSERT INTO parents SELECT id, parent, 0 FROM draft WHERE i > 0 ORDER BY i",
    "INSERT INTO parents SELECT id, other, 1 FROM draft WHERE operator = 'crossover' ORDER BY i",
    "INSERT INTO nodes (node_id, run, number, move, operator, idea, lines, digest, created_at, arrival) "
    "SELECT id, run, i, i, operator, concat('idea ', i), 82, sha256(text), born, 4 * i + 1 FROM draft ORDER BY i",
    "INSERT INTO moves (run, move, kind, operator, parents, node_id, purpose, seed, reason, chosen_at, arrival) "
    "SELECT run, i, 'propose', operator, if(i = 0, [], [parent]), NULL, 'screen', i, '', born, 4 * i FROM draft "
    "ORDER BY i",
    "INSERT INTO evaluations (run, node_id, move, seed, purpose, split, outcome, reason, score, trust, seconds, "
    "wall_seconds, phases, cpu_seconds, peak_memory_mb, steps, device, hardware, fingerprint, budget_seconds, sandbox, "
    "metrics, log, started_at, finished_at, arrival, violation) "
    "SELECT run, id, i, i + 1000000 * round, 'screen', 'val', "
    "CASE WHEN cheats AND round > 0 THEN 'invalid' WHEN fails THEN 'crashed' ELSE 'scored' END, "
    "CASE WHEN fails OR cheats AND round > 0 THEN 'it broke' END, "
    "if(fails OR cheats AND round > 0, NULL, score + 0.01 * round), 'audited', 10, 17, '{}', 10, 400, 150, 'cpu', "
    "'stub', 'benchmark', 10, 'bwrap', '{}', '', born, born + INTERVAL 17 SECOND, 4 * i + 2 + round, "
    "cheats AND round > 0 FROM draft, range(2) AS rounds(round) WHERE round = 0 OR again AND NOT fails OR cheats "
    "ORDER BY i, round",
    "INSERT INTO curves SELECT id, i, 'screen', 15 * p, 1.0 * p, score + 2.0 / p FROM draft, range(1, 11) AS points(p) "
    "WHERE NOT fails ORDER BY i, p",
    "INSERT INTO llm_calls (run, move, turn, operator, model, outcome, reason, prompt_sha, answer_sha, tokens_in, "
    "tokens_out, tokens_cached, seconds, dollars, called_at) SELECT run, i, 0, operator, "
    "if(i % 20 < 10, 'large', 'small'), 'answered', '', sha256(text), sha256(text), 4000, 800, 1000, 20, 0.02, born "
    "FROM draft WHERE operator = 'improve' ORDER BY i",
    "INSERT INTO decisions (run, kind, node_id, reason, detail, decided_at, arrival) "
    "SELECT run, 'leader', id, 'best mean so far', '{}', born, 4 * i + 3 FROM draft "
    "WHERE score < 2.9 AND i % 100 = 0 ORDER BY i",
    "INSERT INTO events (run, kind, message, happened_at, arrival) "
    "SELECT run, 'session', 'a session begins', born, 4 * i FROM draft WHERE i % 1000 = 0 ORDER BY i",
)


def preload(path: Path, nodes: int) -> None:
    """A new archive with ``nodes`` nodes in the run ``wide``, and a line of ``DEPTH`` in the run ``deep``."""
    with Archive.open(path) as archive:
        for run in (DEEP, WIDE):
            archive.start_run(run)
    connection = connect(path, read_only=False)  # row groups as an archive has them
    line, bush = "greatest(i - 1, 0)", "if(i < 2, 0, i // 2 + (hash(i) % (i - i // 2))::BIGINT)"
    for run, first, count in ((DEEP, line, DEPTH), (WIDE, bush, nodes)):
        draft = _DRAFT.replace("$run_id", f"'{run.run_id}'").replace("$run", f"'{run.run}'").replace("$first", first)
        for begin in range(0, count, _PART):
            end = min(count, begin + _PART)
            connection.execute(draft.replace("$begin", str(begin)).replace("$end", str(end)))
            for statement in _FILL:
                connection.execute(statement)
            connection.execute("DROP TABLE draft")
    connection.execute("CHECKPOINT")
    connection.close()


def node_at(run: Run, number: int) -> str:
    """The id of a node, as the preloaded archive has it."""
    return sha256(f"{run.run_id}/{number}")[:16]
