"""The records of the project as frozen dataclasses: passed between the packages and stored in the archive.

    Move        (operator, parents) chosen by a policy: ``Propose`` a child, or ``Replicate`` a node
    Candidate   the files of one variant, its parents, its operator, its idea
    Node        a candidate in the tree
    Request     one evaluation to make
    Evaluation  its outcome: ``Scored`` or ``Failed``, never a sentinel number

This module imports no other package of the project, so all can import it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Purpose = Literal["screen", "confirm", "report"]
"""Why a node is evaluated: to steer the search, to choose the node to claim, or to claim."""

Split = Literal["val", "select", "holdout"]
SPLIT_OF: Mapping[Purpose, Split] = {"screen": "val", "confirm": "select", "report": "holdout"}

Outcome = Literal["scored", "crashed", "timed_out", "out_of_memory", "invalid", "infeasible", "stopped", "lost"]
"""``infeasible``: judged, and a constraint of the task is broken."""
Trust = Literal["audited", "audited_shared", "verified", "self_reported"]
"""How a score came about.

``audited``: claims checked at secret positions; ``audited_shared``: so, but the sandboxes could tell each other what
they had seen. ``verified``: trusted code computed it from what the candidate produced, in a process in which the
candidate's code never runs. ``self_reported``: the candidate, or code that shares its process, said so.
"""
Direction = Literal["minimise", "maximise"]
VerdictCode = Literal[
    "improvement", "within_noise", "none_better", "no_finalist", "no_interval", "root_unscored", "verified",
    "too_small", "not_deterministic",
]  # fmt: skip
"""Why a claim ended as it did: the interval of the gain excludes zero; it does not; no node has a better screening mean
than the root; the budget can pay for no finalist that is left; too few scores for an interval; a root without a score.
Of a deterministic task: both scores are exact; they are, and the gain is below the smallest worth claiming; one
evaluation gave two scores.
"""
SearchedCode = Literal["stopped", "target", "evaluations", "hours", "device_hours", "llm_budget", "llm_closed"]
"""Why a search was over (events of kind ``searched``): by its policy, at its target, by a limit of its budget, by the
tokens or dollars of its budget, or since the language model cannot be asked for another reason."""
WidenedCode = Literal["refusals", "standstill"]
"""Why a search was widened (events of kind ``widened``)."""
SteerCode = Literal["instruct", "propose", "pin", "ban", "free", "pause", "resume", "budget", "stop"]
"""What the user asked of a running search (events of kind ``steer``; ``archive.steering``)."""
HoldoutCode = Literal["opened", "opened_again"]
"""Whether an archive's agents are judged on this holdout for the first time (events of kind ``holdout``)."""
EventCode = SearchedCode | WidenedCode | SteerCode | HoldoutCode

Stage = Literal["baseline", "tuning", "research", "ablation"]
"""The stages of a study, in their order."""

USER_OPERATOR = "user"
"""The operator of a candidate that the user proposed while the search ran."""
ROOT_OPERATOR = "seed"
"""The operator of a run's root, the seed program."""
AGENT = "agent"
"""The operator in the rows of calls that a candidate made of the language model, in an evaluation."""


def sha256(text: str) -> str:
    """Return the content address of a source: the SHA-256 of its UTF-8 bytes, in hex."""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


# ---------------------------------------------------------------- moves


@dataclass(frozen=True)
class Propose:
    """Make a child of ``parents`` with ``operator``."""

    operator: str
    parents: tuple[str, ...]
    stage: Stage | None = None
    """Of a study's plan; None outside of studies."""


@dataclass(frozen=True)
class Replicate:
    """Evaluate a known node again with a fresh seed."""

    node_id: str
    purpose: Purpose = "screen"
    reason: str = ""
    stage: Stage | None = None
    """Of a study's plan; None outside of studies."""


Move = Propose | Replicate


@dataclass(frozen=True)
class Stop:
    """A policy's choice when the search cannot continue, with the reason for the user."""

    reason: str


@dataclass(frozen=True)
class Wait:
    """A policy's choice when there is no sensible move until a pending result arrives."""

    reason: str = ""


@dataclass(frozen=True)
class MoveRecord:
    """A move with its number in the run, from 0 (the root)."""

    run: str
    number: int
    move: Move
    seed: int
    """The evaluation seed of a ``Replicate``, or of the first screening of the child to come."""


WITHDRAWN = "withdrawn"
"""Operator of the refusal of a claim's evaluation: the search continued before it was made."""


@dataclass(frozen=True)
class Refusal:
    """A move that gave no candidate, with the reason. It counts as a visit of its parents."""

    run: str
    move: int
    operator: str
    parents: tuple[str, ...]
    reason: str


# ---------------------------------------------------------------- candidates and nodes


@dataclass(frozen=True)
class Candidate:
    """The files of one variant (path -> text), its parents and operator, and its idea in words."""

    files: Mapping[str, str]
    parents: tuple[str, ...]
    operator: str
    idea: str
    aim: str | None = None
    """The kind of change that the operator was asked for (``architecture``, ``schedule``), from a fixed list."""
    ablated: str | None = None
    """Of the operator ``ablate``: the id of the node whose edit was taken out. Its first 8 digits in a run that was
    started before schema 6. ``call-01``, ``role-01``: a part of an agent."""


