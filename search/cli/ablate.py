"""``python -m search ablate ID``: measure how much each edit of a node's lineage contributes to its score.

Each edit (step) is removed from the program in turn (``operators/recombine/ablate.py``), and of an agent each call of
the language model and each role (``operators/recombine/agent_parts.py``). The remaining program is evaluated on fresh
seeds and scored on val, beside the whole program. The evaluations are a run of their own in the same archive, called
``ablation-ID``, so every result is kept and the same command resumes an interrupted ablation.
"""

from __future__ import annotations

import argparse
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

from archive.difference import Difference, compare, measurements
from archive.errors import ArchiveError
from archive.interval import NoInterval
from archive.query.questions import NAMED, the_one
from archive.query.server import SqlServer
from archive.query.tables import digits
from archive.records import Conditions, Run
from archive.storage.store import Archive
from archive.tree import Tree
from operators.recombine.ablate import Ablate, Removal, without
from operators.recombine.agent_parts import without_parts
from prepare.config import Plain, SettingsError
from prepare.data.corpora import PreparationError
from prepare.known import TaskError, known_evaluator, known_task
from prepare.load import task_from
from prepare.output import UNUSABLE, Parser, many
from prepare.task import Task
from search import factory, settings
from search.cli.signals import stoppable
from search.cli.terminal import show_error, show_json
from search.config import Config
from search.display.live import clean, make_display
from search.policies.base import OperatorView
from search.policies.phases.ablation import Ablation
from search.run.engine import Engine, EngineParts, SearchStopped
from search.run.resume import RunChanged, open_run
from train.executors.base import Executor, ExecutorError
from train.sandbox.base import SandboxUnavailable

_NAME = "ablate"
_WIDTH = 56
_SETTABLE = ("archive=", "executor", "sandbox=")
_NAMED_AGAIN = ("task=", "task.", "data=", "data.", "evaluator=", "evaluator.")
"""Settings that must equal those of the run. Needed only if the run uses a corpus or evaluator class of the user's."""
_DESCRIPTION = """\
Measure how much each step (edit) of a node's lineage contributes to its score. Each step is removed in turn, and the
remaining program is evaluated on fresh seeds and scored on val, paired by case where the task has cases. The
evaluations are recorded in the archive as run ablation-ID; the same command resumes an interrupted ablation. If the
task is a folder, name it again: task=./FOLDER or task=NAME. If the run used a corpus or an evaluator class of your
own, name them again, too: task=NAME evaluator=NAME --config-dir DIR.

Of an agent, each call of the language model is removed, too (call-01: its answer is an empty text), and each role
(role-01: it is empty).
"""


class AblationError(Exception):
    """No step can be removed, or nothing can be compared; the message gives the reason."""


@dataclass(frozen=True)
class AblatedNode:
    """The node under ablation: its run, its program, and which of its steps can be removed."""

    run: Run
    node_id: str
    files: Mapping[str, str]
    removals: tuple[Removal, ...]
    entangled: tuple[tuple[str, str, str], ...]
    """(node or part, idea, reason) of each step that cannot be removed."""


def ablate(arguments: Sequence[str]) -> int:
    """Run the command. Returns the exit status (``prepare.output``). Raises SettingsError."""
    options = _parser().parse_intermixed_args(arguments)
    if strange := [word for word in options.overrides if not word.startswith((*_SETTABLE, *_NAMED_AGAIN))]:
        raise SettingsError(
            f"{strange[0]}: the task and the protocol are those of the node's own run; only archive=, sandbox= and "
            "executor.*= can be changed here; task= and evaluator= may be repeated with the run's own values"
        )
    config = settings.config_for(options.overrides, factory.device_for, options.config_dir)
    try:
        with ExitStack() as stack:
            return _ablate(options, config, stack)
    except RunChanged as e:
        show_error(e)
        return UNUSABLE
    except (
        AblationError,
        ArchiveError,
        ExecutorError,
        PreparationError,
        SandboxUnavailable,
        SearchStopped,
        TaskError,
    ) as e:
        show_error(e)
        return 1


