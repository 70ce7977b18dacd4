"""``python -m search tasks``: list the tasks that ``task=NAME`` accepts, with one line each."""

from __future__ import annotations

import argparse
import re
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

from prepare.command_line import command
from prepare.compose import CONF, choices_of, compose
from prepare.load import task_from
from prepare.output import Parser
from prepare.program import ProgramTask, folder_settings
from prepare.task import Task
from prepare.task_folders import task_folder
from search.cli.terminal import show, show_json


def tasks(arguments: Sequence[str]) -> int:
    """Run the command. Returns 0. Raises SettingsError or TaskError for a folder that cannot be read."""
    options = _parser().parse_args(arguments)
    folder = None if options.config_dir is None else Path(options.config_dir)
    names = choices_of("task", *([] if folder is None else [folder]))
    if options.json:
        show_json([_facts(name, _task(name, folder)) for name in names])
        return 0
    rows = [_HEAD, *(_row(name, _task(name, folder)) for name in names)]
    for line in lines_of(rows, shutil.get_terminal_size().columns if sys.stdout.isatty() else None):
        show(line)
    show(f"\nNext: {command('search')} check NAME, then {command('search')} task=NAME budget.evaluations=50")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = Parser(prog="python -m search tasks", description="List the tasks: what is improved, time, trust, record.")
    parser.add_argument("--config-dir", metavar="DIR", help="a conf/ folder of your own, besides the built-in one")
    parser.add_argument("--json", action="store_true", help="print an array of objects")
    return parser


def _task(name: str, folder: Path | None) -> Task:
    place = task_folder(name, (CONF, *([] if folder is None else [folder])))
    values = compose([f"task={name}"], folder).task_for("cpu") if place is None else folder_settings(place)
    return task_from(values)


_HEAD = ("name", "what is improved", "metric", "time", "trust", "best known", "source")
_SHORTENED = {"source": 12, "what is improved": 8}
"""Columns of words, which a narrow terminal cuts, and the width below which they are left out. Numbers never are."""


def _row(name: str, task: Task) -> tuple[str, ...]:
    arrow = "max" if task.metric.direction == "maximise" else "min"
    known = task.known if isinstance(task, ProgramTask) else None
    trust = task.trust if isinstance(task, ProgramTask) else "audited"
    best, source = ("-", "") if known is None else (f"{known.value:.10g}", known.source)
    return name, _title(task.instructions()), f"{arrow} {task.metric.name}", f"{task.seconds:g} s", trust, best, source


def lines_of(rows: Sequence[Sequence[str]], columns: int | None) -> list[str]:
    """Return the rows of a table as lines of at most ``columns`` characters where cutting words suffices."""
    widths = [max(map(len, cells)) for cells in zip(*rows, strict=True)]
    for heading, least in _SHORTENED.items():
        over = 0 if columns is None else sum(width + 2 for width in widths if width) - 2 - columns
        place = _HEAD.index(heading)
        left = widths[place] - max(over, 0)
        widths[place] = left if left >= least else 0
    shown = [[_cut(cell, width) for cell, width in zip(row, widths, strict=True) if width] for row in rows]
    return ["  ".join(cells).rstrip() for cells in shown]


def _cut(text: str, width: int) -> str:
    return text.ljust(width) if len(text) <= width else text[: width - 1].rstrip().ljust(width - 1) + "…"


def _facts(name: str, task: Task) -> dict[str, object]:
    """Return what the table has of a task, as plain values."""
    known = task.known if isinstance(task, ProgramTask) else None
    return {
        "name": name,
        "title": _title(task.instructions()),
        "metric": task.metric.name,
        "direction": task.metric.direction,
        "unit": task.metric.unit,
        "seconds": task.seconds,
        "trust": task.trust if isinstance(task, ProgramTask) else "audited",
        "best_known": None if known is None else {"value": known.value, "source": known.source},
    }


def _title(instructions: str) -> str:
    """Return the first heading of ``program.md``."""
    found = re.search(r"^#+\s+(.+)$", instructions, re.MULTILINE)
    return found[1].strip() if found else "-"
