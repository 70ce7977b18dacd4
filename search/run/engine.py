"""The search as ask and tell: what to train next, and what came of it. The loop in ``search/run/loop.py`` is one user.

    search.fill(free, lookahead)       choose moves and make candidates, up to what is wanted
    search.ask() -> Request | None     one training, ready to start
    search.tell(evaluation)            record what came of it

Every move is written to the archive before it costs anything, and every answer before it is used, so a search that is
killed goes on where it was. The random generator of a move is derived from (seed, move number): the same tree gives
the same move after a resume. Language models are asked in threads of their own; all else happens in the caller's.
"""

from __future__ import annotations

import gc
import hashlib
import queue
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

import numpy as np

from archive.records import (
    ROOT_OPERATOR,
    Candidate,
    CurvePoint,
    Decision,
    Evaluation,
    Event,
    Failed,
    Move,
    MoveRecord,
    Node,
    Propose,
    Purpose,
    Refusal,
    Replicate,
    Request,
    Run,
    Scored,
    Stop,
    Wait,
    node_id_for,
)
from archive.storage.store import Archive
from archive.tree import Tree
from operators.base import Context, NoCandidate, Operator
from operators.languages.fingerprint import normalised
from prepare.task import Task
from search.claims.parsimony import in_words, shorter_equal
from search.claims.statistics import screening_sigma
from search.policies.base import OperatorView, Policy, StateReporter
from search.run.lookahead import Lookahead, Outage
from train.faults import fault
from train.language_model.curve import pace_of

LOST_TRIES = 3
"""How often a training that the machine lost is begun again before the search stops."""


class SearchStopped(Exception):
    """The search cannot go on; the message is for the person who started it. Nothing recorded is lost."""


@dataclass(frozen=True)
class EngineParts:
    """What a search is put together from."""

    task: Task
    program: str
    policy: Policy
    operators: Mapping[str, Operator]
    views: Mapping[str, OperatorView]
    gate: Callable[[Mapping[str, str]], str | None]
    clock: Callable[[], float]
    llm_closed: Callable[[], str | None] = lambda: None
    """Why the language model can no longer be asked (no money left, key refused), or None."""
    paced: bool = False
    """Whether the evaluator's median rule is on: screenings are then told the baseline's pace."""
    llm_room: Callable[[int], bool] = lambda in_flight: True
    """Whether the caps leave room for one more call beside so many in flight."""
    llm_concurrency: int = 8
    """Proposals that a language model is asked for at the same time."""
    monotonic: Callable[[], float] = time.monotonic


@dataclass(frozen=True)
class PendingProposal:
    """What a thread brought back for a move: a candidate, the reason for none, or an error of ours."""

    number: int
    result: Candidate | NoCandidate | Exception
    seconds: float


def evaluation_seed(run_seed: int, number: int) -> int:
    """The seed of the training that move ``number`` asks for: evaluator-owned, 31 bits, another one for every move."""
    digest = hashlib.sha256(f"evaluation/{run_seed}/{number}".encode()).digest()
    return int.from_bytes(digest[:4], "little") >> 1


