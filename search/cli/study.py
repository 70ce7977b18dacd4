"""``python -m search study PLAN``: register a plan, and make its runs.

The plan is hashed into the archive before its first run (``search/study/plan.py``). Each run is a search in stages
(``search/study/stages.py``) with a claim at its end. The same command resumes what is not finished.
"""

from __future__ import annotations

import argparse
import json
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from archive.errors import ArchiveError
from archive.paper.bibliography import SHIPPED, BibliographyError, entries
from archive.paper.deviations import BIBLIOGRAPHY, deviations
from archive.query.query import open_reader
from archive.storage.store import Archive
from prepare.command_line import command
from prepare.config import SettingsError
from prepare.load import TaskError, task_from
from prepare.output import DONE, FAILED, INTERRUPTED, Parser
from prepare.task import Task
from search import factory
from search.cli.run import run
from search.cli.terminal import progress_aside, show, show_error, show_json
from search.config import Config
from search.display.summary import archive_command
from search.settings import as_json, differences, plain_values
from search.study.ablation import NAME
from search.study.plan import LEAST_SEEDS, StudyPlan, read_plan, registered, scaled
from search.words import Words

_DETERMINISTIC_CLAIM = 2
"""Evaluations of the claim of a deterministic task: one of the finalist, one of the root."""
_DESCRIPTION = """\
Register the plan of a study in the archive, before its first run, and make its runs: for each seed a search in the
stages baseline, tuning, research and ablation, with a claim at its end. The same command resumes the study. A plan that
is registered cannot change: name another study.
"""


def study(arguments: Sequence[str]) -> int:
    """Run the command. Returns the exit status (``prepare.output``). Raises SettingsError."""
    options = _parser().parse_intermixed_args(arguments)
    plan = read_plan(options.plan)
    words = Words((f"task={plan.task}", *plan.settings, *options.overrides), options.config_dir)
    again = f"{command('search')} study {shlex.join([*map(str, arguments)])}"
    try:
        with progress_aside(options.json):
            status, archive = _study(plan, options.plan.parent, words, again)
        if options.json and status != INTERRUPTED:
            show_json(facts(plan, archive))
        return status
    except (ArchiveError, BibliographyError, TaskError) as error:
        show_error(error)
        return FAILED


def _parser() -> argparse.ArgumentParser:
    parser = Parser(
        prog="python -m search study",
        usage="python -m search study PLAN [archive=FILE] [sandbox=...] [executor.slots=N] [--json]",
        description=_DESCRIPTION,
    )
    parser.add_argument("plan", metavar="PLAN", type=Path, help="a YAML file: docs/studies.md")
    parser.add_argument("overrides", metavar="NAME=VALUE", nargs="*", help="where and how it runs: archive=, sandbox=")
    parser.add_argument("--config-dir", metavar="DIR", type=Path, help="a conf/ folder of your own")
    parser.add_argument("--json", action="store_true", help="print an object at the end; the rest on standard error")
    return parser


def _study(plan: StudyPlan, folder: Path, words: Words, again: str) -> tuple[int, str]:
    """Make the runs. Return the exit status and the archive."""
    composition = words.composition()
    values = plain_values(composition, factory.device_for)
    config = Config.of(values)
    task = task_from(config.task)
    _require_metric(plan, task)
    sections = _sections(plan, config, task)
    _register(plan, folder, config, task, sections)
    worst = DONE
    for name, seed in plan.runs.items():
        status = run(composition, words, {**sections, "run": name, "seed": seed}, again)
        if status == INTERRUPTED:
            return status, config.archive
        worst = max(worst, status)
    _close(plan, config.archive)
    return worst, config.archive


def facts(plan: StudyPlan, archive: str) -> dict[str, Any]:
    """Return the runs and the deviations from the plan as plain JSON values."""
    found = deviations(open_reader(archive), plan.study)
    return {"study": plan.study, "runs": list(plan.runs), "deviations": [asdict(each) for each in found]}


def _require_metric(plan: StudyPlan, task: Task) -> None:
    wanted, found = (plan.metric, plan.direction), (task.metric.name, task.metric.direction)
    if wanted != found:
        raise SettingsError(
            f"the plan says {' '.join(wanted)}, and task {task.name} has {' '.join(found)}; "
            "correct metric and direction of the plan"
        )


def _sections(plan: StudyPlan, config: Config, task: Task) -> dict[str, Any]:
    """Return the sections of the configuration that all runs of the study share. Raises SettingsError."""
    if config.claim is None or config.claim.report_seeds < LEAST_SEEDS:
        raise SettingsError(
            f"a study reports at least {LEAST_SEEDS} seeds: set claim.report_seeds={LEAST_SEEDS} or more"
        )
    claim = _DETERMINISTIC_CLAIM if task.deterministic else config.claim.evaluations
    policy = {
        "_target_": "search.study.stages.Stages",
        "_convert_": "all",
        "within": config.policy,
        "budgets": scaled(max(1, plan.each - claim)),
        "seeds": len(plan.seeds),
        "patience": plan.patience,
    }
    return {
        "policy": policy,
        "operators": {**config.plain["operators"], NAME: {"_target_": "search.study.ablation.Revert"}},
        "budget": {**config.plain["budget"], "evaluations": plan.each},
        "claim": {**config.plain["claim"], "least_power": 0.0},
        "chosen": {**config.chosen, "policy": "study"},
    }


def _register(plan: StudyPlan, folder: Path, config: Config, task: Task, sections: Mapping[str, Any]) -> None:
    """Record the plan, or compare it with the one that is recorded. Raises SettingsError for another one."""
    bibliography = _bibliography(plan, folder)
    identity = as_json(config.changed(**sections).identity)
    identity.pop("seed")
    text = registered(plan, sections["policy"]["budgets"], factory.seed_files(task), identity, bibliography)
    with Archive.open(config.archive) as archive:
        known = archive.query("SELECT plan, digest FROM studies WHERE study = ?", [plan.study])
        if not known:
            archive.register(plan.study, text, bibliography, plan.runs)
            known = archive.query("SELECT plan, digest FROM studies WHERE study = ?", [plan.study])
            show(f"Registered the plan of study {plan.study!r} before its first run: sha256 {known[0][1]}")
    before, now = json.loads(known[0][0]), json.loads(text)
    if BIBLIOGRAPHY not in before:  # registered by an earlier version
        now.pop(BIBLIOGRAPHY)
    if changed := differences(before, now):
        raise SettingsError(
            f"study {plan.study!r} is registered with another plan, which cannot change:\n  "
            + "\n  ".join(changed)
            + "\nPut these values back to resume it, or give the study another name."
        )


def _bibliography(plan: StudyPlan, folder: Path) -> str:
    """Return the BibTeX text that papers on the study may cite. Raises BibliographyError."""
    path = SHIPPED if plan.bibliography is None else folder / plan.bibliography
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise BibliographyError(f"the bibliography {path} cannot be read: {error}") from error
    entries(text)
    return text


def _close(plan: StudyPlan, path: str) -> None:
    found = deviations(open_reader(path), plan.study)
    show(f"\nStudy {plan.study!r}: {len(plan.runs)} registered runs, {len(found)} deviations from the plan")
    for deviation in found:
        show(f"  {deviation.words}")
    show(f"\nWrite the paper:\n  {archive_command(path)} paper {plan.study} --out papers")
