"""One run as ask and tell: the search while the budget lasts, then the claim and its verdict.

    controller.ask() -> Request | None     one evaluation to start, or None
    controller.tell(landed)                record its result

``None``: nothing can start before a pending evaluation lands, or the run has ended: then ``controller.result`` is set.
The engine (``search/run/engine.py``) handles moves and proposals; this decides when their budget is used, and claims.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, replace

from archive.records import Decision, Evaluation, EvaluationPart, Landed, Request
from search.claims.claim import (
    NoClaim,
    Verdict,
    begun,
    contenders,
    first_look,
    fit,
    narrowed,
    next_moves,
    request_look,
    sized,
    spent,
    used_before,
    verdict,
)
from search.claims.error_budget import since_last_search_move
from search.claims.plan import as_started, paid_plans
from search.claims.prospect import prospect
from search.config import LEAST_SEEDS, Budget, ClaimPlan
from search.run.budget import (
    BudgetRemaining,
    BudgetUse,
    Forecast,
    SearchEnd,
    affordable,
    claim_room,
    claim_share,
    grown,
    limits_of,
    model_end,
    model_end_before,
    remaining_for_claim,
    remaining_for_search,
    seconds_left,
    target_reached,
)
from search.run.engine import Engine, SearchStopped
from search.run.sealing import joined

_LATEST = 64
"""Latest scored evaluations whose wall time predicts that of the next."""
LONGEST_OUTAGE = 3600.0
"""Seconds without an answer of the language model's service after which a search that has nothing else to do ends."""
_PATIENCE = 0.25
"""Seconds between checks whether an unavailable model's service may be asked again."""

_LIMIT_NAMES = {"evaluations": "evaluations", "hours": "hours", "device_hours": "device hours"}


class NothingMade(SearchStopped):
    """Only a language model could have made candidates, and it cannot be asked; the message has the service's words."""


@dataclass(frozen=True)
class RunResult:
    """The end of a session of a run."""

    reason: str
    verdict: Verdict | None
    finished: bool
    """False if the session was stopped before the budget was used: the run can be resumed."""
    standing: Decision | None = None
    """The verdict of an earlier claim, where the budget was used without another one."""


