"""``python -m search doctor [OVERRIDES] [--json]``: check that a search with these overrides can start on this machine.

Checks task, data, budget, sandbox, slots, memory, disk and language model. Changes nothing; each finding is one line.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

import psutil

from operators.factory import build_meter
from operators.llm.base import LlmError
from operators.numeric.tune_comments import unused_comments
from prepare.compose import compose
from prepare.config import Part, SettingsError
from prepare.data.corpora import PreparationError
from prepare.data.folders import why_unwritable
from prepare.load import TaskError, task_from
from prepare.output import many
from prepare.task import Task
from search import factory
from search.cli.terminal import show, show_json
from search.config import Config, faults
from search.display.summary import search_command
from search.run.budget import BudgetUse, affordable
from search.settings import plain_values
from search.words import Words
from train.executors.base import ExecutorError
from train.executors.local import LocalExecutor
from train.hardware.devices import gpu_warnings
from train.hardware.slots import Slot
from train.sandbox.base import SandboxUnavailable, find_sandbox, probe_tiers, why_shared
from train.sandbox.landlock import LIMITATIONS

_GIGABYTES = 2.0
_OVERHEAD = 18.0
"""Overhead of an evaluation on the default task, in seconds (measured): three starts of a process, scoring and an
audit, on two cores."""
_TOKENS_IN, _TOKENS_OUT = 8_000, 4_000
"""Tokens of a typical proposal; used only to estimate the cost."""


@dataclass(frozen=True)
class Finding:
    """One line of the report. A search cannot start while there is a ``problem``."""

    level: Literal["ok", "note", "problem"]
    what: str
    words: str

    @property
    def line(self) -> str:
        return f"{self.level:<8} {self.what:<10} {self.words}"


def examine(words: Words) -> int:
    """Print the findings. Returns 0 if the search can start, else 1. Raises SettingsError for an invalid override."""
    values = plain_values(words.composition(), _device_for)
    unusable = faults(values)
    findings = [Finding("problem", section, message) for section, message in unusable.items()]
    if unusable:  # check the other sections with the default values of the invalid ones
        usual = plain_values(compose(()), _device_for)
        values |= {section: usual.get(section) for section in unusable}
    findings += [found for found in findings_for(Config.of(values)) if found.what not in unusable]
    problems = sum(finding.level == "problem" for finding in findings)
    if words.json:
        show_json([asdict(finding) for finding in findings])
    else:
        _show(findings, problems, words)
    return 1 if problems else 0


def _show(findings: Sequence[Finding], problems: int, words: Words) -> None:
    """Print a line for each finding, and what to type next."""
    for finding in findings:
        show(finding.line)
    typed = (*words.lasting, *(["-m"] if words.multirun else []), *words.overrides)
    show(
        f"\nReady: {search_command(typed)}"
        if not problems
        else f"\n{many(problems, 'problem')} to fix before a search can start."
    )


def _device_for(executor: Part) -> str:
    """Return the device, or ``cpu`` if it cannot be determined (``_device`` reports the reason)."""
    try:
        return factory.device_for(executor)
    except SettingsError:
        return "cpu"


def findings_for(config: Config) -> Iterator[Finding]:
    """Yield all findings. The checks are independent: a failure of one does not hide the next."""
    task, finding = _task(config)
    yield finding
    checks: list[Callable[[], Iterator[Finding]]] = [
        lambda: _budget(config),
        lambda: _sandbox(config),
        lambda: _device(config),
        lambda: _memory(config, task),
        lambda: _disk(config),
        lambda: model_findings(config, _hourly(config, task)),
        lambda: _pace(config, task),
    ]
    if task is not None:
        ready = task
        checks.insert(1, lambda: _data(ready))
        checks.insert(2, lambda: _comments(ready))
    for check in checks:
        yield from check()


def _task(config: Config) -> tuple[Task | None, Finding]:
    try:
        task = task_from(config.task)
        factory.seed_files(task)
        task.instructions()
    except (TaskError, SettingsError) as error:
        return None, Finding("problem", "task", str(error))
    words = f"{task.name}: {task.metric.name}, {task.metric.direction}, {task.seconds:g} s an evaluation"
    return task, Finding("ok", "task", words)


def _budget(config: Config) -> Iterator[Finding]:
    useless = config.budget.needs_model() if factory.why_no_model(config) is not None else None
    words = config.budget.describe()
    yield Finding("ok", "budget", words) if useless is None else Finding("problem", "budget", useless)


def _comments(task: Task) -> Iterator[Finding]:
    for sentence in unused_comments(factory.seed_files(task), task.parameters):
        yield Finding("note", "tune", sentence)


def _data(task: Task) -> Iterator[Finding]:
    try:
        if not task.is_prepared():
            if (problem := why_unwritable(task.locations()[0])) is not None:
                yield Finding("problem", "data", problem)
                return
            words = f"{task.data} is not prepared yet; the search prepares it first (it may need the network)"
            yield Finding("note", "data", words)
            return
        task.prepare()  # verifies the prepared files
        yield Finding("ok", "data", f"{task.fingerprint()}, evaluation splits not readable from a sandbox")
    except (PreparationError, OSError) as error:
        yield Finding("problem", "data", str(error))


def _sandbox(config: Config) -> Iterator[Finding]:
    try:
        sandbox = find_sandbox(config.sandbox)
    except (SandboxUnavailable, ValueError) as error:
        yield Finding("problem", "sandbox", str(error))
        return
    if sandbox.tier == "none":
        yield Finding("note", "sandbox", "none: candidates run as you, with your files and your network")
        return
    user = "an unprivileged user of its own" if os.geteuid() == 0 else "you, confined"
    yield Finding("ok", "sandbox", f"{sandbox.tier}: no network, no other files or processes; runs as {user}")
    if sandbox.tier == "bwrap-shared":
        yield Finding(
            "note", "sandbox", f"bwrap-shared: a sandbox can tell which files another has read, since {why_shared()}"
        )
    if sandbox.tier == "landlock":
        yield Finding("note", "sandbox", f"landlock lacks, compared with bwrap: {LIMITATIONS}")
    if config.sandbox == "auto":
        yield from _other_tiers(sandbox.tier)


def _other_tiers(used: str) -> Iterator[Finding]:
    """Report for each other tier whether it works here."""
    for tier, other, problem in probe_tiers():
        if not used.startswith(tier):
            works = f"sandbox={tier} works here too" if other is not None else problem
            yield Finding("ok" if other is not None else "note", "sandbox", works)


def _device(config: Config) -> Iterator[Finding]:
    try:
        words = factory.executor_kind(config.executor).survey(config.executor.options)
        slots = _slots(config)
    except (ValueError, ExecutorError) as error:
        yield Finding("problem", "slots", str(error))
        return
    yield Finding("ok", "device", words)
    for note in gpu_warnings(slots):
        yield Finding("note", "device", note)
    load = os.getloadavg()[0] / (os.cpu_count() or 1)
    if load > 0.5:
        yield Finding(
            "note",
            "load",
            f"the machine is busy (load {load:.0%} a core): under a time budget, scores depend on its speed",
        )


def _slots(config: Config) -> tuple[Slot, ...]:
    return factory.executor_kind(config.executor).find_slots(config.executor.options)


def _memory(config: Config, task: Task | None) -> Iterator[Finding]:
    if task is None:
        return
    if factory.executor_kind(config.executor) is not LocalExecutor:
        return  # this machine's memory is not that of the cluster's nodes
    try:
        slots = _slots(config)
    except ValueError:
        return  # reported by _device
    free = psutil.virtual_memory().available / 1e9
    wanted = task.limits.memory_mb / 1000 * len(slots)
    level: Literal["ok", "note"] = "ok" if free >= wanted else "note"
    yield Finding(
        level, "memory", f"{free:.1f} GB free; all slots together may use {wanted:.1f} GB (task.limits.memory_mb)"
    )


def _disk(config: Config) -> Iterator[Finding]:
    folder = Path(config.archive).resolve().parent
    existing = next(p for p in (folder, *folder.parents) if p.exists())
    free = shutil.disk_usage(existing).free / 1e9
    writable = os.access(existing, os.W_OK)
    if not writable:
        yield Finding("problem", "disk", f"{folder} is not writable; set archive=FILE")
    elif free < _GIGABYTES:
        yield Finding("problem", "disk", f"{free:.1f} GB free in {folder}; at least {_GIGABYTES:g} GB are required")
    else:
        yield Finding("ok", "disk", f"{free:.0f} GB free in {folder}")


def model_findings(config: Config, hourly: float) -> Iterator[Finding]:
    """Report the language model and its cost. ``hourly``: evaluations an hour on all slots together; 0 if unknown."""
    if (reason := factory.why_no_model(config)) is not None:
        yield Finding("note", "model", reason)
        return
    try:
        meter = build_meter(config.llm)
        assert meter is not None  # why_no_model returned None
        warning = meter.check()
    except (LlmError, ValueError) as error:
        yield Finding("problem", "model", str(error))
        return
    yield Finding("ok", "model", meter.describe() + factory.models_left_out(config.llm))
    if warning is not None:
        yield Finding("note", "model", warning)
    if meter.price is not None:
        dollars = meter.price.dollars(fresh=_TOKENS_IN, out=_TOKENS_OUT)
        words = f"about ${dollars:.3f} a proposal of {_TOKENS_IN:,} input and {_TOKENS_OUT:,} output tokens"
        if hourly:
            words += f"; at most about ${dollars * hourly:.2f} an hour, until the cap"
        yield Finding("ok", "cost", words)


def _hourly(config: Config, task: Task | None) -> float:
    """Return the evaluations an hour on all slots together; 0 if unknown."""
    if task is None:
        return 0.0
    try:
        slots = len(_slots(config))
    except (ValueError, ExecutorError):
        return 0.0
    return 3600 / (task.seconds + _OVERHEAD) * slots


def _shares(config: Config) -> str:
    """Return how the evaluations of a new run are divided between search and claim."""
    kept = affordable(config.budget, config.claim, BudgetUse())
    searched = (config.budget.evaluations or 0) - kept
    return f", {searched} of them to search and {f'up to {kept}' if kept else 'none'} to claim"


def _pace(config: Config, task: Task | None) -> Iterator[Finding]:
    """Report the evaluations an hour, and how long the budget takes."""
    hourly = _hourly(config, task)
    if task is None or not hourly:
        return
    words = f"about {hourly:.0f} evaluations an hour on all slots ({task.seconds:g} s + {_OVERHEAD:g} s overhead each)"
    if evaluations := config.budget.evaluations:
        words += f"; {evaluations} take {evaluations / hourly * 60:.0f} min{_shares(config)}"
    yield Finding("ok", "pace", words)
