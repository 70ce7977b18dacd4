"""Records to rows of the schema and back. Pure functions: no database, no clock.

Text of candidates and models may hold anything; it is made storable here (lone surrogates become U+FFFD, numbers that
fit no column are clamped or written as words), so that no answer of a model can stop a search.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from archive.llm_calls import LlmCall, LlmRequest
from archive.records import (
    Audit,
    Candidate,
    CaseScore,
    Conditions,
    CurvePoint,
    Decision,
    Evaluation,
    EvaluationBase,
    Event,
    Failed,
    MoveRecord,
    Node,
    Propose,
    Refusal,
    Replicate,
    Request,
    Resources,
    Run,
    Scored,
    StageAnswered,
    StageAnswers,
    Trained,
    WindowScores,
)

Row = tuple[Any, ...]

_INT64 = 2**63 - 1


def storable(text: str) -> str:
    """Replace the lone surrogates of ``text`` by U+FFFD: UTF-8, and so DuckDB, cannot encode them."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return text


def to_time(seconds: float) -> datetime:
    """Convert Unix seconds to the naive UTC time of the TIMESTAMP columns (microseconds)."""
    return datetime.fromtimestamp(seconds, UTC).replace(tzinfo=None)


def to_seconds(time: datetime) -> float:
    return time.replace(tzinfo=UTC).timestamp()


def to_json(value: object) -> str:
    """Encode as plain JSON; NaN and infinities, which JSON lacks, as the strings that ``float()`` reads."""
    return storable(json.dumps(_finite(value), ensure_ascii=False, allow_nan=False))


