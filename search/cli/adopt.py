"""``python -m search adopt PATH``: convert another system's project into a task's folder. Nothing in PATH is run."""

from __future__ import annotations

import argparse
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from prepare.config import SettingsError
from prepare.known import TaskError
from prepare.load import task_from
from prepare.output import Parser
from prepare.program import SETTINGS, folder_settings
from search.adopt import adas, ai_scientist, autoresearch, harbor, metric_lines, openevolve, shinka
from search.adopt.base import Adapter, Adopted, AdoptError, Asked
from search.adopt.source import Source
from search.cli.new import next_commands, refuse_existing, yaml_text
from search.cli.terminal import show, show_error, show_json

ADAPTERS: tuple[Adapter, ...] = (adas, autoresearch, ai_scientist, harbor, openevolve, shinka, metric_lines)
_EXPECTED = """\
{path} is no folder of a known kind; expected one of
  OpenEvolve        initial_program.*, evaluator.py
  ShinkaEvolve      initial.*, evaluate.py
  METRIC lines      measure.sh, or --command COMMAND --metric NAME --direction minimise|maximise
  Harbor            task.toml, tests/test.sh
  ADAS              *_run_archive.json
  AI-Scientist      experiment.py --out_dir
  autoresearch      train.py, prepare.py
It has {files}"""
_SHARED = "  trust: self_reported, since the evaluation shares the program's sandbox, as it does there;"
_DESCRIPTION = """\
Make a task's folder of an ADAS archive, of an OpenEvolve, ShinkaEvolve, Harbor, AI-Scientist or autoresearch folder, or
of any command that prints a metric. Files are copied; nothing of them is executed.
"""


def adopt(arguments: Sequence[str]) -> int:
    """Run the command. Returns 0, or 1 if nothing could be adopted. Raises SettingsError for a folder that exists."""
    options = _parser().parse_args(arguments)
    if not options.path.is_dir():
        raise SettingsError(f"{options.path} is not a folder; expected the folder with the program and its evaluation")
    target = options.to or Path(f"{options.path.resolve().name}-task")
    refuse_existing(target)
    try:
        source = Source.read(options.path)
        asked = Asked(options.command, options.metric, options.direction, options.files)
        adopted = _convert(source, asked)
        write(adopted, source, target)
    except (AdoptError, TaskError, OSError) as error:
        show_error(error)
        return 1
    if options.json:
        show_json(facts(adopted, source, target))
    else:
        show(described(adopted, source, target))
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = Parser(prog="python -m search adopt", description=_DESCRIPTION)
    parser.add_argument("path", metavar="PATH", type=Path, help="the folder to adopt")
    parser.add_argument("--to", metavar="FOLDER", type=Path, help="the task's folder (PATH's name with -task)")
    parser.add_argument("--command", help="a command that prints METRIC name=value, a JSON object, or name: value")
    parser.add_argument("--metric", metavar="NAME", help="the metric that is the score")
    parser.add_argument("--direction", choices=["minimise", "maximise"], help="which values are better")
    parser.add_argument("--files", metavar="PATTERN", nargs="+", default=(), help="the files that may change")
    parser.add_argument("--json", action="store_true", help="print an object")
    return parser


def _convert(source: Source, asked: Asked) -> Adopted:
    """Convert with the adapter that recognises the folder. Raises AdoptError."""
    if asked.command is not None:
        adapter: Adapter | None = metric_lines
    else:
        adapter = next((each for each in ADAPTERS if each.recognises(source)), None)
    if adapter is None:
        raise AdoptError(_EXPECTED.format(path=source.path, files=source.listed()))
    return adapter.convert(source, asked)


def write(adopted: Adopted, source: Source, target: Path) -> None:
    """Write the folder, and load it as a task; remove it if that fails. Raises AdoptError or TaskError."""
    import yaml  # type: ignore[import-untyped]

    if double := sorted({*adopted.kept} & adopted.added.keys()):
        raise AdoptError(f"{source.path / double[0]} has the name of a file that is added; rename it first")
    settings = yaml.safe_dump(dict(adopted.settings), allow_unicode=True, sort_keys=False, default_flow_style=None)
    named = (
        f"# Adopted from {adopted.kind}; docs/tasks.md explains each line.\nname: {yaml_text(target.resolve().name)}\n"
    )
    files = {path: source.files[path] for path in adopted.kept} | dict(adopted.added)
    try:
        for path, data in {**files, SETTINGS: (named + settings).encode()}.items():
            (target / path).parent.mkdir(parents=True, exist_ok=True)
            (target / path).write_bytes(data)
        task_from(folder_settings(target)).prepare()
    except BaseException:
        shutil.rmtree(target, ignore_errors=True)
        raise


def facts(adopted: Adopted, source: Source, target: Path) -> dict[str, Any]:
    """Return what was recognised, with its task's settings, as plain JSON values."""
    return {
        "folder": str(target),
        "kind": adopted.kind,
        "settings": dict(adopted.settings),
        "notes": list(adopted.notes),
        "left_out": [str(what) for what in source.left_out],
    }


def described(adopted: Adopted, source: Source, target: Path) -> str:
    """Return what was recognised, what may change, which trust scores have, what was left out, and what to do next."""
    settings = adopted.settings
    metric, may_change = settings["metric"], settings["workspace"]["editable"]
    lines = [
        f"{target}: {adopted.kind}; {metric['name']}, {metric['direction']}; may change: {', '.join(may_change[:8])}"
        + (f" and {len(may_change) - 8} more" if len(may_change) > 8 else ""),
        *_trust(settings),
        *(f"  note: {note}" for note in adopted.notes),
        *(f"  left out: {what}" for what in source.left_out[:20]),
    ]
    return "\n".join(lines) + "\n" + next_commands(target)


def _trust(settings: Mapping[str, Any]) -> list[str]:
    """Return which trust scores have, if not the highest one."""
    if "scorer" in settings and settings.get("trust") != "self_reported":
        return []
    raised = "its score.py says" if "scorer" in settings else "docs/tasks.md (Trust) says"
    return [_SHARED, f"         {raised} how to reach `verified`"]
