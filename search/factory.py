"""Build the parts of a search from the typed configuration. Every pluggable part is a class named by ``_target_``.

Three steps: ``build_evaluation`` (sandbox, slots and evaluator of this machine), ``build_executor`` (makes evaluations
in the slots), ``build_search`` (policy and operators).
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial

from hydra.errors import InstantiationException
from hydra.utils import instantiate

from archive.storage.store import Archive
from operators.base import CanBeSpent, KnowsTask, Operator
from operators.config import LlmConfig
from operators.factory import LlmCallbacks, build_meter, build_operators
from operators.llm.credit import credits_at
from operators.llm.meter import Meter, never_paid
from operators.rewrite.prompt.change_kinds import read_change_kinds
from prepare.config import Part, Plain, SettingsError
from prepare.load import TaskError
from prepare.program import ProgramTask
from prepare.task import Task
from search.config import Config
from search.policies.base import OperatorView, Policy
from search.run.agent_model import AgentModel, Paid, nothing_paid
from search.run.engine import EngineParts
from search.run.lookahead import SAFETY, Lookahead
from train.executors.base import AsksModel, Evaluator, Executor, ExecutorError, ExecutorType, Scorer, evaluator_from
from train.hardware.slots import Slot
from train.sandbox.base import Sandbox, find_sandbox

_LOCAL = "train.executors.local.LocalExecutor"

# ---------------------------------------------------------------- evaluations


def executor_kind(executor: Part) -> ExecutorType:
    """Return the class of the executor. Raises SettingsError."""
    try:
        kind: ExecutorType = executor.located()
    except TaskError as error:
        raise SettingsError(f"the executor cannot be made: {error}") from None
    if missing := [name for name in ("device", "find_slots", "survey", "of") if not hasattr(kind, name)]:
        raise SettingsError(
            f"the executor cannot be made: {executor.target!r} has no {', '.join(missing)}; expected a class like "
            "train.executors.local.LocalExecutor (see train.executors.base)"
        )
    return kind


def device_for(executor: Part) -> str:
    """Return the name of the device where candidates will run: ``cpu``, ``mps``, ``cuda_80gb`` (``prepare.presets``).

    Raises SettingsError.
    """
    try:
        return executor_kind(executor).device(executor.options)
    except (ValueError, ExecutorError) as error:
        raise SettingsError(str(error)) from error


@dataclass(frozen=True)
class LocalEvaluation:
    """Sandbox, slots and evaluator of this machine."""

    sandbox: Sandbox
    slots: tuple[Slot, ...]
    evaluator: Evaluator


def build_evaluation(config: Config, task: Task) -> LocalEvaluation:
    """Prepare the task's data and build its evaluator.

    Raises SettingsError, TaskError, SandboxUnavailable, PreparationError or ExecutorError.
    """
    try:
        sandbox = find_sandbox(config.sandbox)
        slots = executor_kind(config.executor).find_slots(config.executor.options)
        task.clock_on(slots[0].device)
        task.prepare()
        evaluator = evaluator_from(config.evaluator, task, sandbox)
        if (name := live_model(config, task)) is not None and isinstance(evaluator, AsksModel):
            evaluator.name_model(name)
        return LocalEvaluation(sandbox, slots, evaluator)
    except ValueError as error:
        raise SettingsError(str(error)) from error
    except TypeError as error:  # the evaluator's class does not accept an option
        raise SettingsError(f"evaluator: {error}") from error


def build_executor(config: Config, evaluator: Evaluator, slots: tuple[Slot, ...]) -> Executor:
    """Start the executor. Raises ExecutorError."""
    return executor_kind(config.executor).of(config.execution, evaluator, slots)


def seed_files(task: Task) -> dict[str, str]:
    """Return the root's files: the seed program with the task's constants set in its first file.

    Raises TaskError or SettingsError.
    """
    from operators.languages.language import language_for
    from operators.languages.syntax import Unparsable

    files = task.seed_files()
    main = next(iter(files))
    try:
        setting = language_for(main, task.parameters).set_parameters
        return {**files, main: setting(files[main], dict(task.constants))} if task.constants else files
    except (KeyError, ValueError, Unparsable) as error:
        raise SettingsError(f"task.constants cannot be set in {main}: {error}") from None


# ---------------------------------------------------------------- language models


@dataclass(frozen=True)
class Llm:
    """The language model of a run (None if unused or without a key), and a line that describes it."""

    meter: Meter | None
    line: str


def wants_llm(config: Config) -> bool:
    """Return whether any of the chosen operators could use a language model."""
    return any(entry.llm is not None for entry in config.operators.values())


def live_model(config: Config, task: Task) -> str | None:
    """Return the name of the language model that the task's agents ask; None for a scripted one, and for no agents.

    Raises SettingsError if the task requires a live model, and there is none.
    """
    service = task.llm if isinstance(task, ProgramTask) else None
    if service is None or service.answers == "scripted":
        return None
    if config.llm.is_none or config.llm.missing_key is not None:
        if service.answers == "auto" and service.scripted is not None:
            return None
        raise SettingsError(
            f"the agents of task {task.name!r} ask a live language model, and there is none "
            f"({_why_no_model(config.llm)}); set the key, choose llm=..., or task.llm.answers=scripted"
        )
    if config.executor.target != _LOCAL:
        raise SettingsError(
            f"the agents of task {task.name!r} ask a live language model, whose key stays on this machine; expected "
            "executor=local, or task.llm.answers=scripted"
        )
    options = config.llm.options
    return str(options.get("model") or "+".join(sorted(config.llm.members or {})) or options["_target_"])


def lend_model(
    config: Config, task: Task, evaluator: Scorer, meter: Meter | None = None, paid: Paid = nothing_paid
) -> None:
    """Have a task's agents ask the live model, if they are to. ``meter``: of the search; None for a command's own.

    Raises SettingsError.
    """
    name = live_model(config, task)
    if name is None or not isinstance(evaluator, AsksModel):
        return
    try:
        meter = meter or build_meter(config.llm)
    except ValueError as error:
        raise SettingsError(str(error)) from error
    if meter is not None:
        evaluator.lend_model(AgentModel(meter, name, paid))


def build_llm(
    config: Config, archive: Archive, run: str, stop: threading.Event | None = None, *, agents: bool = False
) -> Llm:
    """Build the metered language model, and check key and model name with a request that is free of charge.

    ``stop``: set from outside when nothing is to be sent any more. ``agents``: whether the task's candidates ask it.
    Raises SettingsError, or LlmError if the key is refused or the model is unknown.
    """
    if not wants_llm(config) and not agents:
        return Llm(None, "No language model: the chosen operators need none.")
    spent = archive.spending(run)
    callbacks = LlmCallbacks(
        record=archive.record_call,
        requested=archive.record_request,
        lookup=archive.answer if spent.calls else never_paid,
        credits=partial(credits_at, archive.query),
        spent=spent,
        stop=stop,
    )
    try:
        meter = build_meter(config.llm, callbacks)
    except ValueError as error:
        raise SettingsError(str(error)) from error
    if meter is None:
        reason = _why_no_model(config.llm)
        return Llm(None, f"No language model ({reason}): the search uses the operators that need none.")
    warning = meter.check()
    note = "" if warning is None else f"\nwarning: {warning}"
    return Llm(meter, f"Language model: {meter.describe()}{models_left_out(config.llm)}.{note}")


def require_llm(config: Config, archive: Archive, run: str, instead: str) -> tuple[Meter, str]:
    """Return the language model, whose calls are charged to a run, and a line that describes it.

    instead: a command that needs none. Raises SettingsError without a model, and as ``build_llm`` does.
    """
    model = build_llm(config, archive, run, agents=True)
    if model.meter is None:
        raise SettingsError(f"{model.line} Without one: {instead}")
    return model.meter, model.line


def models_left_out(llm: LlmConfig) -> str:
    """Return text that lists the models whose key is not set; empty if there are none."""
    return "".join(f"; without {name}, since {key} is not set" for name, key in llm.left_out.items())


def _why_no_model(llm: LlmConfig) -> str:
    return f"{llm.missing_key} is not set" if llm.missing_key is not None else "llm=none"


def why_no_model(config: Config) -> str | None:
    """Return the reason why no language model would be used, or None if one would be."""
    if not wants_llm(config):
        return "the chosen operators need no language model"
    if config.llm.is_none or config.llm.missing_key is not None:
        return f"no language model: {_why_no_model(config.llm)}; tune and crossover need none"
    return None


# ---------------------------------------------------------------- the engine's parts


def build_policy(policy: Plain) -> Policy:
    """Instantiate the policy. Raises SettingsError."""
    try:
        made: Policy = instantiate(policy)
    except InstantiationException as error:
        raise SettingsError(f"the policy cannot be made: {error.__cause__ or error}") from error
    return made


@dataclass(frozen=True)
class Overrides:
    """The caller's own objects, used instead of the configured ones; None: use the configured one."""

    program: str | None = None
    policy: Policy | None = None
    operators: Mapping[str, Operator] | None = None