def _finite(value: object) -> object:
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    if isinstance(value, Mapping):
        return {str(key): _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    return value


def _floats(text: str) -> dict[str, float]:
    return {key: float(value) for key, value in json.loads(text).items()}


# ---------------------------------------------------------------- runs, moves, refusals

RUN = "run, run_id, task, metric, direction, policy, seed, config, identity, created_at"


def run_row(run: Run) -> Row:
    return (
        run.run, run.run_id, run.task, run.metric, run.direction, run.policy, run.seed,
        to_json(run.config), to_json(run.identity), to_time(run.created_at),
    )  # fmt: skip


def run_of(row: Row) -> Run:
    run, run_id, task, metric, direction, policy, seed, config, identity, created_at = row
    settings = json.loads(config), json.loads(identity)
    return Run(run, run_id, task, metric, direction, policy, seed, *settings, to_seconds(created_at))


MOVE = "run, move, kind, operator, parents, node_id, purpose, seed, reason, chosen_at, stage, arrival"


def move_row(record: MoveRecord, chosen_at: float, arrival: int) -> Row:
    move, end = record.move, (to_time(chosen_at), record.move.stage, arrival)
    if isinstance(move, Propose):
        middle: Row = ("propose", move.operator, list(move.parents), None, "screen", record.seed, "")
    else:
        middle = ("replicate", None, [], move.node_id, move.purpose, record.seed, storable(move.reason))
    return (record.run, record.number, *middle, *end)


def move_of(row: Row) -> MoveRecord:
    run, number, kind, operator, parents, node_id, purpose, seed, reason, _, stage, _ = row
    if kind == "propose":
        return MoveRecord(run, number, Propose(operator, tuple(parents), stage), seed)
    return MoveRecord(run, number, Replicate(node_id, purpose, reason, stage), seed)


REFUSAL = "run, move, operator, parents, reason, refused_at, arrival"


def refusal_row(refusal: Refusal, refused_at: float, arrival: int) -> Row:
    reason = storable(refusal.reason)
    parents = list(refusal.parents)
    return (refusal.run, refusal.move, refusal.operator, parents, reason, to_time(refused_at), arrival)


def refusal_of(row: Row) -> Refusal:
    run, move, operator, parents, reason, *_ = row
    return Refusal(run, move, operator, tuple(parents), reason)


# ---------------------------------------------------------------- nodes

NODE = "node_id, run, number, move, operator, idea, lines, digest, created_at, aim, ablated, arrival"


def node_row(node: Node, files: Mapping[str, str], arrival: int) -> Row:
    lines = sum(len(text.splitlines()) for text in files.values())
    candidate = node.candidate
    return (
        node.node_id, node.run, node.number, node.move, candidate.operator, storable(candidate.idea), lines,
        node.digest, to_time(node.created_at), candidate.aim, candidate.ablated, arrival,
    )  # fmt: skip


def node_of(row: Row, parents: Sequence[str], files: Mapping[str, str]) -> Node:
    node_id, run, number, move, operator, idea, _, digest, created_at, aim, ablated, _ = row
    candidate = Candidate(files, tuple(parents), operator, idea, aim, ablated)
    return Node(node_id, run, number, move, candidate, to_seconds(created_at), digest)


# ---------------------------------------------------------------- evaluations

EVALUATION = (
    "run, node_id, move, seed, purpose, split, outcome, reason, score, trust, seconds, wall_seconds, phases, "
    "cpu_seconds, peak_memory_mb, steps, device, hardware, fingerprint, budget_seconds, sandbox, audit_k, "
    "audit_correction, audit_worst, metrics, log, started_at, finished_at, violation, peak_device_mb, memory_by, "
    "machine_speed, certificate_sha, arrival"
)


def evaluation_row(evaluation: Evaluation, arrival: int, certificate_sha: str | None = None) -> Row:
    request, used, conditions = evaluation.request, evaluation.resources, evaluation.conditions
    reason: str | None = None
    score: float | None = None
    audit: Audit | None = None
    if isinstance(evaluation, Failed):
        reason = storable(evaluation.reason)
    else:
        score, audit = evaluation.score, evaluation.audit
    return (
        request.run, request.node_id, request.move, request.seed, request.purpose, evaluation.split,
        evaluation.outcome, reason, score, evaluation.trust, used.seconds, used.wall_seconds, to_json(used.phases),
        used.cpu_seconds, used.peak_memory_mb, _bigint(used.steps), evaluation.device, conditions.hardware,
        conditions.fingerprint, conditions.budget_seconds, evaluation.sandbox,
        *((audit.k, audit.correction, audit.worst) if audit else (None, None, None)),
        to_json(evaluation.metrics), storable(evaluation.log),
        to_time(evaluation.started_at), to_time(evaluation.finished_at),
        isinstance(evaluation, Failed) and evaluation.violation, used.peak_device_mb, used.memory_by,
        used.machine_speed, certificate_sha, arrival,
    )  # fmt: skip


def evaluation_of(
    row: Row,
    files: Mapping[str, str],
    curve: Sequence[CurvePoint] = (),
    windows: WindowScores | None = None,
    cases: Sequence[CaseScore] = (),
) -> Evaluation:
    """Return the recorded evaluation, without its certificate."""
    (
        run, node_id, move, seed, purpose, _split, outcome, reason, score, trust, seconds, _wall, phases, cpu_seconds,
        peak_memory_mb, steps, device, hardware, fingerprint, budget_seconds, sandbox, audit_k, correction, worst,
        metrics, log, started_at, finished_at, violation, peak_device_mb, memory_by, machine_speed, _certificate,
        _arrival,
    ) = row  # fmt: skip
    used = Resources(
        seconds, _floats(phases), cpu_seconds, peak_memory_mb, steps, peak_device_mb, memory_by, machine_speed
    )
    base = EvaluationBase(
        request=Request(node_id, run, move, files, seed, purpose),
        conditions=Conditions(fingerprint, budget_seconds, hardware),
        resources=used,
        trust=trust,
        sandbox=sandbox,
        device=device,
        started_at=to_seconds(started_at),
        finished_at=to_seconds(finished_at),
        log=log,
        curve=curve,
        cases=cases,
        metrics=_floats(metrics),
    )
    if outcome != "scored":
        return Failed(**vars(base), outcome=outcome, reason=reason or "", violation=violation)
    audit = Audit(audit_k, correction, worst) if audit_k is not None else None
    return Scored(**vars(base), score=score, audit=audit, windows=windows)


TRAINING = "run, move, sha, bytes, measured, sealed_at, arrival"
JUDGEMENT = "run, move, began_at, arrival"


def training_row(trained: Trained, sha: str, sealed_at: float, arrival: int) -> Row:
    measured = {
        "conditions": vars(trained.conditions), "resources": vars(trained.resources), "metrics": trained.metrics,
        "trust": trained.trust, "sandbox": trained.sandbox, "device": trained.device, "log": trained.log,
        "started_at": trained.started_at, "finished_at": trained.finished_at, "curve": curve_columns(trained.curve),
    }  # fmt: skip
    request = trained.request
    return (request.run, request.move, sha, len(trained.state), to_json(measured), to_time(sealed_at), arrival)


def trained_of(measured: str, request: Request, state: bytes, answers: tuple[StageAnswers, ...] = ()) -> Trained:
    """Return a sealed training with its state, and what it has answered so far."""
    found = json.loads(measured)
    steps, elapsed, losses = found.pop("curve")
    return Trained(
        **found
        | {
            "request": request,
            "state": state,
            "answers": answers,
            "conditions": Conditions(**found["conditions"]),
            "resources": Resources(**found["resources"]),
            "metrics": {name: float(value) for name, value in found["metrics"].items()},
            "curve": tuple(map(CurvePoint, steps, map(float, elapsed), map(float, losses))),
        }
    )


ANSWERS = "run, move, stage, position_set, log_probs, measured, answered_at, arrival"


def answers_row(answered: StageAnswered, answered_at: float, arrival: int) -> Row:
    request, answers = answered.request, answered.answers
    measured = {"audit": vars(answers.audit), "resources": vars(answers.resources), "trust": answers.trust}
    key = request.run, request.move, answered.stage, answers.position_set
    return (*key, answers.log_probs, to_json(measured), to_time(answered_at), arrival)


def answers_of(position_set: str, log_probs: bytes, measured: str) -> StageAnswers:
    found = json.loads(measured)
    audit, resources = Audit(**found["audit"]), Resources(**found["resources"])
    return StageAnswers(position_set, log_probs, audit, resources, found["trust"])


WINDOWS = "node_id, seed, purpose, position_set, windows, scores"


def windows_row(request: Request, windows: WindowScores) -> Row:
    key = request.node_id, request.seed, request.purpose
    return (*key, windows.position_set, len(windows.scores), windows.values)


CASES = {"case_name": "VARCHAR", "value": "DOUBLE", "metrics": "JSON", "feedback": "VARCHAR", "ending": "VARCHAR"}


def case_columns(
    cases: Sequence[CaseScore],
) -> tuple[list[str], list[float], list[str], list[str], list[str | None]]:
    return (
        [storable(case.case) for case in cases],
        [float(case.value) for case in cases],
        [to_json(case.metrics) for case in cases],
        [storable(case.feedback) for case in cases],
        [case.ending for case in cases],
    )


def case_of(name: str, value: float, metrics: str, feedback: str, ending: str | None) -> CaseScore:
    return CaseScore(name, value, _floats(metrics), feedback, ending)


CURVE = {"step": "BIGINT", "elapsed": "DOUBLE", "loss": "DOUBLE"}


def curve_columns(curve: Sequence[CurvePoint]) -> tuple[list[int], list[float], list[float]]:
    """Return steps, elapsed seconds and losses as three lists; steps, which the candidate chooses, are clamped."""
    return (
        [max(-_INT64, min(_INT64, int(point.step))) for point in curve],
        [float(point.elapsed) for point in curve],
        [float(point.loss) for point in curve],
    )


def _bigint(value: int | None) -> int | None:
    return None if value is None else max(-_INT64, min(_INT64, value))


# ---------------------------------------------------------------- calls, decisions, events

LLM_CALL = (
    "run, move, turn, operator, model, outcome, reason, prompt_sha, answer_sha, tokens_in, tokens_out, tokens_cached, "
    "seconds, dollars, called_at, aim, template_sha, request, asked, charged_tokens, charged_dollars, cut_off"
)


def llm_call_row(call: LlmCall, prompt_sha: str, answer_sha: str, template_sha: str | None) -> Row:
    return (
        call.run, call.move, call.turn, call.operator, call.model, call.outcome, storable(call.reason), prompt_sha,
        answer_sha, call.tokens_in, call.tokens_out, call.tokens_cached, call.seconds, call.dollars, to_time(call.at),
        call.aim, template_sha, call.request or None, call.asked or None, call.charged_tokens, call.charged_dollars,
        call.cut_off,
    )  # fmt: skip


def llm_call_of(row: Row, prompt: str, answer: str) -> LlmCall:
    """Return the recorded call, without the text of its templates."""
    (
        run, move, turn, operator, model, outcome, reason, _prompt, _answer, tokens_in, tokens_out, tokens_cached,
        seconds, dollars, at, aim, _template, request, asked, charged_tokens, charged_dollars, cut_off,
    ) = row  # fmt: skip
    return LlmCall(
        run, move, turn, operator, model, outcome, prompt, answer, tokens_in, tokens_out, tokens_cached, seconds,
        dollars, to_seconds(at), reason, aim, "", request or "", asked or "", charged_tokens, charged_dollars,
        cut_off,
    )  # fmt: skip


LLM_REQUEST = "request, run, move, turn, operator, asked, tokens_at_most, dollars_at_most, asked_at"


def llm_request_row(request: LlmRequest) -> Row:
    return (
        request.request, request.run, request.move, request.turn, request.operator, request.asked,
        request.tokens_at_most, request.dollars_at_most, to_time(request.at),
    )  # fmt: skip


DECISION = "run, kind, node_id, reason, detail, decided_at, code, arrival"


def decision_row(decision: Decision, arrival: int) -> Row:
    detail, at = to_json(decision.detail), to_time(decision.at)
    reason = storable(decision.reason)
    return (decision.run, decision.kind, decision.node_id, reason, detail, at, decision.code, arrival)


def decision_of(row: Row) -> Decision:
    run, kind, node_id, reason, detail, at, code, _ = row
    return Decision(run, kind, node_id, reason, json.loads(detail), to_seconds(at), code)


EVENT = "run, kind, message, node_id, happened_at, code, detail, arrival"


def event_row(event: Event, arrival: int) -> Row:
    message, detail = storable(event.message), None if event.detail is None else to_json(event.detail)
    return (event.run, event.kind, message, event.node_id, to_time(event.at), event.code, detail, arrival)


def event_of(row: Row) -> Event:
    run, kind, message, node_id, at, code, detail, _ = row
    return Event(run, kind, message, to_seconds(at), node_id, code, None if detail is None else json.loads(detail))
