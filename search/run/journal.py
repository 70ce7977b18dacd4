"""Events and leader decisions of one run, written to the archive. They steer nothing."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict

from archive.query.tables import digits
from archive.records import Decision, Event, EventCode, Replicate, Run
from archive.storage.store import Archive
from archive.tree import Tree
from prepare.output import many
from prepare.program import ProgramTask
from prepare.task import Task
from search.claims.reports import STOPPED, Look
from search.policies.base import Policy, StateReporter, Widened

HOLDOUT = "holdout"
_LOOKS = "SELECT count(*) FROM events WHERE kind = ? AND detail->>'fingerprint' = ?"


class RunJournal:
    """Records changes of leader and of policy state once each, and events as they come."""

    def __init__(self, archive: Archive, run: Run, tree: Tree, policy: Policy, clock: Callable[[], float]) -> None:
        self._archive = archive
        self._run = run
        self._tree = tree
        self._policy = policy
        self._clock = clock
        self._leader = tree.leader()
        self._state = self._state_recorded_before()
        self.spent: list[str] = []
        """What operators have tried in full in this session, while others go on."""

    def note(
        self,
        kind: str,
        message: str,
        node_id: str | None = None,
        code: EventCode | None = None,
        detail: Mapping[str, object] | None = None,
    ) -> None:
        """Append an event."""
        self._archive.note(Event(self._run.run, kind, message, self._clock(), node_id, code, detail))

    def record_leader(self) -> None:
        """Record a decision if the leader has changed. A leader has the best screening mean, which claims nothing."""
        leader = self._tree.leader()
        if leader is None or leader == self._leader:
            return
        before, self._leader = self._leader, leader
        mean, runs = self._tree.mean(leader), int(self._tree.runs[self._tree.index[leader]])
        reason = f"best mean screening score so far: {digits(mean)} in {many(runs, 'run')}"
        if before is not None and (suspicion := self._tree.suspicion(before)):
            reason += f"; the previous leader {before[:8]} is suspect: {suspicion}"
        detail = {"mean": mean, "runs": runs}
        self._archive.decide(Decision(self._run.run, "leader", leader, reason, detail, self._clock()))

    def record_holdout(self, move: Replicate, task: Task) -> None:
        """Record that a claim opens the holdout for an agent: once a claim, with the number of earlier looks."""
        node_id, fingerprint = move.node_id, self._tree.conditions.fingerprint
        asks = isinstance(task, ProgramTask) and task.llm is not None
        if not asks or move.purpose != "report" or node_id == self._tree.root:
            return
        if self._archive.event_since_search(self._run.run, HOLDOUT) is not None:
            return
        earlier = self._archive.query(_LOOKS, [HOLDOUT, fingerprint])[0][0]
        said = f"the holdout is opened for node {node_id[:8]}"
        if earlier:
            said += f"; look number {earlier + 1} at it in this archive: the claims share one error budget"
        code: EventCode = "opened_again" if earlier else "opened"
        self.note(HOLDOUT, said, node_id, code, {"fingerprint": fingerprint, "looks": earlier + 1})

    def record_look(self, look: Look) -> None:
        """Record the first look at a claim once, without a score of it: events are shown before the verdict."""
        if self._archive.event_since_search(self._run.run, "look") is not None:
            return
        end = "it goes on" if look.stopped is None else STOPPED[look.stopped]
        said = f"first look at the claim, after {look.seeds} of {look.planned} seeds a side: {end}"
        self.note("look", said, detail=asdict(look))

    def record_suspects(self, node_id: str, marked: Sequence[str]) -> None:
        """Note that a node was found cheating, and which of ``marked``, the newly suspect nodes, descend from it."""
        suspicion = self._tree.suspicion(node_id)
        if suspicion is None:  # the root, whose program is the task's own
            return
        descendants = [member[:8] for member in marked if member != node_id]
        named = ", ".join(descendants[:8]) + (", ..." if len(descendants) > 8 else "")
        also = f"; suspect with it: {len(descendants)} descendants ({named})" if descendants else ""
        self.note("cheating", f"{suspicion}{also}", node_id)

    def record_policy_state(self) -> None:
        """Note when the policy begins to handle a stagnation: once, however long that lasts."""
        state = self._policy_state()
        if state is not None and self._state is None:
            self.note("widened", state.words, state.node_id, state.code)
        self._state = state

    def record_spent(self, sentences: Sequence[str]) -> None:
        """Note each thing that an operator has tried in full: once in a run."""
        for words in sentences:
            if words not in self.spent:
                self.spent.append(words)
                if words not in {event.message for event in self._archive.events(self._run.run, "exhausted")}:
                    self.note("exhausted", words)

    def _state_recorded_before(self) -> Widened | None:
        """Return the policy's present state if an earlier session has noted it."""
        state = self._policy_state()
        noted = {(event.code, event.node_id) for event in self._archive.events(self._run.run, "widened")}
        return state if state is not None and (state.code, state.node_id) in noted else None

    def _policy_state(self) -> Widened | None:
        return self._policy.state(self._tree) if isinstance(self._policy, StateReporter) else None
