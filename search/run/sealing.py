"""Claims in two halves: all trainings of a stage end, and are sealed, before the first of them is judged.

An evaluation for a claim is one move and two requests. The first ends with a state, which is kept beside the archive
(``archive.storage.states``). The second is issued when no open evaluation of the claim is without its state any more,
and judges it at text of ``select`` or ``holdout``. So no training of a stage can have been told anything by a sandbox
that has been shown this text. After a kill both halves resume: what is sealed is not trained again.

A judgement may have stages (``train.language_model.stages``), each of them a request of its own: what a state has
answered is a row before the next stage of any state of the claim is issued. A sandbox is started for each stage, from
the sealed state: what counts is the order, and sandboxes that wait would take the memory of all states at once.

What an evaluator returns as a whole, although it was asked for the first half only, is recorded at once.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace
from functools import reduce

from archive.records import Evaluation, Replicate, Request, Resources, Scored, StageAnswered, Trained
from archive.storage.store import Archive
from archive.tree import Tree
from search.claims.error_budget import is_claim
from search.claims.state import ClaimState

UNUSABLE = (
    "the state of this training is missing beside the archive, was changed, or was made under other conditions: it is "
    "not judged"
)


class SealedTrainings:
    """The trainings of the present claim, from their end to the verdict."""

    def __init__(self, archive: Archive, tree: Tree) -> None:
        self._archive = archive
        self._tree = tree

    def seal(self, trained: Trained) -> None:
        """Keep a training until its claim is over."""
        self._archive.seal(trained)
        self._tree.trained.add(trained.request.move)

    def answer(self, answered: StageAnswered) -> None:
        """Keep the answers of a stage until the claim is over."""
        self._archive.keep_answers(answered)
        self._tree.answered[answered.request.move] = answered.stage + 1

    def annotate(self, request: Request) -> Request:
        """Add to a judgement the key to its positions, and whether an earlier claim was shown the text before them."""
        since = ClaimState.of(self._tree).moves[0].number
        shown = self._archive.text_shown(request.purpose, self._tree.run, since)
        return replace(request, position_key=self._archive.secret("positions"), text_shown=shown)

    def waiting(self, in_flight: Collection[int]) -> list[int]:
        """Return the moves that may be judged now; none while an open evaluation of the claim is without its state.

        Of judgements with several stages only those that are behind: no state is asked the next stage before all have
        answered this one. Moves of an earlier stage of the claim, and of finalists that are out, are not needed any
        more.
        """
        tree = self._tree
        claim = {n: r.move for n, r in tree.open_moves.items() if isinstance(r.move, Replicate) and is_claim(r)}
        if not claim or not tree.trained.issuperset(claim):
            return []
        stage, nodes = claim[max(claim)].purpose, {tree.root, *ClaimState.of(tree).chosen(tree)}
        needed = [n for n, move in sorted(claim.items()) if move.purpose == stage and move.node_id in nodes]
        answered = {number: tree.answered.get(number, 0) for number in needed}
        return [n for n in needed if answered[n] == min(answered.values()) and n not in in_flight]

    def unusable(self, waiting: Collection[int]) -> list[int]:
        """Return the moves whose state cannot be used; none once a judgement of their stage has begun.

        Before that, other trainings can replace them.
        """
        requests, judged = [self._request(number) for number in waiting], ClaimState.of(self._tree).judged
        return [r.move for r in requests if r.purpose not in judged and self._usable(r) is None]

    def begin(self, number: int) -> Request | None:
        """Return the request that judges a sealed training, after recording that; None if its state cannot be used."""
        request = self._request(number)
        if (trained := self._usable(request)) is None:
            return None
        if number not in self._tree.judging:
            self._archive.begin_judgement(self._tree.run, number)
            self._tree.judging.add(number)
        return replace(request, trained=replace(trained, request=replace(request, files={})))

    def drop_closed(self) -> None:
        """Remove the states of all moves that are not open any more."""
        self._archive.drop_states(self._tree.run, self._tree.trained & self._tree.open_moves.keys())

    def _request(self, number: int) -> Request:
        record = self._tree.moves[number]
        assert isinstance(record.move, Replicate)
        node_id, files = record.move.node_id, self._tree[record.move.node_id].candidate.files
        return Request(node_id, self._tree.run, number, files, record.seed, record.move.purpose)

    def _usable(self, request: Request) -> Trained | None:
        trained = self._archive.sealed(request)
        return trained if trained is not None and trained.conditions == self._tree.conditions else None


def joined(evaluation: Evaluation) -> Evaluation:
    """Return the parts of an evaluation as one; a ``lost`` judgement, which is made again, stays as it is."""
    trained = evaluation.request.trained
    if trained is None or evaluation.outcome == "lost":
        return evaluation
    if isinstance(evaluation, Scored):
        evaluation = replace(evaluation, metrics={**trained.metrics, **evaluation.metrics})
    used = reduce(_sum, [*(stage.resources for stage in trained.answers), evaluation.resources], trained.resources)
    trusts = (trained.trust, *(stage.trust for stage in trained.answers))
    return replace(
        evaluation,
        request=replace(evaluation.request, trained=None),
        conditions=trained.conditions,
        resources=used,
        trust=next((trust for trust in trusts if trust != "audited"), evaluation.trust),
        started_at=trained.started_at,
        log=trained.log,
        curve=trained.curve,
    )


def without_state(evaluation: Evaluation) -> Evaluation:
    """Return an evaluation as it is kept: without what its request was given beside the program."""
    return replace(evaluation, request=replace(evaluation.request, trained=None))


def _sum(training: Resources, judgement: Resources) -> Resources:
    """Return what a training and its judgement, or a stage of it, have used.

    Seconds, steps and machine speed are the training's.
    """
    names = dict.fromkeys([*training.phases, *judgement.phases])
    peaks = [used.peak_device_mb for used in (training, judgement) if used.peak_device_mb is not None]
    return replace(
        training,
        phases={name: training.phases.get(name, 0.0) + judgement.phases.get(name, 0.0) for name in names},
        cpu_seconds=training.cpu_seconds + judgement.cpu_seconds,
        peak_memory_mb=max(training.peak_memory_mb, judgement.peak_memory_mb),
        peak_device_mb=max(peaks, default=None),
    )