class RunController:
    """One session of a run. Not thread-safe: one thread asks and tells."""

    def __init__(
        self,
        engine: Engine,
        budget: Budget,
        plan: ClaimPlan | None,
        *,
        slots: int = 1,
        used: float = 0.0,
        monotonic: Callable[[], float] = time.monotonic,
        announce: Callable[[str], None] = lambda message: None,
    ) -> None:
        """``plan``: None for no claim. ``slots``: parallel evaluations. ``used``: seconds of earlier sessions.

        ``announce``: called with the reason why the search is over, before the claim begins.
        """
        self.engine = engine
        self.budget = budget
        self.plan = None if plan is None else as_started(plan, engine.run.config, self._claims_elsewhere(engine))
        self.slots = slots
        self.announce = announce
        self.result: RunResult | None = None
        """Set when the run has ended."""
        self._monotonic = monotonic
        self._started_at = monotonic() - used
        self._woken = threading.Event()
        engine.wake = self._woken.set
        self._claiming: ClaimPlan | None = None
        self._sized = -1, self.plan  # (evaluations that the plan was sized by, the plan)
        self._outlook: tuple[int, ClaimPlan | NoClaim | None] = (-1, None)
        self._reason = ""
        self._earlier_end = self._find_earlier_end()
        self._standing = engine.archive.last_verdict(engine.run.run)
        self._verdict: Verdict | None = None  # of this session
        self._has_left = False  # whether the search has what a claim did not need
        self._earlier_claims = BudgetUse()
        self._device_seconds = self._longest = 0.0
        self._walls: deque[float] = deque(maxlen=_LATEST)
        for evaluations in engine.tree.evaluations.values():
            for evaluation in evaluations:
                self._count(evaluation)
        self._concluded = begun(engine.tree) and self._paid_plan() is not None
        self._nodes_before = max(1, len(engine.tree))
        self._count_earlier_claims()

    # ------------------------------------------------------------ ask and tell

    def ask(self, free: int = 1, *, patient: bool = True) -> Request | None:
        """Return an evaluation to start now, with ``free`` slots to fill; see the module's docstring for None.

        ``patient``: wait for a language model where only its answer can come next.
        """
        while self.result is None:
            self.prepare(max(1, free))
            if (request := self._take()) is not None:
                return request
            if self._advance():
                continue
            if patient:
                self.engine.archive.flush()
            if not patient or self.engine.in_flight:
                return None
            self._woken.wait(_PATIENCE)
            self._woken.clear()
        return None

    def tell(self, landed: Landed) -> None:
        """Record the result of an evaluation, or that a part of one for a claim has ended.

        Raises SearchStopped if the search cannot continue after it.
        """
        if not isinstance(landed, EvaluationPart):
            landed = joined(landed)
            self._count(landed)
        self.engine.tell(landed)
        if self._claiming is not None and (look := first_look(self.engine.tree, self._claiming)) is not None:
            self.engine.journal.record_look(look)

    def prepare(self, free: int) -> None:
        """Choose moves for free slots, and have proposals made ahead, as far as the budget can evaluate them."""
        engine, tree = self.engine, self.engine.tree
        if self._claiming is not None:
            # No more than can start now: if a finalist fails, its other runs are not worth their cost.
            for move in next_moves(tree, self._claiming)[: max(0, free - engine.queued("confirm", "report"))]:
                engine.replicate(move)
        elif self.result is None and self._over() is None:
            if self._model_used():
                engine.fill(0, 0)
                return
            free = min(free, self.remaining, self._unreserved())
            before_claim = self._remaining_after(self._affordable())
            engine.fill(free, max(0, min(engine.wanted_ahead, before_claim - free)))

    def ask_ready(self) -> Request | None:
        """Return an evaluation to start, also before a landed one is recorded: its slot need not wait for the disk.

        No move is chosen here, so all moves follow from the recorded tree. With a target, None: the landed evaluation
        may end the search.
        """
        return self._take() if self._claiming is None and self.budget.target is None else None

    def _take(self) -> Request | None:
        if (plan := self._claiming) is not None:
            request = self.engine.ask("confirm", "report") or self._judgement(plan)
            if request is not None:
                request = replace(request, look=request_look(self.engine.tree, plan, request.move))
        else:
            request = self.engine.ask("screen") if self._over() is None else None
        return None if request is None else self.engine.annotate(request)

    def _judgement(self, plan: ClaimPlan) -> Request | None:
        """Return a training of the claim to judge, if nothing more is to be trained before."""
        tree = self.engine.tree
        if next_moves(tree, plan) or verdict(tree, plan) is not None:
            return None
        return self.engine.ask_judgement()

    # ------------------------------------------------------------ the stages

    @property
    def remaining(self) -> int:
        """Evaluations that may still be started for the search, those reserved for the claim left out."""
        return self._remaining_for_search().evaluations

    @property
    def reserved(self) -> int:
        """Evaluations that are kept for the claim; 0 while none is worth its cost. Paid proposals come first."""
        plan, paid = self._prospect(), self.engine.pending + self.engine.ready
        return min(plan.evaluations, max(0, self._remaining_after(0) - paid)) if isinstance(plan, ClaimPlan) else 0

    def _prospect(self) -> ClaimPlan | NoClaim | None:
        """Return the plan of a claim within its share of what is left, or why none would be begun; None: never one."""
        now, wanted = self.engine.tree.evaluated, self._wanted()
        if wanted is not None and self._outlook[0] != now:
            self._outlook = now, self._prospect_of(wanted, claim_room(self.budget, self.use))
        return self._outlook[1]

    def _prospect_of(self, wanted: ClaimPlan, evaluations: int) -> ClaimPlan | NoClaim:
        tree, standing, more = self.engine.tree, self._standing, self._has_grown_since_verdict()
        return prospect(wanted, tree, evaluations, standing, self._unit, grown=more, concluded=self._concluded)

    def _has_grown_since_verdict(self) -> bool:
        """Return whether the budget is larger than that of the last claim; True if there was none."""
        return self._standing is None or grown(self.budget, self._standing.detail.get("limits"), unknown=True)

    def _unreserved(self) -> int:
        """Return the evaluations that are ready, and those that neither a paid proposal nor the claim will use."""
        plan, engine = self._prospect(), self.engine
        kept = plan.evaluations if isinstance(plan, ClaimPlan) else 0
        return engine.ready + max(0, self._remaining_after(kept) - engine.pending - engine.ready)

    def _affordable(self) -> int:
        """Return the evaluations of a claim within its share of the budget, whether or not it is worth its cost now."""
        return affordable(self.budget, self._wanted(), self.use)

    def _remaining_after(self, reserved: int) -> int:
        return remaining_for_search(self.budget, self.use, reserved).evaluations

    def _remaining_for_search(self) -> BudgetRemaining:
        return remaining_for_search(self.budget, self.use, self.reserved)

    def _over(self) -> SearchEnd | None:
        """Return why no more evaluations are started for the search, or None."""
        engine = self.engine
        if engine.stopped is not None:
            return self._model_used() or SearchEnd("stopped", f"The search stopped: {engine.stopped}")
        if target_reached(self.budget, engine.tree):
            return SearchEnd("target", f"The target of {self.budget.target:g} is reached by the leader.")
        searches = self._concluded and (self._has_left or self._has_grown(unknown=True))
        if self.plan is not None and begun(engine.tree) and not searches:
            words = "The claim that was begun is completed first."
            return self._earlier_end or SearchEnd("evaluations", words)
        remaining = self._remaining_for_search()
        if remaining.evaluations < 1 and remaining.limit is not None:
            words = f"The {_LIMIT_NAMES[remaining.limit]} for searching are used."
            return SearchEnd(remaining.limit, words, limits_of(self.budget))
        return None if engine.pending or engine.ready else self._model_used()  # paid proposals are used

    def _find_earlier_end(self) -> SearchEnd | None:
        """Return why the search of an earlier session was over; None if it was not, or if not recorded."""
        ends = self.engine.archive.events(self.engine.run.run, "searched")
        if not ends or ends[-1].code is None:
            return None
        return SearchEnd(ends[-1].code, ends[-1].message, ends[-1].detail)

    def _model_used(self) -> SearchEnd | None:
        if self._earlier_end is not None and model_end_before(self.budget, self._earlier_end):
            return self._earlier_end
        parts = self.engine.parts
        return model_end(self.budget, parts.llm_closed(), parts.llm_cap())

    def _advance(self) -> bool:
        """Go from search to claim, or to the end, if it is time. Return whether the stage has changed."""
        engine = self.engine
        if engine.in_flight:
            return False
        if self._claiming is not None:
            if not next_moves(engine.tree, self._claiming):  # some are left where a state could not be used
                self._conclude(self._claiming)
        elif (over := self._over()) is not None:
            self._start_claim(over)
        elif (engine.pending or engine.paused) and not self._outage_is_long():
            return False
        else:
            engine.stopped = self._no_move()
        return True

    def _outage_is_long(self) -> bool:
        """Return whether the only thing to wait for is a service that has not answered for ``LONGEST_OUTAGE``."""
        since = self.engine.outage.since
        return since is not None and self._monotonic() - since > LONGEST_OUTAGE

    def _no_move(self) -> str:
        """Return why nothing is left to do: mostly because the only operators are those of a closed language model."""
        if self._outage_is_long():
            return (
                f"the language model's service has not answered for {LONGEST_OUTAGE / 60:.0f} minutes "
                f"({self.engine.outage_words}), and the other operators have no move"
            )
        model = self.engine.closed_sentence()
        return f"the policy has no move, and nothing that could change that is under way.{model}"

    # ------------------------------------------------------------ claiming

    def _start_claim(self, end: SearchEnd) -> None:
        """Start the claim, if the budget can pay for it. Raises NothingMade where no candidate has been made for it."""
        reason = self._reason = end.words
        self._note_once("searched", reason, end)
        self._earlier_end = end
        self._require_candidates(end)
        self.announce(reason)
        plan = self._claim_plan()
        if plan is None:
            self.result = RunResult(reason, self._verdict, finished=True, standing=self._standing)
        elif isinstance(plan, NoClaim):
            self._note_once("no_claim", plan.reason)
            self.announce(plan.reason[0].upper() + plan.reason[1:])
            reason = f"{reason} {plan.reason}"
            self.result = RunResult(reason, self._verdict, finished=True, standing=self._standing)
        else:
            self._claiming, self._concluded = plan, False
        if self._claiming is None:
            self.engine.withdraw_claim()

    def _require_candidates(self, end: SearchEnd) -> None:
        """Raise NothingMade if this session has made none, since no language model could be asked.

        A used cap of the model is the end of a budget like any other. A claim that was begun needs no more candidates.
        """
        engine = self.engine
        closed = None if engine.parts.llm_cap() else engine.parts.llm_closed()
        reason = engine.outage_words if self._outage_is_long() else closed
        claims = self._has_left or (begun(engine.tree) and not self._concluded)
        if reason and not claims and len(engine.tree) == self._nodes_before and end.code in ("stopped", "llm_closed"):
            more = "more " if len(engine.tree) > 1 else ""
            raise NothingMade(f"no {more}candidate was made, since the language model cannot be asked: {reason}")

    def _note_once(self, kind: str, message: str, end: SearchEnd | None = None) -> None:
        """Record an event of the search's end, unless an earlier session recorded the same end."""
        code, detail = (None, None) if end is None else (end.code, end.detail)
        known = self.engine.archive.event_since_search(self.engine.run.run, kind)
        if known is None or (known.message, known.code, known.detail) != (message, code, detail):
            self.engine.journal.note(kind, message, code=code, detail=detail)

    def _conclude(self, plan: ClaimPlan) -> None:
        found = verdict(self.engine.tree, plan, self._unit)
        if found is not None:
            self._record_verdict(found)
            self.engine.withdraw_claim()
            self._verdict, self._claiming, self._concluded, self._outlook = found, None, True, (-1, None)
            self._count_earlier_claims()
        if found is None or not (self._has_grown(unknown=False) or self._has_some_left(found)):
            self.result = RunResult(self._reason, found, finished=True)

    def _has_some_left(self, found: Verdict) -> bool:
        """Return whether the claim has left evaluations of a budget that it ended the search for."""
        end = self._earlier_end
        self._has_left = end is not None and end.code in _LIMIT_NAMES and self.remaining > 0
        if self._has_left:
            self.announce(
                f"The claim is over: {found.reason}. The search goes on with the evaluations that it has left."
            )
        return self._has_left

    def _claim_plan(self) -> ClaimPlan | NoClaim | None:
        """Return the plan as far as it can be paid. A plan that has its verdict stays as it was: no seeds are added."""
        if (wanted := self._wanted()) is None:
            return None
        tree, done, remaining = self.engine.tree, spent(self.engine.tree), remaining_for_claim(self.budget, self.use)
        if not begun(tree):
            return self._new_claim_plan(wanted, remaining)
        if (paid := self._paid_plan()) is not None:
            return paid
        return fit(narrowed(tree, wanted), remaining.evaluations + done) if remaining.limit else wanted

    def _new_claim_plan(self, wanted: ClaimPlan, remaining: BudgetRemaining) -> ClaimPlan | NoClaim:
        """Return the plan of a claim that may take so many evaluations, or why it is not begun."""
        share = claim_share(self.budget, self.use)
        fits = isinstance(fit(wanted, max(remaining.evaluations, share)), ClaimPlan)
        if fits and not any(True for _ in contenders(self.engine.tree)):
            return wanted  # it has its verdict, and costs nothing
        found, of_share = (self._prospect_of(wanted, most) for most in (remaining.evaluations, share))
        if isinstance(found, ClaimPlan):
            return found
        plan = of_share if isinstance(of_share, NoClaim) else found  # the search went on for what the share lacked
        if plan.too_small and remaining.limit in ("hours", "device_hours"):
            return NoClaim(
                f"a claim needs at least {2 * LEAST_SEEDS} evaluations with fresh seeds, and budget.{remaining.limit} "
                f"has room for {remaining.evaluations}. Raise it and resume."
            )
        return plan

    @staticmethod
    def _claims_elsewhere(engine: Engine) -> int:
        """Count the earlier claims of other runs on this holdout: they have spent from the same error budget."""
        tree = engine.tree
        first = len(tree.moves) - len(tuple(since_last_search_move(tree)))
        return engine.archive.claims_elsewhere(engine.run.run, tree.conditions.fingerprint, first)

    def _paid_plan(self) -> ClaimPlan | None:
        """Return a plan with which the claim that is begun has come to its recorded verdict; None if there is none."""
        tree, wanted, done = self.engine.tree, self._wanted(), spent(self.engine.tree)
        if wanted is None:
            return None
        plans = paid_plans(wanted, done)
        return next((plan for plan in plans if self._is_recorded(verdict(tree, plan, self._unit))), None)

    def _count_earlier_claims(self) -> None:
        """Set the use up to the end of the latest claim that is over. Wall seconds within a session are estimated."""
        evaluations, device_seconds = used_before(self.engine.tree, self._concluded)
        seconds = self._monotonic() - self._started_at
        if not self._concluded:
            seconds = min(seconds, device_seconds / max(1, self.slots))
        self._earlier_claims = BudgetUse(evaluations, seconds=seconds, device_seconds=device_seconds)

    def _has_grown(self, *, unknown: bool) -> bool:
        """Return whether the budget is larger than when the search ended before; ``unknown`` if not recorded."""
        end = self._earlier_end
        return unknown if end is None or end.code not in _LIMIT_NAMES else grown(self.budget, end.detail, unknown)

    def _wanted(self) -> ClaimPlan | None:
        """Return the plan with as many seeds as the noise of the screenings so far requires."""
        tree = self.engine.tree
        if self.plan is not None and self._sized[0] != tree.evaluated:
            self._sized = tree.evaluated, sized(self.plan, tree)
        return self._sized[1]

    @property
    def _unit(self) -> str:
        return self.engine.parts.task.metric.unit

    def _is_recorded(self, found: Verdict | None) -> bool:
        engine = self.engine
        known = engine.archive.last_verdict(engine.run.run)
        return found is not None and known is not None and found.is_decision(known)

    def _record_verdict(self, found: Verdict) -> None:
        """Record the verdict once, also when a finished run is started again."""
        engine, detail = self.engine, dict(found.detail)
        if not self._is_recorded(found):
            clock, run, end = engine.parts.clock, engine.run.run, self._earlier_end
            detail |= {"limits": end.detail} if end is not None and end.code in _LIMIT_NAMES else {}
            self._standing = Decision(run, found.kind, found.node_id, found.reason, detail, clock(), found.code)
            engine.archive.decide(self._standing)

    # ------------------------------------------------------------ what is used

    @property
    def use(self) -> BudgetUse:
        """The run's use so far, and what is in flight, by the rules of ``search/run/budget.py``."""
        walls, before = self._walls or [2 * self.engine.parts.task.seconds], self._earlier_claims
        return BudgetUse(
            evaluations=self.engine.tree.evaluated,
            in_flight=self.engine.in_flight,
            seconds=self._monotonic() - self._started_at,
            device_seconds=self._device_seconds,
            each=max(1e-3, sum(walls) / len(walls)),
            longest=max(1e-3, self._longest, *walls),
            slots=max(1, self.slots),
            evaluations_before=before.evaluations,
            seconds_before=before.seconds,
            device_seconds_before=before.device_seconds,
        )

    def _count(self, evaluation: Evaluation) -> None:
        wall = evaluation.resources.wall_seconds
        self._device_seconds += wall
        if evaluation.outcome == "scored" and evaluation.conditions == self.engine.tree.conditions:
            self._walls.append(wall)
            self._longest = max(self._longest, wall)

    def outlook(self) -> str:
        """Return what a new session may spend, as ``15 to search and up to 14 to claim``; empty if not by number."""
        defended = self._standing is not None and self._standing.kind == "champion"
        kept = 0 if defended and not self._has_grown_since_verdict() else self._affordable()
        remaining = remaining_for_search(self.budget, self.use, kept)
        if remaining.limit != "evaluations" or (begun(self.engine.tree) and not self._concluded):
            return ""
        return f"{remaining.evaluations} to search and {f'up to {kept}' if kept else 'none'} to claim"

    def forecast(self) -> Forecast:
        """Return what is still to come. What a claim does not need of a number of evaluations, the search has."""
        claiming, use, total = self._claiming, self.use, self.budget.evaluations
        left = None if total is None else max(0, total - use.evaluations)
        if claiming is not None:
            own = max(0, claiming.evaluations - spent(self.engine.tree))
            return Forecast("claiming", use.slots, own if left is None else left, None, target=False)
        target = self.budget.target is not None
        return Forecast("searching", use.slots, left, seconds_left(self.budget, use), target)