@dataclass(frozen=True)
class Node:
    """A candidate in the tree. ``number`` counts a run's nodes from 0; ``node_id`` is unique in all archives."""

    node_id: str
    run: str
    number: int
    move: int
    candidate: Candidate
    created_at: float
    """Unix seconds."""
    digest: str = ""
    """Of the candidate's normalised syntax tree: equal digests are duplicates, whatever their text."""

    @property
    def parents(self) -> tuple[str, ...]:
        return self.candidate.parents


def node_id_for(run_id: str, number: int) -> str:
    """Sixteen hex digits from the run's unique id and the node's number, so that a replay gives the same id."""
    return sha256(f"{run_id}/{number}")[:16]


# ---------------------------------------------------------------- evaluations


@dataclass(frozen=True)
class Conditions:
    """Conditions that must be equal for two scores to be comparable."""

    fingerprint: str
    """Of the corpus and its splits."""
    budget_seconds: float
    """Training seconds granted."""
    hardware: str
    """Device, threads and torch version; see ``train.hardware``."""


@dataclass(frozen=True)
class Request:
    """One evaluation to make."""

    node_id: str
    run: str
    move: int
    files: Mapping[str, str]
    seed: int
    purpose: Purpose
    strictness: float | None = None
    """The largest gain, in the metric's unit, that may stay unseen in this evaluation; infinity for the smallest audit,
    None for the evaluator's default. Only an evaluator that audits reads it. Not stored."""
    leader_score: float | None = None
    """The leader's mean: among screenings, ``strictness`` applies only to scores that could beat it. Not stored."""
    text_shown: bool = False
    """Whether an earlier claim of the archive was judged on this split: its sandboxes have received the text up to the
    secret positions, so that there are no stages before these. Not stored."""
    position_key: bytes = field(default=b"", repr=False)
    """The archive's secret, from which the positions that judge a claim are derived. Not stored with the request."""
    case_key: bytes = field(default=b"", repr=False)
    """The archive's secret, from which ``score.py`` draws the cases of ``select`` and ``holdout``. Empty: the same
    cases in every archive. Not stored with the request."""
    seal: bool = False
    """Whether to train only, and to return ``Trained``. An evaluator that cannot do so evaluates as usual. Not stored.
    """
    look: int = 0
    """Which look at a claim a report is for, from 1: each has text of its own where text can be told from one
    evaluation to another. 0: the claim has a single look. Not stored; it follows from the moves."""
    trained: Trained | None = field(default=None, repr=False)
    """The training that is to be judged, of an earlier request with ``seal``. Not stored with the request."""
    parent_cases: Mapping[str, float] = field(default_factory=dict, repr=False)
    """In a screening: values by case of the nearest scored ancestor, for staged evaluation. Not stored."""


@dataclass(frozen=True)
class CurvePoint:
    """One progress report of the candidate. It can end a run early and has no other effect."""

    step: int
    elapsed: float
    loss: float


@dataclass(frozen=True)
class Audit:
    """The result of an audit: ``k`` positions, their mean difference (nats), and the worst one."""

    k: int
    correction: float
    """0 in an evaluation for a claim, where the parent process computes all log-probabilities."""
    worst: float


@dataclass(frozen=True)
class WindowScores:
    """The scores of an evaluation for a claim by window; their mean is its score.

    Only scores of equal position sets can be compared window by window.
    """

    position_set: str
    """Identifies the positions at which the windows were judged."""
    values: bytes = field(repr=False)
    """[N] little-endian 32-bit floats, in the unit of the metric."""

    @classmethod
    def of(cls, position_set: str, scores: NDArray[np.float64]) -> WindowScores:
        return cls(position_set, scores.astype("<f4").tobytes())

    @property
    def scores(self) -> NDArray[np.float64]:
        return np.frombuffer(self.values, "<f4").astype(np.float64)


@dataclass(frozen=True)
class CaseScore:
    """The result of one case of an evaluation: an instance, a data item."""

    case: str
    """Unique in its split."""
    value: float
    metrics: Mapping[str, float] = field(default_factory=dict)
    feedback: str = ""
    """What the scorer says of it. Only of ``val`` cases does it reach a prompt."""
    ending: str | None = None
    """Of an item that an agent answered: how it ended (``prepare.scorer.Ending``). None for other cases."""


@dataclass(frozen=True)
class Resources:
    """Resources used by an evaluation."""

    seconds: float
    """Of the candidate, by the parent's clock: of its training, or of all its calls."""
    phases: Mapping[str, float] = field(default_factory=dict)
    """Wall seconds by phase: launch (of all sandboxes), rehearse, startup, train, check, score, audit."""
    cpu_seconds: float = 0.0
    peak_memory_mb: float = 0.0
    """Of the whole process tree, on the host."""
    steps: int | None = None
    peak_device_mb: float | None = None
    """Of the accelerator; None without one, or if not measurable."""
    memory_by: str | None = None
    """How the memory was measured and limited: ``cgroup1``, ``cgroup2`` or ``watch``; None if not recorded."""
    machine_speed: float | None = None
    """Trusted workloads a second on the slot's core, measured around the evaluation (see ``train.hardware.speed``);
    None if not measured."""

    @property
    def wall_seconds(self) -> float:
        return sum(self.phases.values())


