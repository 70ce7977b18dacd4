"""From a resolved configuration to the parts of a search. Everything pluggable is a class named by ``_target_``."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from hydra.errors import InstantiationException
from hydra.utils import instantiate

from archive.storage.store import Archive
from operators.base import Operator
from operators.factory import LlmCallbacks, build_meter, build_operators, left_out, missing_key
from operators.llm.credit import credits_at
from operators.llm.meter import Meter
from prepare.load import TaskError, find_file, locate, task_from
from prepare.task import Task
from search.policies.base import OperatorView, Policy
from search.run.engine import EngineParts
from search.run.lookahead import SAFETY, Lookahead
from search.settings import SettingsError
from train.executors.base import Evaluator, Executor, ExecutorError, ExecutorType, Scorer, evaluator_from
from train.hardware.slots import Slot
from train.sandbox.base import Sandbox, find_sandbox


def executor_kind(config: Mapping[str, Any]) -> ExecutorType:
    """The class of the executor. Raises SettingsError."""
    try:
        kind: ExecutorType = locate(config["executor"]["_target_"])
    except TaskError as error:
        raise SettingsError(f"the executor cannot be made: {error}") from None
    if missing := [name for name in ("device", "find_slots", "survey", "of") if not hasattr(kind, name)]:
        target = config["executor"]["_target_"]
        raise SettingsError(
            f"the executor cannot be made: {target!r} has no {', '.join(missing)}; expected a class as "
            "train.executors.local.LocalExecutor is one (see train.executors)"
        )
    return kind


def device_for(config: Mapping[str, Any]) -> str:
    """The device where candidates will run, by its name in ``prepare.presets`` (``cpu``, ``mps``, ``cuda_80gb``).

    Raises SettingsError.
    """
    try:
        return executor_kind(config).device(config["executor"])
    except (ValueError, ExecutorError) as error:
        raise SettingsError(str(error)) from error


def build_task(config: Mapping[str, Any]) -> Task:
    """Raises TaskError or ValueError, both with the key to mend."""
    return task_from(config["task"])


def build_slots(config: Mapping[str, Any]) -> tuple[Slot, ...]:
    """Raises ValueError, SettingsError or ExecutorError."""
    return executor_kind(config).find_slots(config["executor"])


def build_evaluator(config: Mapping[str, Any], task: Task, sandbox: Sandbox) -> Evaluator:
    """Raises TaskError, TypeError or ValueError."""
    return evaluator_from(config["evaluator"], task, sandbox)


def build_executor(config: Mapping[str, Any], evaluator: Evaluator, slots: tuple[Slot, ...]) -> Executor:
    """Raises ExecutorError."""
    return executor_kind(config).of(config, evaluator, slots)


def build_sandbox(config: Mapping[str, Any]) -> Sandbox:
    """Raises SandboxUnavailable or ValueError."""
    return find_sandbox(str(config["sandbox"]))


@dataclass(frozen=True)
class LocalEvaluation:
    """What trains and scores candidates on this machine."""

    sandbox: Sandbox
    slots: tuple[Slot, ...]
    evaluator: Evaluator


def build_stand(config: Mapping[str, Any], task: Task) -> LocalEvaluation:
    """With the task's data prepared. Raises SandboxUnavailable, PreparationError, ExecutorError, or ValueError and
    TypeError."""
    sandbox, slots = build_sandbox(config), build_slots(config)
    task.prepare()
    return LocalEvaluation(sandbox, slots, build_evaluator(config, task, sandbox))


def seed_files(task: Task, config: Mapping[str, Any]) -> dict[str, str]:
    """The root's files: the seed program, with the constants of the task's preset set in it. Raises SettingsError."""
    from operators.languages.parameters import set_constants
    from operators.languages.syntax import Unparsable

    try:
        source = find_file(task.seed_file).read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise SettingsError(f"the seed program {task.seed_file} is not UTF-8 text: {error}") from None
    try:
        compile(source, task.seed_file, "exec")
        return {"train.py": set_constants(source, dict(task.constants)) if task.constants else source}
    except (SyntaxError, Unparsable) as error:
        raise SettingsError(
            f"the seed program {task.seed_file} does not parse: {error}. Mend it and start again."
        ) from None
    except (KeyError, ValueError) as error:
        raise SettingsError(f"task.constants cannot be set in {task.seed_file}: {error}") from None


# ---------------------------------------------------------------- language models


@dataclass(frozen=True)
class Llm:
    """The language model of a run: None without a key, with a line that says what is in force."""

    meter: Meter | None
    line: str


def wants_llm(config: Mapping[str, Any]) -> bool:
    """Whether any of the chosen operators could use a language model."""
    return any(entry.get("llm") is not None for entry in config["operators"].values())


def build_llm(config: Mapping[str, Any], archive: Archive, run: str) -> Llm:
    """The metered model, checked for free before anything is spent.

    Raises LlmError if the key is refused or the model is not known.
    """
    options = config["llm"] or {}
    if not wants_llm(config):
        return Llm(None, "No language model: the chosen operators need none.")
    books = LlmCallbacks(
        record=archive.record_call,
        requested=archive.record_request,
        lookup=archive.answer,
        credits=partial(credits_at, archive.query),
        spent=archive.spending(run),
    )
    meter = build_meter(options, books)
    if meter is None:
        return Llm(
            None, f"No language model ({_why_no_model(options)}): the search runs on the operators that need none."
        )
    meter.check()
    return Llm(meter, f"Language model: {meter.describe()}{models_left_out(options)}.")


def models_left_out(options: Mapping[str, Any]) -> str:
    """Of several models, those whose key is not set, in words."""
    return "".join(f"; without {name}, since {key} is not set" for name, key in left_out(options).items())


def _why_no_model(options: Mapping[str, Any]) -> str:
    key = missing_key(options)
    return f"{key} is not set" if key is not None else "llm=none"


def why_no_model(config: Mapping[str, Any]) -> str | None:
    """For the doctor: why no language model would be asked, or None if one would be."""
    options = config["llm"] or {}
    if not wants_llm(config):
        return "the chosen operators need no language model"
    if not options.get("_target_") or missing_key(options) is not None:
        return f"no language model: {_why_no_model(options)}; tune and crossover do without"
    return None


def build_toolbox(config: Mapping[str, Any], llm: Llm) -> tuple[dict[str, Operator], dict[str, OperatorView]]:
    """The operators that can work, and what the policy may know of them. Raises ValueError if none is left."""
    box = build_operators(config["operators"], llm.meter)
    views = {
        name: OperatorView(name, operator.arity, box.weights[name], operator.applies)
        for name, operator in box.operators.items()
    }
    return dict(box.operators), views


def build_policy(config: Mapping[str, Any]) -> Policy:
    """Raises SettingsError."""
    try:
        policy: Policy = instantiate(config["policy"])
    except InstantiationException as error:
        raise SettingsError(f"the policy cannot be made: {error.__cause__ or error}") from error
    return policy


@dataclass(frozen=True)
class Overrides:
    """Objects that somebody has brought, in the place of what a configuration names; None for what it does."""

    program: str | None = None
    policy: Policy | None = None
    operators: Mapping[str, Operator] | None = None

    @property
    def views(self) -> dict[str, OperatorView]:
        """What a policy may know of the operators: all have the same weight."""
        operators = self.operators or {}
        return {name: OperatorView(name, each.arity, 1.0, each.applies) for name, each in operators.items()}


def build_parts(
    config: Mapping[str, Any],
    task: Task,
    evaluator: Scorer,
    llm: Llm,
    clock: Callable[[], float],
    given: Overrides = Overrides(),
) -> EngineParts:
    """Everything that a search is made of, but its archive and its tree."""
    operators, views = build_toolbox(config, llm) if given.operators is None else (dict(given.operators), given.views)
    meter = llm.meter
    parts = EngineParts(
        task=task,
        program=find_file(task.program).read_text() if given.program is None else given.program,
        policy=given.policy or build_policy(config),
        operators=operators,
        views=views,
        gate=evaluator.gate,
        clock=clock,
        median_rule=config["evaluator"].get("median_rule") is not None,
    )
    if meter is None:
        return parts
    return replace(
        parts,
        llm_closed=lambda: meter.closed,
        llm_cap=lambda: meter.closing_cap,
        llm_room=meter.room,
        llm_concurrency=meter.concurrency,
    )


def build_lookahead(parts: EngineParts, llm: Llm, slots: int) -> Lookahead | None:
    """None without a language model: what is made in an instant is made from all that is known then.

    Where other operators can feed a slot that is free, none is kept as a safety: it would be the staler for nothing.
    """
    if llm.meter is None:
        return None
    quick = any(not operator.needs_llm for operator in parts.operators.values())
    return Lookahead(slots, safety=0.0 if quick else SAFETY)