class Engine:
    """One run in progress. Not thread-safe: one thread asks and tells."""

    def __init__(
        self, parts: EngineParts, archive: Archive, run: Run, tree: Tree, lookahead: Lookahead | None = None
    ) -> None:
        """``lookahead``: how many proposals to prepare beyond what free slots want; None for none at all."""
        self.parts = parts
        self.archive = archive
        self.run = run
        self.tree = tree
        self.stopped: str | None = None
        """Why the policy ended the search, once it has."""
        self.wake: Callable[[], None] = lambda: None
        """Called from another thread when a proposal has come back, so that nobody has to look for it."""
        self._lookahead = lookahead
        self._outage = Outage()
        self._ready: deque[Request] = deque()
        self._asked: set[int] = set()  # numbers of moves
        self._thoughts: queue.SimpleQueue[PendingProposal] = queue.SimpleQueue()
        self._thinking: dict[int, float] = {}  # move number -> when its proposal was asked for
        self._to_think: deque[tuple[Operator, int, Propose, Context]] = deque()
        self._pool = ThreadPoolExecutor(max_workers=parts.llm_concurrency, thread_name_prefix="proposal")
        self._lost: dict[int, int] = {}
        self._known = {node.digest for node in tree.nodes}
        self._leader = tree.leader()
        self._said_closed = False
        self._widened = self._widened_before()
        # The tree stays for the whole session: the garbage collector need not walk 100,000 nodes again and again.
        gc.freeze()

    # ------------------------------------------------------------ ask

    def queued(self, *purposes: Purpose) -> int:
        """Trainings for these purposes that ``ask`` can give now."""
        return sum(request.purpose in purposes and not self._is_stale(request) for request in self._ready)

    @property
    def ready(self) -> int:
        """Screenings that ``ask`` can give now."""
        return self.queued("screen")

    @property
    def thinking(self) -> int:
        """Proposals that wait for a language model."""
        return len(self._thinking)

    @property
    def pausing(self) -> bool:
        """Whether the language model is to be asked again after a while: its service could not answer."""
        return self._outage.pausing(self.parts.monotonic())

    @property
    def ahead(self) -> int:
        """Proposals that ``fill`` should prepare beyond what free slots want, by what has been measured."""
        if self._lookahead is None:
            return 0
        now = self.parts.monotonic()
        return self._lookahead.wanted(max((now - began for began in self._thinking.values()), default=0.0))

    def begin(self, files: Mapping[str, str]) -> None:
        """Plant the root if the run is new; otherwise take up what was chosen and not finished."""
        if not len(self.tree):
            record = self._choose(Propose(ROOT_OPERATOR, ()))
            self._admit(record, Candidate(files, (), ROOT_OPERATOR, "the seed program"))
            return
        self._need_a_root()
        for number, record in sorted(self.tree.open_moves.items()):
            if isinstance(record.move, Replicate):
                self._queue(record, record.move.node_id, record.move.purpose)
            elif (node := self._child_of(number)) is not None:
                self._queue(record, node.node_id, "screen")
            else:
                self._make(record)
        self._begin_thinking()

    def fill(self, free: int, lookahead: int) -> None:
        """Choose moves until ``free`` requests are ready and ``lookahead`` proposals more are on their way.

        A slot that is free does not wait for a language model while another operator can give it something to do.
        """
        self._collect()
        while self.stopped is None:
            views = self._views(free, lookahead)
            move = None if views is None else self._next_move(views)
            if move is None:
                return
            with self.archive.transaction():  # one commit for the move and what comes of it at once
                record = self._choose(move)
                if isinstance(move, Replicate):
                    self._queue(record, move.node_id, move.purpose)
                else:
                    self._make(record)
            fault("move")
            self._begin_thinking()

    def _views(self, free: int, lookahead: int) -> Mapping[str, OperatorView] | None:
        """The operators that the next move may use, or None when enough is ready or on its way."""
        quick = {name: view for name, view in self.parts.views.items() if not self.parts.operators[name].needs_llm}
        if self._llm_is_closed():  # what is made in an instant need not be made ahead
            return quick if self.ready < free else None
        if self.ready + self.thinking < free + lookahead and self._may_ask():
            return self.parts.views
        return quick if self.ready < free and quick else None

    def _may_ask(self) -> bool:
        """Whether one more proposal may go to the language model now: else those on their way are waited for."""
        if not self._outage.may_ask(self.parts.monotonic(), self.thinking):
            return False
        return self.thinking < self.parts.llm_concurrency and self.parts.llm_room(self.thinking)

    def _llm_is_closed(self) -> bool:
        """Whether operators that need a language model are out of the game; said once, when it happens."""
        reason = self.parts.llm_closed()
        if reason is not None and not self._said_closed:
            self._said_closed = True
            self.note("llm_closed", f"the language model is not asked any more: {reason}")
        return reason is not None

    def words_of_closed(self) -> str:
        """Why the language model can no longer be asked, as a sentence that follows another one; empty if it can be."""
        reason = self.parts.llm_closed()
        return "" if reason is None else f" The language model cannot be asked any more: {reason}"

    @property
    def in_flight(self) -> int:
        """Trainings that were asked for and not told yet."""
        return len(self._asked)

    def ask(self, *purposes: Purpose) -> Request | None:
        """One training for one of these purposes that is ready to start, or None."""
        for request in self._ready:
            if request.purpose in purposes and not self._is_stale(request):
                self._ready.remove(request)
                self._asked.add(request.move)
                return request
        return None

    def _is_stale(self, request: Request) -> bool:
        """Whether a training belongs to an earlier claim, after which the search went on: it is not worth its cost."""
        if request.purpose == "screen":
            return False
        later = (record.move for number, record in self.tree.moves.items() if number > request.move)
        return any(isinstance(move, Propose) or move.purpose == "screen" for move in later)

    def replicate(self, move: Replicate) -> None:
        """Put a training of a known node in the queue (the claim does, and a resume on other hardware)."""
        self._queue(self._choose(move), move.node_id, move.purpose)

    def close(self) -> None:
        """Wait for the answers that are on their way: they are paid for, and recorded as they come."""
        self._pool.shutdown(wait=True, cancel_futures=True)
        gc.unfreeze()

    def _next_move(self, views: Mapping[str, OperatorView]) -> Propose | Replicate | None:
        self._follow_state()
        choice = self.parts.policy.choose(self.tree, self._rng("move", self._next_number), views)
        if isinstance(choice, Stop):
            self.stopped = f"{choice.reason}{self.words_of_closed()}"
            self.note("stopped", self.stopped)
            return None
        return None if isinstance(choice, Wait) else choice

    def _follow_state(self) -> None:
        """Note when the policy widens the search: once, however long that lasts."""
        state = self._policy_state()
        if state is not None and self._widened is None:
            self.note("widened", state)
        self._widened = state

    def _widened_before(self) -> str | None:
        """The policy's words, if it has widened the search and an earlier session has noted that."""
        state = self._policy_state()
        noted = "SELECT count(*) FROM events WHERE run = ? AND kind = 'widened' AND message = ?"
        return state if state and self.archive.query(noted, [self.run.run, state])[0][0] else None

    def _policy_state(self) -> str | None:
        policy = self.parts.policy
        return policy.state(self.tree) if isinstance(policy, StateReporter) else None

    @property
    def _next_number(self) -> int:
        return len(self.tree.moves)

    def _rng(self, purpose: str, number: int) -> np.random.Generator:
        digest = hashlib.sha256(f"{purpose}/{self.run.seed}/{number}".encode()).digest()
        return np.random.default_rng(int.from_bytes(digest[:16], "little"))

    def _choose(self, move: Move) -> MoveRecord:
        number = self._next_number
        record = MoveRecord(self.run.run, number, move, evaluation_seed(self.run.seed, number))
        self.archive.choose(record)
        self.tree.choose(record)
        return record

    def _queue(self, record: MoveRecord, node_id: str, purpose: Purpose) -> None:
        files = self.tree[node_id].candidate.files
        self._ready.append(Request(node_id, self.run.run, record.number, files, record.seed, purpose))

    def _child_of(self, number: int) -> Node | None:
        return next((node for node in reversed(self.tree.nodes) if node.move == number), None)

    # ------------------------------------------------------------ proposals

    def _make(self, record: MoveRecord) -> None:
        """Let the operator of a move make its candidate: here, or in a thread if it asks a language model.

        The thread is for ``_begin_thinking`` to start.
        """
        move = record.move
        assert isinstance(move, Propose)
        if move.operator not in self.parts.operators:
            self._refuse(record, f"the operator {move.operator!r} is not available in this session")
            return
        operator = self.parts.operators[move.operator]
        context = Context(
            task=self.parts.task,
            tree=self.tree,
            rng=self._rng("candidate", record.number),
            run=self.run.run,
            move_number=record.number,
            sigma=screening_sigma(self.tree),
            program=self.parts.program,
            known=self._known,
            gate=self.parts.gate,
            query=self.archive.query,
        )
        if operator.needs_llm:
            self._thinking[record.number] = self.parts.monotonic()
            self._to_think.append((operator, record.number, move, context))
        else:
            self._take(record, self._proposed(operator, move, context))

    def _begin_thinking(self) -> None:
        """Start the threads of moves that are committed: they read the archive, and must find their own move there."""
        while self._to_think:
            self._pool.submit(self._think, *self._to_think.popleft())

    def _proposed(self, operator: Operator, move: Propose, context: Context) -> Candidate | NoCandidate:
        """What the operator made. One that stumbles over a strange program refuses it: a resume would stumble again."""
        try:
            return operator.propose(move, context)
        except (ArithmeticError, AttributeError, LookupError, RecursionError, TypeError, ValueError) as error:
            return NoCandidate(f"the operator {move.operator} failed on it: {type(error).__name__}: {str(error)[:300]}")

    def _think(self, operator: Operator, number: int, move: Propose, context: Context) -> None:
        began = self.parts.monotonic()
        try:
            result: Candidate | NoCandidate | Exception = self._proposed(operator, move, context)
        except Exception as error:  # noqa: BLE001 - handed to the asking thread, which raises it
            result = error
        self._thoughts.put(PendingProposal(number, result, self.parts.monotonic() - began))
        self.wake()

    def _collect(self) -> None:
        """Take in the proposals that have come back from their threads."""
        while not self._thoughts.empty():
            thought = self._thoughts.get()
            self._thinking.pop(thought.number, None)
            if isinstance(thought.result, Exception):
                raise thought.result
            unavailable = isinstance(thought.result, NoCandidate) and thought.result.unavailable
            self._outage.told(unavailable, self.parts.monotonic())
            usable = self._take(self.tree.moves[thought.number], thought.result)
            if self._lookahead is not None:
                self._lookahead.proposed(thought.seconds, usable)

    def _take(self, record: MoveRecord, result: Candidate | NoCandidate) -> bool:
        """Admit what an operator made, or refuse it. Returns whether it became a node."""
        if isinstance(result, NoCandidate):
            self._refuse(record, result.reason)
        elif (parent := next(filter(self.tree.suspect, result.parents), None)) is not None:
            self._refuse(record, f"its parent {parent[:8]} is suspect: {self.tree.suspicion(parent)}")
        elif (reason := self.parts.gate(result.files)) is not None:
            self._refuse(record, reason)
        elif normalised(result.files) in self._known:
            self._refuse(record, "it equals a known candidate but for comments, layout or a seed")
        else:
            self._admit(record, result)
            return True
        return False

    def _refuse(self, record: MoveRecord, reason: str) -> None:
        assert isinstance(record.move, Propose)
        refusal = Refusal(self.run.run, record.number, record.move.operator, record.move.parents, reason)
        self.archive.refuse(refusal)
        self.tree.refuse(refusal)

    def _admit(self, record: MoveRecord, candidate: Candidate) -> None:
        """A candidate becomes a node: recorded before it costs any budget."""
        number = len(self.tree)
        node_id = node_id_for(self.run.run_id, number)
        digest = normalised(candidate.files)
        node = Node(node_id, self.run.run, number, record.number, candidate, self.parts.clock(), digest)
        self.tree.add(self.archive.add(node))
        fault("node")
        self._known.add(digest)
        self._queue(record, node_id, "screen")

    # ------------------------------------------------------------ tell

    def tell(self, evaluation: Evaluation) -> None:
        """Record what came of a training. Raises SearchStopped if the search cannot go on after it."""
        self._asked.discard(evaluation.request.move)
        fault("landed")
        with self.archive.transaction():
            marked = self.tree.record(self.archive.record(evaluation))
            if isinstance(evaluation, Failed) and evaluation.violation:
                self._say_who_is_suspect(evaluation.request.node_id, marked)
            self._follow_leader()
        fault("commit")
        if evaluation.outcome == "lost":
            self._again(evaluation)
        elif self._lookahead is not None:
            self._lookahead.evaluated(evaluation.resources.wall_seconds)
        self._need_a_root()

    def _need_a_root(self) -> None:
        """Raises SearchStopped if all that is known of the root is that it fails: there is nothing to search from."""
        root = self.tree.root
        failures = [e for e in self.tree.comparable(root) if e.outcome not in ("scored", "lost")]
        if not failures or self.tree.eligible().any():
            return
        last = failures[-1]
        reason = last.reason if isinstance(last, Failed) else ""
        raise SearchStopped(
            f"the seed program did not get a score ({last.outcome}: {reason}), so there is nothing to search from. "
            f"Mend it and start a new run. Its output ended with:\n\n{last.log[-3000:].strip() or '(nothing)'}"
        )

    def _again(self, evaluation: Evaluation) -> None:
        request = evaluation.request
        tries = self._lost[request.move] = self._lost.get(request.move, 0) + 1
        reason = evaluation.reason if isinstance(evaluation, Failed) else ""
        self.note("lost", f"a training was lost ({reason}); it is run again", request.node_id)
        if tries >= LOST_TRIES:
            raise SearchStopped(f"a training was lost {tries} times in a row, the last time because {reason}")
        self._ready.appendleft(request)

    def _say_who_is_suspect(self, node_id: str, marked: Sequence[str]) -> None:
        """A node was found cheating: what descends from it is kept, and counts for nothing from now on."""
        suspicion = self.tree.suspicion(node_id)
        if suspicion is None:  # the root, whose program is the task's own
            return
        heirs = [member[:8] for member in marked if member != node_id]
        named = ", ".join(heirs[:8]) + (", ..." if len(heirs) > 8 else "")
        message = f"{suspicion}; suspect with it: {len(heirs)} descendants ({named})" if heirs else str(suspicion)
        self.note("cheating", message, node_id)

    def _follow_leader(self) -> None:
        """Write down who leads, whenever that changes. It steers the search and claims nothing."""
        leader = self.tree.leader()
        if leader is None or leader == self._leader:
            return
        before, self._leader = self._leader, leader
        mean = self.tree.mean(leader)
        runs = int(self.tree.runs[self.tree.index[leader]])
        detail = {"mean": mean, "runs": runs}
        reason = f"best mean screening score so far: {mean:.4f} in {runs} run{'s' if runs > 1 else ''}"
        if before is not None and (suspicion := self.tree.suspicion(before)):
            reason += f"; {before[:8]}, which led, is suspect: {suspicion}"
        if (shorter := shorter_equal(self.tree, leader)) is not None:
            reason += f"; {shorter[:8]} is {in_words(shorter, leader, self.tree)}"
        self.archive.decide(Decision(self.run.run, "leader", leader, reason, detail, self.parts.clock()))

    def informed(self, request: Request, together: int = 1) -> Request:
        """The request with what an evaluator should know of the tree: how closely to look, and when to give up.

        That is the leader's mean as its bar (a claim that beats it is audited as a leader's), the seed deviation, the
        baseline's pace, and ``together``: the runs whose mean will be believed.
        """
        own = request.node_id == self.tree.root
        request = replace(request, sigma=screening_sigma(self.tree), together=0 if own else together)
        if request.purpose != "screen":
            return request
        request = replace(request, pace=self._pace(request.node_id))
        leader = self.tree.leader()
        return request if leader is None else replace(request, bar=self.tree.mean(leader))

    def _pace(self, node_id: str) -> tuple[CurvePoint, ...]:
        """The baseline's curve for the first run of a candidate, where far slower ones are stopped; else empty.

        Never for a node that has a score: its mean would leave out its worse runs.
        """
        root = self.tree.root
        if not self.parts.paced or node_id == root or self.tree.scores(node_id):
            return ()
        curves = [e.curve for e in self.tree.comparable(root) if isinstance(e, Scored)]
        return pace_of(curves, self.tree.conditions.budget_seconds)

    def note(self, kind: str, message: str, node_id: str | None = None) -> None:
        """Something a person would want to read in the morning."""
        self.archive.note(Event(self.run.run, kind, message, self.parts.clock(), node_id))
