"""Rebuilding records from rows: a run's tree in order of arrival, its calls, decisions and time used."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator
from heapq import merge

from archive.llm_calls import LlmCall, Spending
from archive.noise import NoisePrior, is_deterministic, task_prior
from archive.records import (
    AGENT,
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
    Run,
    StageAnswers,
    WindowScores,
)
from archive.steering import KIND as STEER
from archive.steering import Steering
from archive.storage import rows
from archive.storage.evaluation_rows import EvaluationRows, Key
from archive.storage.lazy import Query, StoredFiles
from archive.tree import Tree

_OF_EVALUATION = rows.EVALUATION.replace(", log,", ", CASE outcome WHEN 'scored' THEN '' ELSE log END AS log,")


class History:
    """Reads rows back as records."""

    def __init__(self, query: Query, query_committed: Query) -> None:
        """``query_committed``: over what is committed now, without waiting for a thread that writes."""
        self._query = query
        queries = query, query_committed
        self.curves = EvaluationRows(*queries, "curves", rows.CURVE, CurvePoint)
        self.cases: EvaluationRows[CaseScore] = EvaluationRows(*queries, "case_scores", rows.CASES, rows.case_of)

    def run(self, name: str) -> Run | None:
        found = self._query(f"SELECT {rows.RUN} FROM runs WHERE run = ?", [name])
        return rows.run_of(found[0]) if found else None

    def runs(self) -> tuple[Run, ...]:
        return tuple(map(rows.run_of, self._query(f"SELECT {rows.RUN} FROM runs ORDER BY created_at, rowid")))

    def last_arrival(self) -> int:
        """Return the highest ``arrival`` of all rows; 0 in an empty archive."""
        tables = (
            "moves", "refusals", "nodes", "trainings", "judgements", "stage_answers", "evaluations", "decisions",
            "events", "studies",
        )  # fmt: skip
        return max(int(self._query(f"SELECT coalesce(max(arrival), 0) FROM {table}")[0][0]) for table in tables)

    def keys(self, run: str) -> set[Key]:
        """Return the keys of the run's evaluations; ``lost`` ones are left out, since they are run again."""
        sql = "SELECT node_id, seed, purpose FROM evaluations WHERE run = ? AND outcome <> 'lost'"
        return {(node_id, seed, purpose) for node_id, seed, purpose in self._query(sql, [run])}

    # ------------------------------------------------------------ the tree

    def tree(self, run: Run, conditions: Conditions, load: Callable[[str], str]) -> Tree:
        """Rebuild the run's tree. ``load``: SHA-256 -> text, called on the first access to a text."""
        tree = Tree(run.run, run.direction, conditions)
        tree.noise_prior = self._noise_prior(run, conditions)
        tree.deterministic = is_deterministic(run.config)
        nodes = dict(self._nodes(run.run, load))
        arrived: Iterator[tuple[int, int, MoveRecord | Node | Evaluation | Refusal]] = merge(
            self._moves(run.run),
            ((arrival, 1, node) for arrival, node in nodes.values()),
            self._evaluations(run.run, {node_id: node for node_id, (_, node) in nodes.items()}),
            self._refusals(run.run),
            key=lambda item: item[:2],
        )
        for _, _, record in arrived:
            if isinstance(record, MoveRecord):
                tree.choose(record)
            elif isinstance(record, Node):
                tree.add(record)
            elif isinstance(record, Refusal):
                tree.refuse(record)
            else:
                tree.record(record)
        tree.trained |= self._moves_in("trainings", run.run)
        tree.judging |= self._moves_in("judgements", run.run)
        answered = "SELECT move, count(*) FROM stage_answers WHERE run = ? GROUP BY move"
        tree.answered.update(self._query(answered, [run.run]))
        tree.steer(Steering.of(self.events(run.run, STEER)))
        return tree

    def _moves_in(self, table: str, run: str) -> set[int]:
        return {move for (move,) in self._query(f"SELECT move FROM {table} WHERE run = ?", [run])}

    def _noise_prior(self, run: Run, conditions: Conditions) -> NoisePrior | None:
        """Return what runs that began earlier tell of the seed deviation, else what the run's task tells."""
        here = [run.run, conditions.fingerprint, conditions.budget_seconds, conditions.hardware]
        found = self._query("SELECT prior, prior_weight FROM noise_under(?, ?, ?, ?)", here)
        return NoisePrior(*found[0]) if found and found[0][0] else task_prior(run.config)

    def _moves(self, run: str) -> Iterator[tuple[int, int, MoveRecord]]:
        for row in self._query(f"SELECT {rows.MOVE} FROM moves WHERE run = ? ORDER BY arrival, rowid", [run]):
            yield row[-1], 0, rows.move_of(row)

    def _refusals(self, run: str) -> Iterator[tuple[int, int, Refusal]]:
        for row in self._query(f"SELECT {rows.REFUSAL} FROM refusals WHERE run = ? ORDER BY arrival, rowid", [run]):
            yield row[-1], 3, rows.refusal_of(row)

    def _nodes(self, run: str, load: Callable[[str], str]) -> Iterator[tuple[str, tuple[int, Node]]]:
        """Yield (node_id, (arrival, node)) in order of arrival."""
        parents: dict[str, list[str]] = defaultdict(list)
        files: dict[str, dict[str, str]] = defaultdict(dict)
        ours = "JOIN nodes USING (node_id) WHERE run = ?"
        for node_id, parent in self._query(f"SELECT node_id, parent_id FROM parents {ours} ORDER BY place", [run]):
            parents[node_id].append(parent)
        for node_id, path, sha in self._query(
            f"SELECT node_id, path, sha FROM files {ours} ORDER BY files.rowid", [run]
        ):
            files[node_id][path] = sha
        for row in self._query(f"SELECT {rows.NODE} FROM nodes WHERE run = ? ORDER BY arrival, rowid", [run]):
            node_id = row[0]
            yield node_id, (row[-1], rows.node_of(row, parents[node_id], StoredFiles(files[node_id], load)))

    def _evaluations(self, run: str, nodes: dict[str, Node]) -> Iterator[tuple[int, int, Evaluation]]:
        curves, cases, windows = self.curves.of_run(run), self.cases.of_run(run), self._windows(run)
        sql = f"SELECT {_OF_EVALUATION} FROM evaluations WHERE run = ? ORDER BY arrival, rowid"
        for row in self._query(sql, [run]):
            node_id, seed, purpose, outcome = row[1], row[3], row[4], row[6]
            key, files = (node_id, seed, purpose), nodes[node_id].candidate.files
            if outcome == "lost":
                yield row[-1], 2, rows.evaluation_of(row, files)
                continue
            parts = curves.get(key, ()), windows.get(key), cases.get(key, ())
            yield row[-1], 2, rows.evaluation_of(row, files, *parts)

    def _windows(self, run: str) -> dict[Key, WindowScores]:
        sql = f"SELECT {rows.WINDOWS} FROM window_scores JOIN nodes USING (node_id) WHERE run = ?"
        found = self._query(sql, [run])
        return {(row[0], row[1], row[2]): WindowScores(row[3], bytes(row[5])) for row in found}

    def training(self, run: str, move: int) -> tuple[str, int, str] | None:
        """Return hash and size of a sealed state, and what was measured; None if that training is not sealed."""
        found = self._query("SELECT sha, bytes, measured FROM trainings WHERE run = ? AND move = ?", [run, move])
        return found[0] if found else None

    def answers(self, run: str, move: int) -> tuple[StageAnswers, ...]:
        """Return what a sealed state has answered, stage by stage."""
        sql = "SELECT position_set, log_probs, measured FROM stage_answers WHERE run = ? AND move = ? ORDER BY stage"
        return tuple(rows.answers_of(name, bytes(found), more) for name, found, more in self._query(sql, [run, move]))

    def text_shown(self, purpose: Purpose, run: str, since: int) -> bool:
        """Return whether text of a purpose's split was shown before a claim, whose first move is ``since``."""
        sql = (
            "SELECT 1 FROM moves AS m WHERE m.purpose = ? AND NOT (m.run = ? AND m.move >= ?) AND ("
            "EXISTS (FROM judgements AS j WHERE j.run = m.run AND j.move = m.move) OR "
            "EXISTS (FROM evaluations AS e WHERE e.run = m.run AND e.move = m.move)) LIMIT 1"
        )
        return bool(self._query(sql, [purpose, run, since]))

    def secret(self, purpose: str) -> bytes | None:
        found = self._query("SELECT secret FROM secrets WHERE purpose = ?", [purpose])
        return bytes(found[0][0]) if found else None

    # ------------------------------------------------------------ calls, decisions, time

    def answer(self, run: str, move: int, turn: int, load: Callable[[str], str]) -> LlmCall | None:
        """Return the last call for this turn of a move that was answered or refused."""
        sql = (
            f"SELECT {rows.LLM_CALL} FROM llm_calls WHERE run = ? AND move = ? AND turn = ? AND outcome <> 'failed' "
            "ORDER BY rowid DESC LIMIT 1"
        )
        found = self._query(sql, [run, move, turn])
        return rows.llm_call_of(found[0], load(found[0][7]), load(found[0][8])) if found else None

    def agent_calls(self, run: str, move: int, load: Callable[[str], str]) -> list[LlmCall]:
        """Return the calls that the candidate made in the evaluation of a move, in their order."""
        sql = f"SELECT {rows.LLM_CALL} FROM llm_calls WHERE run = ? AND move = ? AND operator = ? ORDER BY rowid"
        found = self._query(sql, [run, move, AGENT])
        return [rows.llm_call_of(row, load(row[7]), load(row[8])) for row in found]

    def spending(self, run: str) -> Spending:
        """Return totals over all calls of the run, and over requests that were cut off with their process."""
        sql = """
            WITH calls AS (SELECT * FROM llm_calls WHERE run = $run),
            cut AS (SELECT * FROM llm_requests WHERE run = $run AND request NOT IN
                    (SELECT request FROM calls WHERE request IS NOT NULL))
            SELECT count(*), coalesce(sum(coalesce(tokens_in, 0) + coalesce(tokens_out, 0)), 0)::BIGINT,
                   coalesce(sum(dollars), 0), count(*) - count(dollars),
                   count(*) FILTER (tokens_in IS NULL OR tokens_out IS NULL),
                   (coalesce(sum(coalesce(charged_tokens, tokens_in + tokens_out)), 0)
                    + (SELECT coalesce(sum(tokens_at_most), 0) FROM cut))::BIGINT,
                   coalesce(sum(coalesce(charged_dollars, dollars)), 0)
                   + (SELECT coalesce(sum(dollars_at_most), 0) FROM cut)
            FROM calls
        """
        return Spending(*self._query(sql.replace("$run", "?"), [run] * 2)[0])

    def decisions(self, run: str) -> tuple[Decision, ...]:
        sql = f"SELECT {rows.DECISION} FROM decisions WHERE run = ? ORDER BY arrival, rowid"
        return tuple(map(rows.decision_of, self._query(sql, [run])))

    def claims_elsewhere(self, run: str, fingerprint: str, first: int) -> int:
        sql = """
            WITH own AS (SELECT min(arrival) AS began FROM evaluations
                         WHERE run = ? AND move >= ? AND purpose = 'report' AND outcome <> 'lost')
            SELECT count(*) FROM claims, own
            WHERE run <> ? AND fingerprint = ? AND (own.began IS NULL OR claims.began < own.began)
            AND run NOT IN (SELECT other.run FROM runs AS other JOIN runs AS this ON this.run = ?
                            WHERE other.config->>'$.sweep.id' = this.config->>'$.sweep.id')
        """
        return int(self._query(sql, [run, first, run, fingerprint, run])[0][0])

    def events(self, run: str, kind: str) -> tuple[Event, ...]:
        sql = f"SELECT {rows.EVENT} FROM events WHERE run = ? AND kind = ? ORDER BY arrival, rowid"
        return tuple(map(rows.event_of, self._query(sql, [run, kind])))

    def event_since_search(self, run: str, kind: str) -> Event | None:
        """Return the last event of a kind that came after the last move of the search, or None."""
        sql = f"""
            SELECT {rows.EVENT} FROM events WHERE run = $run AND kind = $kind AND arrival > coalesce(
                (SELECT max(arrival) FROM moves WHERE run = $run AND purpose = 'screen'), 0)
            ORDER BY arrival DESC, rowid DESC LIMIT 1
        """
        found = self._query(sql.replace("$run", "$1").replace("$kind", "$2"), [run, kind])
        return rows.event_of(found[0]) if found else None

    def seconds_used(self, run: str) -> float:
        """Return the wall seconds of all sessions: from a ``session`` event to the last row before the next one."""
        sql = """
            WITH starts AS (SELECT happened_at AS at FROM events WHERE run = $run AND kind = 'session'),
            signs AS (
                SELECT chosen_at AS at FROM moves WHERE run = $run
                UNION ALL SELECT refused_at FROM refusals WHERE run = $run
                UNION ALL SELECT sealed_at FROM trainings WHERE run = $run
                UNION ALL SELECT finished_at FROM evaluations WHERE run = $run
                UNION ALL SELECT happened_at FROM events WHERE run = $run
                UNION ALL SELECT called_at FROM llm_calls WHERE run = $run
            ),
            sessions AS (SELECT starts.at AS began, max(signs.at) AS ended FROM signs ASOF JOIN starts
                         ON signs.at >= starts.at GROUP BY ALL)
            SELECT coalesce(sum(epoch(ended) - epoch(began)), 0) FROM sessions
        """
        return float(self._query(sql.replace("$run", "?"), [run] * 7)[0][0])