def build_search(
    config: Config,
    task: Task,
    evaluator: Scorer,
    llm: Llm,
    given: Overrides = Overrides(),
    clock: Callable[[], float] = time.time,
) -> EngineParts:
    """Build policy and operators, and gather what else the engine needs. Raises SettingsError."""
    operators, views = _operators(config, llm, given.operators, task)
    _require_change_kinds(task)
    parts = EngineParts(
        task=task,
        program=task.instructions() if given.program is None else given.program,
        policy=given.policy or build_policy(config.policy),
        operators=operators,
        views=views,
        gate=evaluator.gate,
        clock=clock,
    )
    if (meter := llm.meter) is not None:
        parts = replace(
            parts,
            llm_closed=lambda: meter.closed,
            llm_cap=lambda: meter.closing_cap,
            llm_room=meter.room,
            llm_halt=meter.halt,
            llm_answering=meter.answering,
            llm_concurrency=meter.concurrency,
        )
    return parts


def _require_change_kinds(task: Task) -> None:
    """Raise SettingsError if the task's kinds of change are not of the form that prompts need."""
    try:
        if (kinds := task.prompt_info.change_kinds) is not None:
            read_change_kinds(kinds)
    except ValueError as error:
        raise SettingsError(f"task.prompt.change_kinds: {error}") from error


