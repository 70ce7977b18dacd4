"""Adapter for karpathy/autoresearch: ``train.py``, which prints the metric, ``prepare.py``, and ``program.md``."""

from __future__ import annotations

from search.adopt.base import Adopted, Asked, chosen, everything, instructions, text_of, workspace
from search.adopt.source import Source

_METRIC = "val_bpb"
_SECONDS = 600.0
"""The README there: what takes more than ten minutes is ended; the training itself takes five."""


def recognises(source: Source) -> bool:
    return {"train.py", "prepare.py"} <= source.files.keys() and _METRIC.encode() in source.files["train.py"]


def convert(source: Source, asked: Asked) -> Adopted:
    """Make a task that runs train.py under the time limit and reads the metric from its output."""
    files = workspace(source, chosen(source, asked, ["train.py"]), ["results.tsv", "uv.lock", "README.md"])
    settings = {
        "metric": {"name": asked.metric or _METRIC, "direction": asked.direction or "minimise"},
        "workspace": files,
        "command": asked.command or "python train.py",
        "seconds": _SECONDS,
        "clock": "wall",
        "limits": {"memory_mb": 64_000},
    }
    said = text_of(source, "program.md") if "program.md" in source.files else ""
    notes = [
        "data in ~/.cache/autoresearch lie outside of the sandbox: put them into the folder (workspace.readonly), "
        "or use sandbox=none",
        "for audited scores of the same game, see task=gpt",
    ]
    return Adopted("autoresearch", settings, everything(files), {"program.md": instructions(said)}, notes)
