"""The archive as its single writer, the search, uses it: append-only records in a DuckDB file.

    with Archive.open("treewright.duckdb") as archive:
        archive.start_run(run)
        tree = archive.tree(run, conditions)     # empty, or where an earlier session stopped

Every method that writes is one transaction and durable when it returns; ``with archive.transaction():`` joins several
into one, and with ``later`` they are durable together with the next one. All methods are thread safe. Readers get their
own cursors (``archive.reading()``) and never block the writer.
"""

from __future__ import annotations

import math
import secrets
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, fields, replace
from pathlib import Path
from typing import Any, Self
from uuid import uuid4

import duckdb

from archive.errors import ArchiveError, ArchiveLocked
from archive.llm_calls import LlmCall, LlmRequest, Spending
from archive.records import (
    CaseScore,
    Conditions,
    CurvePoint,
    Decision,
    Evaluation,
    Event,
    MoveRecord,
    Node,
    Purpose,
    Refusal,
    Request,
    Run,
    Scored,
    StageAnswered,
    Trained,
    sha256,
)
from archive.research_ideas import ResearchIdea
from archive.storage import rows, schema
from archive.storage.database import (
    CATALOG,
    connect,
    connect_in_memory,
    create_atomically,
    damaged_error,
    full_error,
    is_damaged,
    is_full,
    normalised,
)
from archive.storage.history import History
from archive.storage.lazy import StoredFiles
from archive.storage.sources import Sources
from archive.storage.states import States
from archive.storage.writer import CHECKPOINT_SECONDS, Writer
from archive.tree import Tree