def _operators(
    config: Config, llm: Llm, given: Mapping[str, Operator] | None, task: Task
) -> tuple[dict[str, Operator], dict[str, OperatorView]]:
    """Return the usable operators, and the policy's views of them. The caller's own operators have equal weights."""
    if given is not None:
        operators, weights = dict(given), dict.fromkeys(given, 1.0)
    else:
        try:
            found = build_operators(config.operators, llm.meter)
        except ValueError as error:
            raise SettingsError(str(error)) from error
        operators, weights = dict(found.operators), dict(found.weights)
    for operator in operators.values():
        if isinstance(operator, KnowsTask):
            operator.set_task(task)
    return operators, {name: _view(name, each, weights[name]) for name, each in operators.items()}


def _view(name: str, operator: Operator, weight: float) -> OperatorView:
    spent = operator.spent if isinstance(operator, CanBeSpent) else str
    return OperatorView(name, operator.arity, weight, operator.applies, spent)


def build_lookahead(parts: EngineParts, llm: Llm, slots: int) -> Lookahead | None:
    """Build the lookahead, which prefetches proposals; None without a language model.

    Without one proposals are instant, and should use the latest scores. If other operators can fill a free slot, no
    safety stock of proposals is kept, because stored proposals grow stale.
    """
    if llm.meter is None:
        return None
    quick = any(not operator.needs_llm for operator in parts.operators.values())
    return Lookahead(slots, safety=0.0 if quick else SAFETY)
