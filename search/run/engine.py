"""Ask and tell: the next evaluation of a search, and the record of its result. ``search/run/loop.py`` is one user.

    engine.fill(free, ahead)           choose moves and make candidates, up to what is wanted
    engine.ask() -> Request | None     one evaluation, ready to start
    engine.ask_judgement()             the second half of one of a claim: see ``search/run/sealing.py``
    engine.tell(landed)                record its result

A move is written to the archive before it costs anything, and a language model's answer before it is used, so a killed
search resumes where it was. Moves, nodes and refusals cost nothing: they are committed with what is paid for next, at
the latest before an evaluation starts. The generator of a move is derived from (seed, move number): the same tree gives
the same move after a resume. Language models are asked in threads (``search/run/proposals.py``).
"""

from __future__ import annotations

import hashlib
import time
from collections import deque
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, replace

import numpy as np

from archive.records import (
    ROOT_OPERATOR,
    WITHDRAWN,
    Candidate,
    Evaluation,
    Failed,
    Landed,
    Move,
    MoveRecord,
    Node,
    Propose,
    Purpose,
    Refusal,
    Replicate,
    Request,
    Run,
    StageAnswered,
    Stop,
    Trained,
    Wait,
    node_id_for,
)
from archive.storage.store import Archive
from archive.tree import Tree
from operators.base import Context, NoCandidate, Operator
from operators.languages.fingerprint import fingerprint
from operators.llm.base import Cap
from prepare.output import printable
from prepare.task import Task
from search.claims.error_budget import is_claim
from search.claims.statistics import seed_deviation
from search.policies.base import OperatorView, Policy, spent_words
from search.run.journal import RunJournal
from search.run.lookahead import Lookahead, Outage
from search.run.proposals import PendingProposal, ProposalPool, propose, with_instructions
from search.run.screening import for_screening
from search.run.sealing import UNUSABLE, SealedTrainings, without_state
from train.faults import fault

LOST_TRIES = 3
"""Losses of one evaluation in a row (its slot or machine went away) after which the search stops."""


class SearchStopped(Exception):
    """The search cannot continue; the message is for the user. Nothing recorded is lost."""


@dataclass(frozen=True)
class EngineParts:
    """The components of a search."""

    task: Task
    program: str
    """The text of the task's ``program.md``."""
    policy: Policy
    operators: Mapping[str, Operator]
    views: Mapping[str, OperatorView]
    """The operators as the policy sees them: name, arity, weight, applicability."""
    gate: Callable[[Mapping[str, str]], str | None]
    """Return why files are refused before they are evaluated, or None."""
    clock: Callable[[], float]
    llm_closed: Callable[[], str | None] = lambda: None
    """Return why the language model can no longer be asked (no money left, key refused), or None."""
    llm_cap: Callable[[], Cap | None] = lambda: None
    """Return the cap that is why it can no longer be asked, if one is."""
    llm_room: Callable[[int], bool] = lambda in_flight: True
    """Return whether the caps leave room for one more call beside so many in flight."""
    llm_halt: Callable[[], None] = lambda: None
    """Have nothing sent to the language model any more."""
    llm_answering: Callable[[], int] = lambda: 0
    """Count the calls of the language model whose answer is arriving."""
    llm_concurrency: int = 8
    """Proposals that a language model is asked for at the same time."""
    monotonic: Callable[[], float] = time.monotonic


def evaluation_seed(run_id: str, number: int) -> int:
    """Return the seed of the evaluation that move ``number`` asks for: 63 bits, others for every move and every run."""
    digest = hashlib.sha256(f"evaluation/{run_id}/{number}".encode()).digest()
    return int.from_bytes(digest[:8], "little") >> 1


