"""``python -m archive merge``: the runs of other archives (of other machines, say) in one, each of them once.

A run is identified by its ``run_id``, a text by its hash, so a merge can be repeated: existing rows are left alone, and
a run that was continued since adds its new rows only. A run of the same name with another id gets the start of its id
added to its name. Each archive is merged in one transaction.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import duckdb

from archive.errors import ArchiveError, ArchiveMissing
from archive.storage import schema
from archive.storage.database import CATALOG, connect, normalised
from archive.storage.store import Archive

_OTHER = "other"

_KEYS = {
    "moves": ("run", "move"),
    "refusals": ("run", "move"),
    "nodes": ("node_id",),
    "parents": ("node_id", "place"),
    "files": ("node_id", "path"),
    "evaluations": ("node_id", "seed", "purpose"),
    "curves": ("node_id", "seed", "purpose"),
    "window_scores": ("node_id", "seed", "purpose"),
    "trainings": ("run", "move"),
    "judgements": ("run", "move"),
    "stage_answers": ("run", "move", "stage"),
    "case_scores": ("node_id", "seed", "purpose"),
    "llm_requests": ("request",),
    "llm_calls": ("run", "move", "turn", "called_at"),
    "decisions": ("run", "kind", "node_id", "decided_at"),
    "events": ("run", "kind", "message", "happened_at"),
    "study_runs": ("run", "study"),
}
"""Table -> the columns that identify a row in all archives. Times are those of the machine that wrote the row."""

_OF_NO_RUN = {"studies": ("study", "digest"), "research_ideas": ("idea",)}
"""The same of the tables whose rows belong to no run."""

_ARRIVES = (
    "moves",
    "refusals",
    "nodes",
    "trainings",
    "judgements",
    "stage_answers",
    "evaluations",
    "decisions",
    "events",
)


@dataclass(frozen=True)
class _Run:
    """A run of the other archive, with its name in this one."""

    name: str
    run_id: str
    here: str
    known: bool


@dataclass(frozen=True)
class MergedRun:
    """What came of one run of another archive; ``run`` is None for an archive without runs."""

    file: str
    run: str | None = None
    here: str | None = None
    """Its name in this archive."""
    known: bool = False
    """Whether this archive had the run before."""
    nodes: int = 0
    evaluations: int = 0

    def __str__(self) -> str:
        if self.run is None:
            return f"{self.file}: no runs"
        as_what = f" (here {self.here})" if self.here != self.run else ""
        rest = ", the rest was here" if self.known else ""
        return f"{self.file}: {self.run}{as_what}: {self.nodes} new nodes, {self.evaluations} new evaluations{rest}"


def merge(target: Path, others: Sequence[Path]) -> Iterator[MergedRun]:
    """Bring every run of ``others`` into ``target``, which is made if it is missing. Yield what came of each run.

    Raises ArchiveMissing, ArchiveLocked, NotAnArchive, ArchiveFull, or ArchiveError for a run that was continued in
    both archives.
    """
    target = normalised(target)
    paths = [normalised(path) for path in others]
    for path in paths:
        if not path.exists():
            raise ArchiveMissing(f"there is no archive at {path}; nothing was merged")
        if path == target:
            raise ArchiveError(f"{path} cannot be merged with itself; name the others after merge, it with --archive")
    Archive.open(target).close()  # creates or migrates it
    for path in paths:
        yield from _merge_one(target, path)


def _merge_one(target: Path, path: Path) -> Iterator[MergedRun]:
    connection = connect(target, read_only=False, beside={_OTHER: path})
    try:
        schema.check(connection, path, _OTHER)
        connection.execute("BEGIN")
        merged = [_bring(connection, run, path) for run in _runs(connection)]
        _copy_of_no_run(connection)
        connection.execute("COMMIT")
        connection.execute("CHECKPOINT")
    except duckdb.Error as error:
        raise ArchiveError(f"cannot merge {path}: {str(error).splitlines()[0]}; nothing of it was merged") from error
    finally:
        connection.close()
    yield from merged or [MergedRun(path.name)]


def _runs(connection: duckdb.DuckDBPyConnection) -> list[_Run]:
    here = dict(connection.execute("SELECT run_id, run FROM runs").fetchall())
    taken = set(here.values())
    runs = []
    for name, run_id in connection.execute(f"SELECT run, run_id FROM {_OTHER}.main.runs ORDER BY rowid").fetchall():
        called = here.get(run_id) or (name if name not in taken else f"{name}@{run_id[:6]}")
        taken.add(called)
        runs.append(_Run(name, run_id, called, run_id in here))
    return runs


def _bring(connection: duckdb.DuckDBPyConnection, run: _Run, path: Path) -> MergedRun:
    """Copy the rows of one run that are missing here."""
    columns = schema.columns_as_now(connection, _OTHER, CATALOG)
    _refuse_diverged(connection, run, path)
    if not run.known:
        names = columns["runs"] or {}
        connection.execute(
            f"INSERT INTO runs ({', '.join(names)}) SELECT {_selected(names)} FROM {_OTHER}.main.runs "
            "WHERE run_id = $2",
            [run.here, run.run_id],
        )
    shift = _shift(connection, run)
    counts = {table: _copy(connection, table, columns[table], run, shift) for table in _KEYS}
    _copy_sources(connection)
    return MergedRun(path.name, run.name, run.here, run.known, counts["nodes"], counts["evaluations"])


def _refuse_diverged(connection: duckdb.DuckDBPyConnection, run: _Run, path: Path) -> None:
    """Raise ArchiveError if the run was continued in both archives: moves of the same number differ then."""
    moves = "SELECT move, kind, operator, parents, node_id, seed FROM {} WHERE run = '{}'"
    ours = moves.format("moves", _escaped(run.here))
    theirs = moves.format(f"{_OTHER}.main.moves", _escaped(run.name))
    differ = connection.execute(
        f"SELECT count(*) FROM (FROM ({ours}) EXCEPT FROM ({theirs})), (FROM ({theirs}) EXCEPT FROM ({ours}))"
    ).fetchall()[0][0]
    texts = f"SELECT count(*) FROM files AS a JOIN {_OTHER}.main.files AS b USING (node_id, path) WHERE a.sha <> b.sha"
    if run.known and (differ or connection.execute(texts).fetchall()[0][0]):
        raise ArchiveError(
            f"run {run.name!r} of {path} was continued in both archives: its moves differ, and one run cannot be "
            "both. Keep the two archives apart; nothing of this one was merged"
        )


def _shift(connection: duckdb.DuckDBPyConnection, run: _Run) -> int:
    """Return the offset for ``arrival`` that puts all new rows after all existing ones."""
    last = " UNION ALL ".join(f"SELECT max(arrival) AS a FROM {table}" for table in _ARRIVES)
    return int(connection.execute(f"SELECT coalesce(max(a), 0) FROM ({last})").fetchall()[0][0])


def _copy(
    connection: duckdb.DuckDBPyConnection, table: str, columns: dict[str, str] | None, run: _Run, shift: int
) -> int:
    """Insert the run's missing rows of one table, in their order. Return their number."""
    if columns is None:
        return 0
    has_run = "run" in columns
    of_run = "o.run = $2" if has_run else f"o.node_id IN (SELECT node_id FROM {_OTHER}.main.nodes WHERE run = $2)"
    same = " AND ".join(f"h.{key} = {'$1' if key == 'run' else f'o.{key}'}" for key in _KEYS[table])
    if table == "evaluations":  # of lost ones there may be several
        same += " AND if(o.outcome = 'lost', h.outcome = 'lost' AND h.started_at = o.started_at, h.outcome <> 'lost')"
    before = _count(connection, table)
    connection.execute(
        f"INSERT INTO {table} ({', '.join(columns)}) SELECT {_selected(columns, shift)} "
        f"FROM {_OTHER}.main.{table} AS o WHERE {of_run} AND $1 IS NOT NULL "
        f"AND NOT EXISTS (FROM {CATALOG}.main.{table} AS h WHERE {same}) ORDER BY o.rowid",
        [run.here, run.name],
    )
    return _count(connection, table) - before