@dataclass(frozen=True, kw_only=True)
class EvaluationBase:
    """The common part of scored and failed evaluations."""

    request: Request
    conditions: Conditions
    resources: Resources
    trust: Trust
    sandbox: str
    """The sandbox tier: ``bwrap``, ``bwrap-shared``, ``landlock`` or ``none``; see ``train.sandbox.environment``."""
    device: str
    """``cpu`` or ``cuda:0``."""
    started_at: float
    finished_at: float
    log: str = ""
    """The tail of the candidate's output. Untrusted text."""
    curve: Sequence[CurvePoint] = ()
    cases: Sequence[CaseScore] = ()
    """By case, where a scorer judges them; of a failed evaluation those before the failure."""
    metrics: Mapping[str, float] = field(default_factory=dict)
    """Further figures measured by the evaluator (``parameters``, ``state_bytes``) or returned by the scorer."""

    @property
    def split(self) -> Split:
        return SPLIT_OF[self.request.purpose]


@dataclass(frozen=True, kw_only=True)
class Scored(EvaluationBase):
    """An evaluation with a score, which is as reliable as ``trust`` says."""

    score: float
    audit: Audit | None = None
    windows: WindowScores | None = None
    """Of an evaluation for a claim at secret positions, or of any by case; None for all others."""
    certificate: str | None = None
    """An artefact that proves the score, as JSON text: it can be checked without the candidate. None in a tree: it
    stays in the archive."""

    @property
    def outcome(self) -> Outcome:
        return "scored"


@dataclass(frozen=True, kw_only=True)
class Failed(EvaluationBase):
    """An evaluation without a score. ``reason`` comes from the evaluator, ``log`` from the candidate."""

    outcome: Outcome
    reason: str
    violation: bool = False
    """Whether the failure shows cheating and no honest mistake: the node's descendants are then suspect."""
    defect: str = ""
    """Where the evaluator itself raised an unexpected exception: its type and stack. Recorded as an event."""


Evaluation = Scored | Failed


@dataclass(frozen=True, kw_only=True)
class EvaluationPart(EvaluationBase):
    """A part of an evaluation for a claim, with more to come.

    No outcome of an evaluation: what was measured becomes part of the row that the judgement ends with.
    """

    metrics: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class StageAnswers:
    """What a sealed state has answered in one stage of its judgement, before text of the next stage was shown."""

    position_set: str
    """Identifies the positions of the stage."""
    log_probs: bytes = field(repr=False)
    """[N] little-endian 64-bit floats: the targets' log-probabilities in each window (nats)."""
    audit: Audit
    resources: Resources
    trust: Trust

    @property
    def values(self) -> NDArray[np.float64]:
        return np.frombuffer(self.log_probs, "<f8")


@dataclass(frozen=True, kw_only=True)
class Trained(EvaluationPart):
    """The first half of an evaluation for a claim: a training whose state is judged later, by another request."""

    state: bytes = field(repr=False)
    answers: tuple[StageAnswers, ...] = ()
    """Of the stages of its judgement that are over."""

    @property
    def outcome(self) -> Literal["trained"]:
        return "trained"


@dataclass(frozen=True, kw_only=True)
class StageAnswered(EvaluationPart):
    """A stage of a judgement that is not the last: the next is asked when all states of the claim have answered it."""

    stage: int
    """From 0."""
    answers: StageAnswers

    @property
    def outcome(self) -> Literal["answered"]:
        return "answered"


Landed = Evaluation | Trained | StageAnswered
"""What an evaluator returns: a whole evaluation, or a part of one."""

# ---------------------------------------------------------------- the rest of the archive's rows


@dataclass(frozen=True)
class Run:
    """One search. ``run_id`` is random, so that ``run`` names may repeat between archives."""

    run: str
    run_id: str
    task: str
    metric: str
    direction: Direction
    policy: str
    seed: int
    config: Mapping[str, object]
    """The resolved configuration, as plain JSON values."""
    identity: Mapping[str, object]
    """The part of the configuration that a resume may not change: task, policy, operators, seed."""
    created_at: float


@dataclass(frozen=True)
class Decision:
    """A new leader, or the verdict of a claim, with the reason."""

    run: str
    kind: Literal["leader", "champion", "no_champion"]
    node_id: str
    reason: str
    detail: Mapping[str, object]
    at: float
    code: VerdictCode | None = None
    """None for a leader, and for a verdict of before schema 6 whose reason does not tell."""


@dataclass(frozen=True)
class Event:
    """Something that happened in a run, for the user."""

    run: str
    kind: str
    message: str
    at: float
    node_id: str | None = None
    code: EventCode | None = None
    detail: Mapping[str, object] | None = None
    """The limits of tokens and dollars, for ``llm_budget``; the arguments of a command of kind ``steer``."""