class Archive:
    """The rows of all runs in one file. Open it with ``Archive.open``."""

    def __init__(
        self,
        path: Path,
        connection: duckdb.DuckDBPyConnection,
        clock: Callable[[], float],
        checkpoint_seconds: float = CHECKPOINT_SECONDS,
    ) -> None:
        """``connection``: open for writing, with the present schema; this object closes it."""
        self.path = path
        self._clock = clock
        self._writer = Writer(path, connection, checkpoint_seconds)
        self._history = History(self.query, self._query_committed)
        self._sources = Sources(path, self._writer, self._query_committed)
        self._states = States(path)
        self._ids: set[str] | None = None
        self._keys: dict[str, set[tuple[str, int, str]]] = {}
        self._secrets: dict[str, bytes] = {}
        self._arrivals = self._history.last_arrival()

    @classmethod
    def open(
        cls,
        path: Path | str,
        *,
        clock: Callable[[], float] = time.time,
        patience: float = 2.0,
        checkpoint_seconds: float = CHECKPOINT_SECONDS,
    ) -> Archive:
        """Open ``path`` for writing; missing folders, file and schema are created.

        ``patience``: seconds to wait for a process that has the file open, since readers close it soon.
        ``checkpoint_seconds``: from a commit to the checkpoint that brings its rows into the file itself.
        Raises ArchiveLocked, NotAnArchive, ArchiveFull, ArchiveDamaged or ArchiveError, each saying what to do.
        """
        path = normalised(path)
        is_new = create_atomically(path, lambda connection: schema.create(connection, clock()))
        connection = _connect_patiently(path, patience)
        try:
            schema.check(connection, path)
            if not is_new:
                _upgrade(connection, clock())
            return cls(path, connection, clock, checkpoint_seconds)
        except duckdb.Error as error:
            connection.close()
            if is_full(str(error)):
                raise full_error(path) from error
            if is_damaged(str(error)):
                raise damaged_error(f"the archive {path}", str(error)) from error
            raise ArchiveError(f"cannot use the archive {path}: {error}") from error
        except ArchiveError:
            connection.close()
            raise

    @classmethod
    def in_memory(cls, *, clock: Callable[[], float] = time.time) -> Archive:
        """Create an archive in memory, for a notebook or a test. Its content is lost on close."""
        connection = connect_in_memory()
        schema.create(connection, clock())
        return cls(Path(":memory:"), connection, clock)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Checkpoint into the file and release it. Closing twice does nothing."""
        self._writer.close()
        self._states.close()

    def checkpoint(self) -> bool:
        """Bring all rows into the file now. Return whether that was possible."""
        self._writer.flush()
        return self._writer.checkpoint()

    @contextmanager
    def transaction(self, later: bool = False) -> Iterator[None]:
        """Commit everything written inside at the end of the block, or nothing if the block raises.

        Reads inside do not see the writes.

        Args:
            later: Commit it with the next transaction, before what that writes. A process that is killed first loses
                it: for what would be made again from earlier rows and has cost nothing yet. Call ``flush`` before it
                does.
        """
        with self._writer.transaction(later):
            yield

    @property
    def is_flushed(self) -> bool:
        """True if everything written is committed."""
        return self._writer.is_flushed

    def flush(self) -> None:
        """Commit what transactions with ``later`` have written."""
        self._writer.flush()

    # ------------------------------------------------------------ runs

    def start_run(self, run: Run) -> None:
        """Record a new run. Raises ValueError if the archive has one of that name."""
        with self.transaction():
            if self.run(run.run) is not None:
                raise ValueError(f"run {run.run!r} is in {self.path} already; resume it, or choose another name")
            self._writer.insert("runs", rows.RUN, rows.run_row(run))

    def run(self, name: str) -> Run | None:
        """Return the run of that name, or None."""
        return self._history.run(name)

    def runs(self) -> tuple[Run, ...]:
        """Return all runs, oldest first."""
        return self._history.runs()

    def register(self, study: str, plan: str, bibliography: str, runs: Mapping[str, int]) -> None:
        """Record the plan of a study, before its first run. ``runs``: the name of each -> its seed.

        Raises ValueError if the archive has a plan of that name.
        """
        with self.transaction():
            if self.query("SELECT 1 FROM studies WHERE study = ?", [study]):
                raise ValueError(f"study {study!r} is in {self.path} already; choose another name")
            row = (study, sha256(plan), plan, bibliography, rows.to_time(self._clock()), self._arrival())
            self._writer.insert("studies", "study, digest, plan, bibliography, registered_at, arrival", row)
            for run, seed in runs.items():
                self._writer.insert("study_runs", "study, run, seed", (study, run, seed))

    def suggest(self, idea: ResearchIdea) -> None:
        """Record a hypothesis for a study."""
        row = (*asdict(idea).values(), uuid4().hex, rows.to_time(self._clock()))
        columns = ", ".join([*(part.name for part in fields(idea)), "idea", "made_at"])
        with self.transaction():
            self._writer.insert("research_ideas", columns, row)

    # ------------------------------------------------------------ what the loop writes

    def choose(self, record: MoveRecord) -> None:
        """Record a chosen move. Call it before acting on the move, so that a resumed search continues with it."""
        with self.transaction():
            row = rows.move_row(record, self._clock(), self._arrival())
            self._writer.insert("moves", rows.MOVE, row)

    def refuse(self, refusal: Refusal) -> None:
        """Record that a move gave no candidate."""
        with self.transaction():
            row = rows.refusal_row(refusal, self._clock(), self._arrival())
            self._writer.insert("refusals", rows.REFUSAL, row)

    def add(self, node: Node) -> Node:
        """Record a node. Return it with files that are loaded from the archive on access.

        Raises ValueError if there is a node of that id.
        """
        files = {path: rows.storable(text) for path, text in node.candidate.files.items()}
        with self.transaction():
            self._claim_id(node.node_id)
            shas = {path: self._sources.add(text) for path, text in files.items()}
            self._writer.insert("nodes", rows.NODE, rows.node_row(node, files, self._arrival()))
            for place, parent in enumerate(node.parents):
                row = (node.node_id, parent, place)
                self._writer.insert("parents", "node_id, parent_id, place", row)
            for path, sha in shas.items():
                self._writer.insert("files", "node_id, path, sha", (node.node_id, path, sha))
        return replace(node, candidate=replace(node.candidate, files=StoredFiles(shas, self.source)))

    def record(self, evaluation: Evaluation) -> Evaluation:
        """Record a finished evaluation with its curve and cases. Return it as a tree should keep it in memory.

        The returned one has no certificate, no log if it was scored, and a curve and cases that are loaded on access.

        Raises ValueError for a second one with the same node, seed and purpose (``lost`` ones do not count), and for
        a score that is not a finite number.
        """
        request = evaluation.request
        if isinstance(evaluation, Scored) and not math.isfinite(evaluation.score):
            raise ValueError(f"node {request.node_id} was scored {evaluation.score}; a failure is recorded as Failed")
        with self.transaction():
            if evaluation.outcome != "lost":
                self._claim_key(request.run, (request.node_id, request.seed, request.purpose))
            row = rows.evaluation_row(evaluation, self._arrival(), self._add_certificate(evaluation))
            self._writer.insert("evaluations", rows.EVALUATION, row)
            if isinstance(evaluation, Scored) and evaluation.windows is not None:
                self._writer.insert("window_scores", rows.WINDOWS, rows.windows_row(request, evaluation.windows))
            curve, cases = self._add_curve_and_cases(evaluation)
        if isinstance(evaluation, Scored):
            return replace(evaluation, curve=curve, cases=cases, log="", certificate=None)
        return replace(evaluation, curve=curve, cases=cases)

    def record_request(self, request: LlmRequest) -> None:
        """Record a prompt that is about to be sent, with its maximal cost."""
        with self.transaction():
            self._writer.insert("llm_requests", rows.LLM_REQUEST, rows.llm_request_row(request))

    def record_call(self, call: LlmCall) -> None:
        """Record the outcome of a language-model call, with its prompt and templates."""
        with self.transaction():
            prompt, answer = (self._sources.add(rows.storable(text)) for text in (call.prompt, call.answer))
            template = self._sources.add(rows.storable(call.template)) if call.template else None
            row = rows.llm_call_row(call, prompt, answer, template)
            self._writer.insert("llm_calls", rows.LLM_CALL, row)

    def decide(self, decision: Decision) -> None:
        """Record a new leader or the verdict of a claim."""
        with self.transaction():
            self._writer.insert("decisions", rows.DECISION, rows.decision_row(decision, self._arrival()))

    def note(self, event: Event) -> None:
        """Record an event for the user."""
        with self.transaction():
            self._writer.insert("events", rows.EVENT, rows.event_row(event, self._arrival()))

    # ------------------------------------------------------------ trainings for a claim

    def seal(self, trained: Trained) -> None:
        """Keep a training for a claim: its state in a file beside the archive, the file's hash in a row.

        Raises ArchiveError if the file cannot be written.
        """
        sha = self._states.keep(trained.request.run, trained.request.move, trained.state)
        with self.transaction():
            row = rows.training_row(trained, sha, self._clock(), self._arrival())
            self._writer.insert("trainings", rows.TRAINING, row)

    def sealed(self, request: Request) -> Trained | None:
        """Return the sealed training of a request's move; None if there is none, or its file is not as it was."""
        if (found := self._history.training(request.run, request.move)) is None:
            return None
        sha, size, measured = found
        state = self._states.read(request.run, request.move, size, sha)
        answers = self._history.answers(request.run, request.move)
        return None if state is None else rows.trained_of(measured, request, state, answers)

    def keep_answers(self, answered: StageAnswered) -> None:
        """Keep what a sealed state has answered in a stage of its judgement."""
        with self.transaction():
            row = rows.answers_row(answered, self._clock(), self._arrival())
            self._writer.insert("stage_answers", rows.ANSWERS, row)

    def text_shown(self, purpose: Purpose, run: str, since: int) -> bool:
        """Return whether text of a purpose's split was shown to a sandbox before a claim of this run.

        since: the claim's first move. Counts the claims of all runs in this archive.
        """
        return self._history.text_shown(purpose, run, since)

    def begin_judgement(self, run: str, move: int) -> None:
        """Record that a sealed state is about to be judged. Call it before any text of the split is shown."""
        with self.transaction():
            row = (run, move, rows.to_time(self._clock()), self._arrival())
            self._writer.insert("judgements", rows.JUDGEMENT, row)

    def drop_states(self, run: str, kept: Collection[int] = ()) -> None:
        """Remove the files of a run's sealed states but for those of the moves ``kept``. The rows stay."""
        self._states.drop(run, kept)

    def _arrival(self) -> int:
        self._arrivals += 1
        return self._arrivals

    def _claim_id(self, node_id: str) -> None:
        if self._ids is None:
            self._ids = {found for (found,) in self.query("SELECT node_id FROM nodes")}
        ids = self._ids
        if node_id in ids:
            raise ValueError(f"node {node_id} is in {self.path} already")
        ids.add(node_id)
        self._writer.on_failure(lambda: ids.discard(node_id))

    def _claim_key(self, run: str, key: tuple[str, int, str]) -> None:
        """Reserve (node, seed, purpose) unless the transaction fails. In-memory sets are cheaper than an index."""
        keys = self._keys.get(run)
        if keys is None:
            keys = self._keys[run] = self._history.keys(run)
        if key in keys:
            node_id, seed, purpose = key
            raise ValueError(f"node {node_id} was evaluated with seed {seed} for {purpose} already, in {self.path}")
        keys.add(key)
        self._writer.on_failure(lambda: keys.discard(key))

    def _add_certificate(self, evaluation: Evaluation) -> str | None:
        certificate = evaluation.certificate if isinstance(evaluation, Scored) else None
        return None if certificate is None else self._sources.add(rows.storable(certificate))

    def _add_curve_and_cases(self, evaluation: Evaluation) -> tuple[Sequence[CurvePoint], Sequence[CaseScore]]:
        """Record both; those of a ``lost`` evaluation are dropped, since it is run again."""
        if evaluation.outcome == "lost":
            return (), ()
        request, history = evaluation.request, self._history
        key = (request.node_id, request.seed, request.purpose)
        curve, cases = rows.curve_columns(evaluation.curve), rows.case_columns(evaluation.cases)
        return (
            history.curves.add(self._writer, key, curve) if evaluation.curve else (),
            history.cases.add(self._writer, key, cases) if evaluation.cases else (),
        )

    def secret(self, purpose: str) -> bytes:
        """Return the archive's secret for a purpose: 32 random bytes, made on first use."""
        if purpose not in self._secrets:
            known = self._history.secret(purpose)
            self._secrets[purpose] = self._make_secret(purpose) if known is None else known
        return self._secrets[purpose]

    def _make_secret(self, purpose: str) -> bytes:
        made = secrets.token_bytes(32)
        with self.transaction():
            row = (purpose, made, rows.to_time(self._clock()))
            self._writer.insert("secrets", "purpose, secret, made_at", row)
        return made

    # ------------------------------------------------------------ what a session reads

    def tree(self, run: Run, conditions: Conditions) -> Tree:
        """Rebuild the run's tree exactly as the search left it, from its rows in order of arrival.

        Texts and curves are loaded on access, and the logs of scored evaluations are left out (see ``record``).
        """
        return self._history.tree(run, conditions, self.source)

    def answer(self, run: str, move: int, turn: int) -> LlmCall | None:
        """Return the recorded answer for this turn of a move, so that a resumed search does not pay twice.

        None without one; failed calls do not count.
        """
        return self._history.answer(run, move, turn, self.source)

    def agent_calls(self, run: str, move: int) -> list[LlmCall]:
        """Return the calls that the candidate made in the evaluation of a move, so that none is paid for twice."""
        return self._history.agent_calls(run, move, self.source)

    def spending(self, run: str) -> Spending:
        """Return the run's spending on language models so far."""
        return self._history.spending(run)

    def spent(self, run: str) -> float | None:
        """Return the dollars that the run is known to have spent on language models; None without calls."""
        spending = self.spending(run)
        return spending.dollars if spending.calls else None

    def seconds_used(self, run: str) -> float:
        """Return the wall seconds of the run's sessions: from a ``session`` event to the last row before the next one.

        Time between sessions does not count.
        """
        return self._history.seconds_used(run)

    def decisions(self, run: str) -> tuple[Decision, ...]:
        """Return the run's decisions, oldest first."""
        return self._history.decisions(run)

    def last_verdict(self, run: str) -> Decision | None:
        """Return the decision of the last claim (``champion`` or ``no_champion``), or None."""
        verdicts = [decision for decision in self.decisions(run) if decision.kind != "leader"]
        return verdicts[-1] if verdicts else None

    def claims_elsewhere(self, run: str, fingerprint: str, first: int) -> int:
        """Count the claims of other runs on a holdout that began before the present claim of ``run``.

        Those of the same sweep do not count: its runs are compared, so that all are to have one level and one size.

        ``fingerprint``: of the holdout's corpus. ``first``: the first move of the present claim, or the next one.
        """
        return self._history.claims_elsewhere(run, fingerprint, first)

    def events(self, run: str, kind: str) -> tuple[Event, ...]:
        """Return the run's events of one kind, oldest first."""
        return self._history.events(run, kind)

    def event_since_search(self, run: str, kind: str) -> Event | None:
        """Return the run's last event of a kind, if no move of the search (a proposal or a screening) came after it."""
        return self._history.event_since_search(run, kind)

    def source(self, sha: str) -> str:
        """Return the text of that SHA-256. Raises KeyError if there is none."""
        return self._sources.text(sha)

    # ------------------------------------------------------------ readers

    @contextmanager
    def reading(self) -> Iterator[duckdb.DuckDBPyConnection]:
        """Yield a cursor over the committed rows. It is interrupted if the writer needs its memory."""
        with self._writer.reading() as cursor:
            yield cursor

    def query(self, sql: str, parameters: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """Return the rows of one trusted statement over the committed rows. For users there is ``SqlServer``."""
        with self._writer.reading(ours=True) as cursor:
            return cursor.execute(sql, list(parameters)).fetchall()

    def _query_committed(self, sql: str, parameters: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """Return the rows of one statement over what is committed now, whatever locks this thread holds.

        Texts, curves and cases are loaded on access, which may be under ``tree.lock``: a thread that waited there for
        the one that writes, which may want that lock, would never go on.
        """
        with self._writer.reading(ours=True, as_it_is=True) as cursor:
            return cursor.execute(sql, list(parameters)).fetchall()


def _upgrade(connection: duckdb.DuckDBPyConnection, now: float) -> None:
    """Migrate the file by a cursor, since the connection itself is for rows."""
    with connection.cursor() as cursor:
        cursor.execute(f"USE {CATALOG}")
        schema.upgrade(cursor, now)


def _connect_patiently(path: Path, patience: float) -> duckdb.DuckDBPyConnection:
    deadline = time.monotonic() + patience
    while True:
        try:
            return connect(path, read_only=False, for_rows=True)
        except ArchiveLocked:
            if time.monotonic() >= deadline:
                raise
            time.sleep(0.05)