def _copy_of_no_run(connection: duckdb.DuckDBPyConnection) -> None:
    """Insert the missing rows of the tables without a run. Registrations keep their place before all moves."""
    for table, keys in _OF_NO_RUN.items():
        if (columns := schema.columns_as_now(connection, _OTHER, CATALOG)[table]) is None:
            continue
        same = " AND ".join(f"h.{key} = o.{key}" for key in keys)
        connection.execute(
            f"INSERT INTO {table} ({', '.join(columns)}) SELECT {', '.join(columns.values())} "
            f"FROM {_OTHER}.main.{table} AS o "
            f"WHERE NOT EXISTS (FROM {CATALOG}.main.{table} AS h WHERE {same}) ORDER BY o.rowid"
        )


def _selected(columns: dict[str, str], shift: int = 0) -> str:
    """Return the select list: the run's name here is $1, and arrivals are shifted."""
    said = {**columns, "run": "$1"}
    if "arrival" in columns:
        said["arrival"] = f"{columns['arrival']} + {shift}"
    return ", ".join(said[column] for column in columns)


def _copy_sources(connection: duckdb.DuckDBPyConnection) -> None:
    """Copy the missing texts that rows here refer to."""
    named = (
        "SELECT sha FROM files UNION SELECT prompt_sha FROM llm_calls UNION SELECT answer_sha FROM llm_calls "
        "UNION SELECT template_sha FROM llm_calls WHERE template_sha IS NOT NULL "
        "UNION SELECT certificate_sha FROM evaluations WHERE certificate_sha IS NOT NULL"
    )
    connection.execute(
        f"INSERT INTO sources SELECT sha, text FROM {_OTHER}.main.sources WHERE sha IN ({named}) "
        "AND sha NOT IN (SELECT sha FROM sources) ORDER BY rowid"
    )


def _count(connection: duckdb.DuckDBPyConnection, table: str) -> int:
    return int(connection.execute(f"SELECT count(*) FROM {table}").fetchall()[0][0])


def _escaped(text: str) -> str:
    return text.replace("'", "''")
