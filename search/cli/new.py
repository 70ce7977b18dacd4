"""``python -m search new FOLDER [--kind KIND]``: write a new task's folder from a template that runs at once."""

from __future__ import annotations

import argparse
import json
import re
import shutil
from collections.abc import Sequence
from pathlib import Path

from prepare.config import SettingsError
from prepare.output import Parser
from prepare.program import SETTINGS
from search.cli.terminal import show, show_json
from search.display.summary import search_command

TEMPLATES = Path(__file__).resolve().parent.parent / "templates"
KINDS = {
    "function": "a function whose result score.py checks exactly (circle packing); deterministic",
    "command": "a command that prints METRIC name=value lines (a shell script that compresses)",
    "speed": "a numpy function to make faster, timed against its first version on new inputs",
    "agent": "solve(question, llm): an agent that calls a model, which score.py gives it",
    "train": "fit and predict on data with hidden labels (a small numpy network); several seeds",
}
"""Kinds of sample -> what each is."""


def new(arguments: Sequence[str]) -> int:
    """Run the command. Returns 0. Raises SettingsError if the folder exists or cannot be written."""
    options = _parser().parse_args(arguments)
    write_task(options.folder, TEMPLATES / options.kind)
    files = [path.name for path in sorted(options.folder.iterdir())]
    if options.json:
        show_json({"folder": str(options.folder), "kind": options.kind, "files": files})
        return 0
    show(f"{options.folder}: {KINDS[options.kind]}")
    for name in files:
        show(f"  {name}")
    show(next_commands(options.folder))
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = Parser(
        prog="python -m search new",
        description="Write a task's folder that runs at once. Nothing is overwritten.",
        epilog="\n".join(["kinds:", *(f"  {kind:<10}{words}" for kind, words in KINDS.items())]),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("folder", metavar="FOLDER", type=Path, help="a folder that does not exist yet")
    parser.add_argument("--kind", choices=list(KINDS), default="function", help="the sample to begin with (function)")
    parser.add_argument("--json", action="store_true", help="print an object")
    return parser


def write_task(folder: Path, template: Path) -> None:
    """Copy a template; the task is named after its folder. Raises SettingsError."""
    refuse_existing(folder)
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        shutil.copytree(template, folder, ignore=shutil.ignore_patterns("__pycache__"))
        settings = folder / SETTINGS
        _, _, rest = settings.read_text(encoding="utf-8").partition("\n")
        settings.write_text(f"name: {yaml_text(folder.resolve().name)}\n{rest}", encoding="utf-8")
    except OSError as error:
        raise SettingsError(f"{folder} cannot be written: {error.strerror}") from None


def refuse_existing(folder: Path) -> None:
    """Raise SettingsError if the folder, or a file of its name, exists."""
    if folder.exists() or folder.is_symlink():
        raise SettingsError(f"{folder} exists already; expected the name of one that does not. Nothing was written")
    if not folder.name.isprintable():
        raise SettingsError(f"{str(folder)!r} has control characters in its name; expected a name without")


def yaml_text(text: str) -> str:
    """Return a text as one YAML value on one line."""
    import yaml  # type: ignore[import-untyped]

    plain = re.fullmatch(r"[^\W\d][\w -]*", text) and yaml.safe_load(text) == text
    return text if plain else json.dumps(text, ensure_ascii=False)


def next_commands(folder: Path) -> str:
    """Return the commands to type next."""
    path = str(folder)
    where = path if "/" in path else f"./{path}"
    return (
        f"\nNext:\n  {search_command(['check', path])}\n  {search_command([f'task={where}', 'budget.evaluations=50'])}"
    )