class Engine:
    """One run in progress. Not thread-safe: one thread asks and tells."""

    def __init__(
        self, parts: EngineParts, archive: Archive, run: Run, tree: Tree, lookahead: Lookahead | None = None
    ) -> None:
        """``lookahead``: how many proposals to prepare beyond what free slots want; None for none."""
        self.parts = parts
        self.archive = archive
        self.run = run
        self.tree = tree
        self.stopped: str | None = None
        """Why the policy ended the search; None while it runs."""
        self.wake: Callable[[], None] = lambda: None
        """Called from another thread when a proposal has finished, so that a waiting loop can take it up."""
        self._proposals = ProposalPool(parts.llm_concurrency, lookahead, parts.monotonic, lambda: self.wake())
        self.journal = RunJournal(archive, run, tree, parts.policy, parts.clock)
        self._sealed = SealedTrainings(archive, tree)
        self._postponed: deque[MoveRecord] = deque()  # their model's service could not answer; they are made again
        self._unavailable = ""
        self._ready: deque[Request] = deque()
        self._in_flight: set[int] = set()  # numbers of moves
        self._losses: dict[int, int] = {}  # by number of the move
        self._known = {node.digest for node in tree.nodes}
        self._closing_noted = False

    # ------------------------------------------------------------ state

    def queued(self, *purposes: Purpose) -> int:
        """Count the evaluations for these purposes that ``ask`` can return now."""
        return sum(request.purpose in purposes and not self._is_stale(request) for request in self._ready)

    @property
    def ready(self) -> int:
        """Screenings that ``ask`` can return now."""
        return self.queued("screen")

    @property
    def pending(self) -> int:
        """Proposals that wait for a language model, those that wait for the end of an outage included."""
        return len(self._proposals) + len(self._postponed)

    @property
    def in_flight(self) -> int:
        """Evaluations returned by ``ask`` and not told yet."""
        return len(self._in_flight)

    @property
    def paused(self) -> bool:
        """True while the service of the language model cannot answer and will be asked again after a pause."""
        return self._proposals.paused

    @property
    def outage(self) -> Outage:
        """The present failure of the language model's service, if any."""
        return self._proposals.outage

    @property
    def outage_words(self) -> str:
        """Why the language model's service could not answer the last time; empty if it can."""
        return self._unavailable if self.outage.since is not None else ""

    @property
    def wanted_ahead(self) -> int:
        """Proposals that ``fill`` should prepare beyond what free slots want, by the latencies measured so far."""
        return self._proposals.wanted_ahead

    # ------------------------------------------------------------ ask

    def start(self, files: Mapping[str, str]) -> None:
        """Add the root if the run is new; otherwise queue what an earlier session chose and did not finish."""
        if not len(self.tree):
            record = self._choose(Propose(ROOT_OPERATOR, ()))
            self._accept(record, Candidate(files, (), ROOT_OPERATOR, "the seed program"))
            return
        self._require_root()
        self.withdraw_claim(stale=True)
        self._sealed.drop_closed()
        for number, record in sorted(self.tree.open_moves.items()):
            if number in self.tree.trained:
                continue  # it waits for its judgement
            if isinstance(record.move, Replicate):
                self._queue(record, record.move.node_id, record.move.purpose)
            elif (node := self._child_of(number)) is not None:
                self._queue(record, node.node_id, "screen")
            else:
                self._propose(record)
        self._proposals.start()

    def fill(self, free: int, ahead: int) -> None:
        """Choose moves until ``free`` evaluations are ready and ``ahead`` more proposals are pending.

        A free slot does not wait for a language model while another operator can give it something to do.
        """
        self._receive()
        self._retry_postponed()
        while self.stopped is None:
            views = self._usable_operators(free, ahead)
            move = None if views is None else self._next_move(views)
            if move is None:
                return
            with self.archive.transaction(later=True):
                record = self._choose(move)
                if isinstance(move, Replicate):
                    self._queue(record, move.node_id, move.purpose)
                else:
                    self._propose(record)
            fault("move")
            self._proposals.start()

    def ask(self, *purposes: Purpose) -> Request | None:
        """Return one evaluation for one of these purposes that is ready to start, or None."""
        for request in self._ready:
            if request.purpose in purposes and not self._is_stale(request):
                self.archive.flush()
                self._ready.remove(request)
                self._in_flight.add(request.move)
                return request
        return None

    def ask_judgement(self) -> Request | None:
        """Return an evaluation of the claim that is trained, to be judged; None while another one is being trained."""
        waiting = self._sealed.waiting(self._in_flight)
        if unusable := self._sealed.unusable(waiting):
            self._withdraw(unusable, UNUSABLE)
            return None
        for number in waiting:
            if (request := self._sealed.begin(number)) is not None:
                self._in_flight.add(number)
                return request
            self._withdraw([number], UNUSABLE)
        return None

    def replicate(self, move: Replicate) -> None:
        """Queue an evaluation of a known node: for the claim, or for a resume on other hardware."""
        self.journal.record_holdout(move, self.parts.task)
        self._queue(self._choose(move), move.node_id, move.purpose)

    def withdraw_claim(self, stale: bool = False) -> None:
        """Close the claim's evaluations that were chosen and not started, so that none stays open for ever.

        ``stale``: only those of an earlier claim, after which the search continued.
        """
        waiting = {n for n, record in self.tree.open_moves.items() if is_claim(record)} - self._in_flight
        if waiting and stale:
            last = max(n for n, record in self.tree.moves.items() if not is_claim(record))
            waiting = {number for number in waiting if number < last}
        self._withdraw(waiting, "the claim was over, or the search continued, before this evaluation was made")
        if waiting or not stale:
            self._sealed.drop_closed()

    def _withdraw(self, numbers: Collection[int], reason: str) -> None:
        for number in sorted(numbers):
            self._record_refusal(Refusal(self.run.run, number, WITHDRAWN, (), reason))
        self._ready = deque(request for request in self._ready if request.move not in numbers)

    def annotate(self, request: Request) -> Request:
        """Add to a request what the evaluator needs to know of the archive.

        For a screening see ``search.run.screening``; for a claim the key to its cases, to judge that to positions.
        """
        if request.purpose != "screen":
            request = replace(request, case_key=self.archive.secret("cases"))
            return request if request.seal else self._sealed.annotate(request)
        return for_screening(self.tree, request, self.parts.task)

    def close(
        self, stopped: Callable[[], bool] = lambda: False, announce: Callable[[int], None] = lambda running: None
    ) -> int:
        """Have nothing sent any more, and wait for pending proposals: they are paid for, and recorded as they come.

        For ``stopped``, ``announce`` and the result see ``ProposalPool.close``.
        """
        self.parts.llm_halt()
        return self._proposals.close(stopped, self.parts.llm_answering, announce)

    def closed_sentence(self) -> str:
        """Say why the language model can no longer be asked, with a leading space; empty if it can be."""
        reason = self.parts.llm_closed()
        return "" if reason is None else f" The language model cannot be asked any more: {reason}"

    def _usable_operators(self, free: int, ahead: int) -> Mapping[str, OperatorView] | None:
        """Return the operators that the next move may use, or None when enough is ready or pending."""
        quick = {name: view for name, view in self.parts.views.items() if not self.parts.operators[name].needs_llm}
        if self._llm_is_closed():  # instant proposals need not be made ahead
            return quick if self.ready < free else None
        if self.ready + self.pending < free + ahead and self._may_ask_model():
            return self.parts.views
        return quick if self.ready < free and quick else None

    def _may_ask_model(self) -> bool:
        """Return whether one more proposal may go to the language model now."""
        return not self._postponed and self._has_room()

    def _has_room(self) -> bool:
        return self._proposals.has_room() and self.parts.llm_room(len(self._proposals))

    def _llm_is_closed(self) -> bool:
        """Return whether the language model can no longer be asked; note it the first time."""
        reason = self.parts.llm_closed()
        if reason is not None and not self._closing_noted:
            self._closing_noted = True
            self.journal.note("llm_closed", f"the language model is not asked any more: {reason}")
        return reason is not None

    def _is_stale(self, request: Request) -> bool:
        """Return whether an evaluation belongs to an earlier claim, after which the search continued."""
        if request.purpose == "screen":
            return False
        later = (record.move for number, record in self.tree.moves.items() if number > request.move)
        return any(isinstance(move, Propose) or move.purpose == "screen" for move in later)

    def _next_move(self, views: Mapping[str, OperatorView]) -> Propose | Replicate | None:
        self.journal.record_policy_state()
        choice = self.parts.policy.choose(self.tree, self._rng("move", len(self.tree.moves)), views)
        if isinstance(choice, Stop) and (self.pending or self.ready):
            return None  # paid proposals are evaluated first; their results may allow other moves
        if isinstance(choice, Stop):
            self.stopped = f"{choice.reason}{self.closed_sentence()}"
            self.journal.note("stopped", self.stopped)
            return None
        if isinstance(choice, Propose):  # others go on; the reason of a stop says it otherwise
            self.journal.record_spent(spent_words(views))
        return None if isinstance(choice, Wait) else choice

    def _rng(self, purpose: str, number: int) -> np.random.Generator:
        digest = hashlib.sha256(f"{purpose}/{self.run.seed}/{number}".encode()).digest()
        return np.random.default_rng(int.from_bytes(digest[:16], "little"))

    def _choose(self, move: Move) -> MoveRecord:
        number = len(self.tree.moves)
        record = MoveRecord(self.run.run, number, move, evaluation_seed(self.run.run_id, number))
        self.archive.choose(record)
        self.tree.choose(record)
        if not is_claim(record):
            self.withdraw_claim(stale=True)
        return record

    def _queue(self, record: MoveRecord, node_id: str, purpose: Purpose) -> None:
        files = self.tree[node_id].candidate.files
        seal = purpose != "screen"
        self._ready.append(Request(node_id, self.run.run, record.number, files, record.seed, purpose, seal=seal))

    def _child_of(self, number: int) -> Node | None:
        return next((node for node in reversed(self.tree.nodes) if node.move == number), None)

    # ------------------------------------------------------------ proposals

    def _propose(self, record: MoveRecord) -> None:
        """Have a move's operator make its candidate: at once, or in a thread if it asks a language model."""
        move = record.move
        assert isinstance(move, Propose)
        if move.operator not in self.parts.operators:
            self._refuse(record, f"the operator {move.operator!r} is not available in this session")
            return
        operator = self.parts.operators[move.operator]
        context = self._context(record.number)
        if operator.needs_llm:
            self._proposals.add(PendingProposal(record.number, operator, move, context))
        else:
            self._admit(record, propose(operator, move, context))

    def _context(self, number: int) -> Context:
        return Context(
            task=self.parts.task,
            tree=self.tree,
            rng=self._rng("candidate", number),
            run=self.run.run,
            move_number=number,
            sigma=seed_deviation(self.tree),
            program=with_instructions(self.parts.program, self.tree.steering.instructions_for(number)),
            known=self._known,
            gate=self.parts.gate,
            query=self.archive.query,
        )

    def _receive(self) -> None:
        """Admit or refuse the proposals that have finished."""
        for finished in self._proposals.finished():
            record = self.tree.moves[finished.number]
            if finished.unavailable and isinstance(finished.result, NoCandidate):
                self._unavailable = finished.result.reason
                self._postponed.append(record)
                continue
            with self.archive.transaction(later=True):
                usable = self._admit(record, finished.result) is None
            self._proposals.record_proposal(finished.seconds, usable)

    def _retry_postponed(self) -> None:
        """Make the proposals again that an outage has prevented: a move is no refusal because a service was busy."""
        while self._postponed and (self._llm_is_closed() or self._has_room()):
            self._propose(self._postponed.popleft())
        self._proposals.start()

    def insert(self, candidate: Candidate) -> str | None:
        """Add a candidate of the user's own, by a move of its own. Return why it is refused, or None."""
        with self.archive.transaction():
            return self._admit(self._choose(Propose(candidate.operator, candidate.parents)), candidate)

    def _admit(self, record: MoveRecord, result: Candidate | NoCandidate) -> str | None:
        """Accept a candidate as a node, or refuse it. Return the reason of a refusal."""
        reason = result.reason if isinstance(result, NoCandidate) else self._objection(result)
        if isinstance(result, Candidate) and reason is None:
            self._accept(record, result)
        else:
            self._refuse(record, reason or "")
        return reason

    def _objection(self, candidate: Candidate) -> str | None:
        """Return why a candidate cannot become a node, or None."""
        if (parent := next(filter(self.tree.barred, candidate.parents), None)) is not None:
            suspicion = self.tree.suspicion(parent)
            return f"its parent {parent[:8]} is {'banned' if suspicion is None else f'suspect: {suspicion}'}"
        if (reason := self.parts.gate(candidate.files)) is not None:
            return reason
        known = fingerprint(candidate.files) in self._known
        return "it equals a known candidate but for comments, layout or a seed" if known else None

    def _refuse(self, record: MoveRecord, reason: str) -> None:
        assert isinstance(record.move, Propose)
        refusal = Refusal(self.run.run, record.number, record.move.operator, record.move.parents, reason)
        self._record_refusal(refusal)

    def _record_refusal(self, refusal: Refusal) -> None:
        self.archive.refuse(refusal)
        self.tree.refuse(refusal)

    def _accept(self, record: MoveRecord, candidate: Candidate) -> None:
        """Add a candidate as a node, recorded before it costs any budget, and queue its screening."""
        number = len(self.tree)
        node_id = node_id_for(self.run.run_id, number)
        digest = fingerprint(candidate.files)
        node = Node(node_id, self.run.run, number, record.number, candidate, self.parts.clock(), digest)
        self.tree.add(self.archive.add(node))
        fault("node")
        self._known.add(digest)
        self._queue(record, node_id, "screen")

    # ------------------------------------------------------------ tell

    def tell(self, landed: Landed) -> None:
        """Record the result of an evaluation. Raises SearchStopped if the search cannot continue after it."""
        self._in_flight.discard(landed.request.move)
        fault("landed")
        if isinstance(landed, Trained):
            self._sealed.seal(landed)
            self._losses.pop(landed.request.move, None)
            fault("seal")
        elif isinstance(landed, StageAnswered):
            self._sealed.answer(landed)
            self._losses.pop(landed.request.move, None)
            fault("stage")
        else:
            self._record(landed)

    def _record(self, evaluation: Evaluation) -> None:
        with self.archive.transaction():
            marked = self.tree.record(self.archive.record(without_state(evaluation)))
            if isinstance(evaluation, Failed) and evaluation.violation:
                self.journal.record_suspects(evaluation.request.node_id, marked)
            if isinstance(evaluation, Failed) and evaluation.defect:
                self.journal.note("defect", evaluation.defect, evaluation.request.node_id)
            self.journal.record_leader()
        fault("commit")
        if evaluation.outcome == "lost":
            self._requeue(evaluation)
        else:
            self._proposals.record_evaluation(evaluation.resources.wall_seconds)
        self._require_root()

    def _require_root(self) -> None:
        """Raise SearchStopped if nothing has a score and the root has failed: there is nothing to search from."""
        root = self.tree.root
        failures = [e for e in self.tree.comparable(root) if e.outcome not in ("scored", "lost")]
        if not failures or self.tree.eligible().any():
            return
        last = failures[-1]
        reason = last.reason if isinstance(last, Failed) else ""
        log = printable(last.log[-3000:]).strip() or "(nothing)"
        raise SearchStopped(
            f"the seed program did not get a score ({last.outcome}: {printable(reason)}), so there is nothing to "
            f"search from. Fix it and start a new run. Its output ended with:\n\n{log}"
        )

    def _requeue(self, evaluation: Evaluation) -> None:
        """Run a lost evaluation again. Raises SearchStopped after ``LOST_TRIES`` losses."""
        request = evaluation.request
        losses = self._losses[request.move] = self._losses.get(request.move, 0) + 1
        reason = evaluation.reason if isinstance(evaluation, Failed) else ""
        self.journal.note("lost", f"an evaluation was lost ({reason}); it is run again", request.node_id)
        if losses >= LOST_TRIES:
            raise SearchStopped(f"an evaluation was lost {losses} times in a row, the last time because {reason}")
        self._ready.appendleft(request)
