"""``python -m search transfer ID ... --to TASK ...``: agents on other domains, compared with each domain's own seed.

Each agent is judged on the split ``select`` of each task, with the same seeds as the task's seed agent: a matrix of
shares with intervals by item, paired gains, and p-values with Holm's correction over the whole matrix. ``--models``
repeats it with other scripted models of the tasks. Nothing is archived.
"""

from __future__ import annotations

import argparse
import threading
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from archive.bootstrap import Bootstrapped, bootstrap, by_item
from archive.difference import gains_by_case, measurements
from archive.errors import ArchiveError
from archive.holm import holm, sign_flip
from archive.query.query import Reader, open_reader
from archive.query.questions import full_id
from archive.records import Evaluation, Failed, Request, Scored
from prepare.load import TaskError, task_from
from prepare.output import Parser, many
from prepare.program import ProgramTask
from search import factory, settings
from search.cli.terminal import show, show_error, show_json
from search.cli.trials import NO_TRIALS
from search.run.engine import evaluation_seed

SEED = "seed"
"""The row of a task's own first agent."""
_FILES = "SELECT f.path, s.text FROM files AS f JOIN sources AS s USING (sha) WHERE f.node_id = ? ORDER BY f.path"


@dataclass(frozen=True)
class Cell:
    """One agent on one domain."""

    agent: str
    domain: str
    share: Bootstrapped | None
    """None if an evaluation failed, for ``failure``."""
    failure: str = ""
    gain: float = 0.0
    """Of the share, over the seed agent of the domain."""
    p_value: float | None = None
    """Before the correction; None for the seed agent and for failures."""
    tokens_per_right: float | None = None


def transfer(arguments: Sequence[str]) -> int:
    """Print the matrix. Returns 0, or 1 if something cannot be evaluated. Raises SettingsError."""
    options = _options(arguments)
    try:
        agents = _agents(options)
        cells = [cell for domain in _domains(options) for cell in _judged(domain, agents, options)]
    except (*NO_TRIALS, ArchiveError) as error:
        show_error(error)
        return 1
    if options.json:
        show_json(facts(cells))
    else:
        show(table(cells))
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = Parser(
        prog="python -m search transfer",
        usage="python -m search transfer ID ... --to TASK ... [--models NAME ...] [--runs N] [--json] [NAME=VALUE] ...",
        description="Judge agents of an archive on other tasks: intervals, paired gains, Holm's correction.",
    )
    parser.add_argument("words", metavar="ID|NAME=VALUE", nargs="+", help="starts of nodes' ids; settings")
    parser.add_argument("--to", metavar="TASK", nargs="+", required=True, help="names or folders of tasks for agents")
    parser.add_argument(
        "--models", metavar="NAME", nargs="+", default=(), help="functions of the tasks' scripted models"
    )
    parser.add_argument(
        "--runs",
        type=settings.whole_number(1),
        default=2,
        metavar="N",
        help="evaluations of each, with other seeds (2)",
    )
    parser.add_argument("--config-dir", metavar="DIR", help="a conf/ folder of your own, besides the built-in one")
    parser.add_argument("--json", action="store_true", help="print an array of objects")
    return parser


def _options(arguments: Sequence[str]) -> argparse.Namespace:
    """Parse the command line; settings may stand anywhere, also after the tasks and the models."""
    options = _parser().parse_intermixed_args(arguments)
    found = (*options.words, *options.to, *options.models)
    options.overrides = [word for word in found if "=" in word]
    for name in ("words", "to", "models"):
        setattr(options, name, [word for word in getattr(options, name) if "=" not in word])
    return options


def _agents(options: argparse.Namespace) -> dict[str, Mapping[str, str]]:
    """Return the files of the named nodes. Raises ArchiveError."""
    config = settings.config_for(options.overrides, factory.device_for, options.config_dir)
    reader: Reader = open_reader(Path(config.archive))
    ids = [full_id(reader, word) for word in options.words]
    return {node_id[:8]: dict(reader.query(_FILES, [node_id]).rows) for node_id in ids}


@dataclass(frozen=True)
class _Domain:
    name: str
    task: ProgramTask
    local: factory.LocalEvaluation


def _domains(options: argparse.Namespace) -> list[_Domain]:
    """Build the evaluators of all tasks and models. Raises one of ``NO_TRIALS``."""
    return [_domain(options, to, model) for to in options.to for model in (options.models or [None])]