def _parser() -> argparse.ArgumentParser:
    parser = Parser(
        prog="python -m search ablate",
        usage="python -m search ablate ID [--runs N] [archive=FILE] [sandbox=...] [executor.slots=N] [--json]",
        description=_DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("node", metavar="ID", help="a prefix of a node's id that matches exactly one node")
    parser.add_argument("overrides", metavar="NAME=VALUE", nargs="*", help="archive=, sandbox=, executor.*=, task=")
    parser.add_argument(
        "--runs",
        type=settings.whole_number(2),
        default=3,
        metavar="N",
        help="evaluations of each program (3; at least 2; of a deterministic task always 1)",
    )
    parser.add_argument("--config-dir", metavar="DIR", help="the conf/ folder that the run was started with")
    parser.add_argument("--json", action="store_true", help="print an object at the end; the rest on standard error")
    return parser


# ---------------------------------------------------------------- the run


def _ablate(options: argparse.Namespace, chosen: Config, stack: ExitStack) -> int:
    path = Path(chosen.archive)
    if not path.exists():
        raise AblationError(f"there is no archive {path}; name it with archive=FILE")
    archive = stack.enter_context(Archive.open(path))
    subject = _subject(archive, options.node)
    config = _config(subject, chosen, options.overrides)
    task = task_from(config.task)
    local = factory.build_evaluation(config, task)
    factory.lend_model(config, task, local.evaluator)
    stop = threading.Event()
    stack.enter_context(stoppable(stop))
    executor = stack.enter_context(factory.build_executor(config, local.evaluator, local.slots))
    opened = open_run(archive, config, task, executor.conditions, time.time())
    runs = 1 if task.deterministic else options.runs
    parts = _parts(subject, runs, task, local.evaluator.gate)
    search = Engine(parts, archive, opened.run, opened.tree)
    stack.callback(search.close)
    stack.enter_context(SqlServer(archive))
    return _measure(search, executor, subject, runs, stop, options.json)


def _measure(
    search: Engine, executor: Executor, subject: AblatedNode, runs: int, stop: threading.Event, as_json: bool
) -> int:
    """Evaluate the programs without each step, and print the report. Returns the exit status."""
    task, count = search.parts.task, len(subject.removals)
    total = runs * (1 + count)
    with make_display(sys.stderr if as_json else sys.stdout) as display:
        display.show(
            f"{count} of {count + len(subject.entangled)} steps of {subject.node_id[:8]} can be removed. "
            f"{total} evaluations of {task.seconds:g} s on val, as run {search.run.run!r}."
        )
        search.start(subject.files)
        try:
            while search.stopped is None and not stop.is_set():
                _turn(search, executor, display.landed, total)
                display.tick(search, executor.running(), total)
        finally:
            executor.close()
            for evaluation in executor.wait(0):
                search.tell(evaluation)
        display.close()
        if as_json:
            show_json(facts(subject, search.tree, task))
        else:
            display.show(report(subject, search.tree, task))
        if search.stopped is None:
            display.show("\nStopped. All finished evaluations are in the archive; repeat the command to resume.")
            return 130
    return 0


def _turn(search: Engine, executor: Executor, landed: Callable[..., None], total: int) -> None:
    """Fill the free slots with evaluations, and record those that have finished."""
    search.fill(executor.free, 0)
    while executor.free > 0 and (request := search.ask("screen")) is not None:
        executor.submit(request)
    for evaluation in executor.wait(0.25):
        search.tell(evaluation)
        landed(search, evaluation, total)


def _config(subject: AblatedNode, chosen: Config, typed: Sequence[str]) -> Config:
    """Return the configuration of the node's run, with this machine's slots and sandbox.

    An archive may come from an untrusted source: its task and evaluator are used only if they name classes on the list
    of known ones, or if the user has named them again. Raises TaskError or SettingsError.
    """
    recorded: dict[str, Any] = dict(subject.run.config)
    again, of_run = partial(_named_again, recorded, chosen.plain), recorded.get
    return chosen.changed(
        task=again("task") if _is_typed(typed, "task", "data") else known_task(of_run("task")),
        evaluator=again("evaluator") if _is_typed(typed, "evaluator") else known_evaluator(of_run("evaluator")),
        seed=recorded.get("seed"),
        run=f"ablation-{subject.node_id[:8]}",
        policy={"_target_": "search.policies.phases.ablation.Ablation"},
        operators={_NAME: {"node": subject.node_id}},
        chosen={**dict(recorded.get("chosen") or {}), "policy": "ablation"},
    )


def _is_typed(typed: Sequence[str], *groups: str) -> bool:
    return any(word.startswith((f"{group}=", f"{group}.")) for word in typed for group in groups)


def _named_again(recorded: Plain, chosen: Plain, group: str) -> Any:
    """Return the user's values of a group. Raises SettingsError unless they equal those of the run."""
    if changed := settings.changed_task(recorded.get(group), chosen[group], group):
        raise SettingsError(
            "the task and the protocol are those of the node's own run, and these settings differ from them:\n  "
            + "\n  ".join(clean(line, 200) for line in changed)
        )
    return chosen[group]


def _parts(subject: AblatedNode, runs: int, task: Task, gate: Callable[[Mapping[str, str]], str | None]) -> EngineParts:
    operator = Ablate(_NAME, subject.removals)
    return EngineParts(
        task=task,
        program="",  # the instructions are for prompts, and ablation uses no language model
        policy=Ablation(len(subject.removals), runs),
        operators={_NAME: operator},
        views={_NAME: OperatorView(_NAME, operator.arity, 1.0, operator.applies)},
        gate=gate,
        clock=time.time,
    )


# ---------------------------------------------------------------- the lineage


def _subject(archive: Archive, start: str) -> AblatedNode:
    """Return the node whose id starts with ``start``, and its steps. Raises AblationError or QueryError."""
    run, node_id, tree = located(archive, start)
    files = tree[node_id].candidate.files
    removals, entangled = _steps(tree, node_id)
    if _is_agent(run):
        parts, fixed = without_parts(files)
        removals, entangled = removals + parts, entangled + fixed
    if not removals:
        reasons = "; ".join(f"{node[:8]}: {why}" for node, _, why in entangled) or "it is the seed program itself"
        raise AblationError(f"no step of {node_id[:8]} can be removed: {reasons}")
    return AblatedNode(run, node_id, files, removals, entangled)


def _is_agent(run: Run) -> bool:
    task = run.config.get("task")  # of an archive that may be crafted
    return isinstance(task, Mapping) and bool(task.get("llm"))


def located(archive: Archive, start: str) -> tuple[Run, str, Tree]:
    """Return the run, the id of the node whose id starts with ``start``, and the tree under the latest conditions.

    Raises AblationError or QueryError.
    """
    node_id = the_one(start, archive.query(NAMED, [start, start]))
    ((name,),) = archive.query("SELECT run FROM nodes WHERE node_id = ?", [node_id])
    run = archive.run(name)
    last = archive.query(
        "SELECT budget_seconds, hardware, fingerprint FROM evaluations WHERE run = ? ORDER BY arrival DESC LIMIT 1",
        [name],
    )
    if run is None or not last:
        raise AblationError(f"run {name!r} has no evaluation yet; there is nothing to compare")
    return run, node_id, archive.tree(run, Conditions(last[0][2], last[0][0], last[0][1]))


def _steps(tree: Tree, node_id: str) -> tuple[tuple[Removal, ...], tuple[tuple[str, str, str], ...]]:
    """Return the edits of the lineage that can be removed and those that cannot, oldest first.

    A crossover is not an edit of its own: it joins the edits of its two parents.
    """
    files = tree[node_id].candidate.files
    removals: list[Removal] = []
    entangled: list[tuple[str, str, str]] = []
    for step in (tree[each] for each in tree.lineage(node_id)):
        if len(step.parents) != 1:
            continue
        idea, before = clean(step.candidate.idea, 200), tree[step.parents[0]].candidate.files
        left = without(step.node_id, idea, files, step.candidate.files, before)
        if isinstance(left, str):
            entangled.append((step.node_id, idea, left))
        else:
            removals.append(left)
    return tuple(removals), tuple(entangled)


# ---------------------------------------------------------------- the answer


def report(subject: AblatedNode, tree: Tree, task: Task) -> str:
    """Report for each step how much worse the program scores without it, with the 95% interval."""
    unit, whole = task.metric.unit, tree.scores(tree.root)
    known = f"{digits(sum(whole) / len(whole))} {unit}".rstrip() + ", " if whole else ""
    lines = ["", f"The whole program: {known}{many(len(whole), 'run')} on val. Without ..."]
    carried = [_carried(subject, tree, place) for place in range(len(subject.removals))]
    carried.sort(key=lambda item: -(item[1].gain if isinstance(item[1], Difference) else -1e300))
    for removal, found in carried:
        mark = "*" if removal.partial else " "
        lines.append(f"  {removal.node_id[:8]:<8}{mark} {_worth(found, unit):<{_WIDTH}} {clean(removal.idea, 60)}")
    for node_id, idea, why in subject.entangled:
        lines.append(f"  {node_id[:8]:<8}  {why:<{_WIDTH}} {clean(idea, 60)}")
    if any(removal.partial for removal in subject.removals):
        lines.append("* removed in part: later steps changed part of the same code, and those changes stay")
    differences = [found for _, found in carried if isinstance(found, Difference)]
    lines += _basis(differences, tree)
    count = len(subject.removals)
    if count > 1 and not tree.deterministic:
        lines.append(
            f"Each interval is 95% by itself; of {count} steps without effect, {0.05 * count:.1f} are expected to show "
            "one. Redundant steps hide each other: of two with the same effect, removing either one changes nothing."
        )
    return "\n".join(lines)


def facts(subject: AblatedNode, tree: Tree, task: Task) -> dict[str, object]:
    """Return the report as plain values; of each step either the gain that is lost without it, or why it has none."""
    whole = tree.scores(tree.root)
    steps: list[dict[str, object]] = []
    for removal, found in (_carried(subject, tree, place) for place in range(len(subject.removals))):
        measured = (
            {"difference": None, "reason": found.reason}
            if isinstance(found, NoInterval)
            else {"difference": asdict(found), "reason": None}
        )
        steps.append({"step": removal.node_id, "idea": removal.idea, "partial": removal.partial, **measured})
    steps += [
        {"step": node_id, "idea": idea, "partial": None, "difference": None, "reason": why}
        for node_id, idea, why in subject.entangled
    ]
    return {
        "node": subject.node_id,
        "run": tree.run,
        "unit": task.metric.unit,
        "score": sum(whole) / len(whole) if whole else None,
        "runs": len(whole),
        "steps": steps,
    }


def _basis(differences: Sequence[Difference], tree: Tree) -> Iterator[str]:
    """Yield what the differences rest on: paired cases, exactness, what their intervals leave out."""
    if paired := max((found.cases for found in differences), default=0):
        yield f"Paired by case: {paired} cases of val."
    if tree.deterministic and differences:
        yield "The task is deterministic: the differences are exact on these cases, and nothing was repeated."
    yield from sorted({f"Note: {found.note}." for found in differences if found.note})


def _carried(subject: AblatedNode, tree: Tree, place: int) -> tuple[Removal, Difference | NoInterval]:
    removal = subject.removals[place]
    node = next((n for n in tree.nodes if removal.node_id.startswith(n.candidate.ablated or "-")), None)
    if node is None:
        return removal, NoInterval("not evaluated yet, or refused")
    if (failures := tree.failures(node.node_id)) and not tree.scores(node.node_id):
        return removal, NoInterval(f"the program fails without it ({failures[-1].outcome})")
    without_it, whole = (measurements(tree.comparable(node_id)) for node_id in (node.node_id, tree.root))
    return removal, compare(without_it, whole, tree.direction, deterministic=tree.deterministic)


def _worth(found: Difference | NoInterval, unit: str) -> str:
    if isinstance(found, NoInterval):
        return found.reason
    if found.low == found.gain == found.high:
        if found.gain == 0:
            return "no effect: the same score"
        return f"{'worse' if found.gain > 0 else 'better'} by {abs(found.gain):.6g} {unit}".rstrip()
    interval = f"({_signed(found.low)} to {_signed(found.high)})"
    if found.low > 0:
        return f"worse by {digits(found.gain)} {unit} {interval}"
    if found.high < 0:
        return f"better by {digits(-found.gain)} {unit} {interval}"
    return f"no effect beyond noise: {_signed(found.gain)} {interval}"


def _signed(value: float) -> str:
    return digits(value) if value < 0 else f"+{digits(value)}"