def _domain(options: argparse.Namespace, to: str, model: str | None) -> _Domain:
    words = [f"task={to}", *options.overrides]
    config = settings.config_for(words, factory.device_for, options.config_dir)
    task = task_from(config.task)
    if not isinstance(task, ProgramTask) or task.llm is None:
        raise TaskError(f"--to {to}: its candidates ask no language model; expected a task with a section llm")
    if model is not None:
        scripted = f"task.llm.scripted={task.llm.file}:{model}"
        config = settings.config_for([*words, scripted], factory.device_for, options.config_dir)
        task = task_from(config.task)
        assert isinstance(task, ProgramTask)
    local = factory.build_evaluation(config, task)
    factory.lend_model(config, task, local.evaluator)
    return _Domain(task.name if model is None else f"{task.name}/{model}", task, local)


def _judged(domain: _Domain, agents: Mapping[str, Mapping[str, str]], options: argparse.Namespace) -> list[Cell]:
    """Judge the seed agent and all others on one domain."""
    seed = domain.task.seed_files()
    main = next(iter(seed))
    own = [_evaluated(domain, seed, number) for number in range(options.runs)]
    cells = [_cell(SEED, domain.name, own, own)]
    for name, files in agents.items():
        moved = {**seed, main: files.get(main, next(iter(files.values())))}
        found = [_evaluated(domain, moved, number) for number in range(options.runs)]
        cells.append(_cell(name, domain.name, found, own))
    return cells


def _evaluated(domain: _Domain, files: Mapping[str, str], number: int) -> Evaluation:
    request = Request(SEED, "transfer", number, files, evaluation_seed("transfer", number), "confirm")
    found = domain.local.evaluator.evaluate(request, domain.local.slots[0], threading.Event(), lambda *_: None)
    assert isinstance(found, Scored | Failed)  # only claims of language models are sealed first
    return found


def _cell(agent: str, domain: str, found: Sequence[Evaluation], own: Sequence[Evaluation]) -> Cell:
    rng = np.random.default_rng(0)
    if failed := [each for each in found if isinstance(each, Failed)]:
        return Cell(agent, domain, None, failed[0].outcome)
    measured, base = measurements(found), measurements(own)
    share = bootstrap(by_item(measured), rng)
    gains = list(gains_by_case(base, measured, "maximise").values()) if base else []
    right = sum(case.value for each in found for case in each.cases)
    tokens = sum(case.metrics.get("tokens", 0.0) for each in found for case in each.cases)
    return Cell(
        agent,
        domain,
        share,
        gain=float(np.mean(gains)) if gains else 0.0,
        p_value=sign_flip(gains, rng) if gains and agent != SEED else None,
        tokens_per_right=tokens / right if right else None,
    )


def facts(cells: Sequence[Cell]) -> list[dict[str, object]]:
    """Return the matrix as plain values, one object for each cell."""
    adjusted = _adjusted(cells)
    return [asdict(cell) | {"adjusted_p_value": adjusted.get(id(cell))} for cell in cells]


def _adjusted(cells: Sequence[Cell]) -> dict[int, float]:
    """Return the p-values corrected over all cells (Holm), by the identity of the cell."""
    tested = [cell for cell in cells if cell.p_value is not None]
    return dict(zip(map(id, tested), holm([cell.p_value or 0.0 for cell in tested]), strict=True))


def table(cells: Sequence[Cell]) -> str:
    """Return the matrix as lines, one for each cell, with p-values corrected over all of them."""
    adjusted = _adjusted(cells)
    rows = [("agent", "domain", "right [95% by item]", "gain", "p (Holm)", "tokens a right answer")]
    for cell in cells:
        p_value = adjusted.get(id(cell))
        shown = "-" if p_value is None else f"{p_value:.4f}"
        tokens = "-" if cell.tokens_per_right is None else f"{cell.tokens_per_right:,.0f}"
        share = cell.failure if cell.share is None else cell.share.words
        rows.append(
            (cell.agent, cell.domain, share, f"{cell.gain:+.3f}" if p_value is not None else "-", shown, tokens)
        )
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    count = f"{many(len(adjusted), 'comparison')} with the domains' own seed agents, on select"
    return "\n".join([*lines, f"\n{count}; p-values by sign flips of the gains by item, corrected over all (Holm)."])
