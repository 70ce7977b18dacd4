"""Adapter for AI-Scientist templates: ``experiment.py``, which writes ``final_info.json``, and ``prompt.json``."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from search.adopt.base import (
    Adopted,
    AdoptError,
    Asked,
    chosen,
    everything,
    instructions,
    own_file,
    self_reported,
    text_of,
    workspace,
)
from search.adopt.source import Source

_BESIDE = ("plot.py", "notes.txt", "seed_ideas.json", "ideas.json", "prompt.json")
"""Files that are kept beside the program, where no candidate sees them."""


def recognises(source: Source) -> bool:
    return "experiment.py" in source.files and b"out_dir" in source.files["experiment.py"]


def convert(source: Source, asked: Asked) -> Adopted:
    """Make a task whose metric is the mean over the data sets of the means that the experiment writes."""
    if asked.metric is None or asked.direction is None:
        raise AdoptError(f"the metric has to be named{_known(source)}: add --metric NAME --direction minimise|maximise")
    beside = [path for path in _BESIDE if path in source.files]
    without = [*beside, *source.matching(["latex/**", "run_*/**"])]
    files = workspace(source, chosen(source, asked, ["experiment.py"]), without)
    settings = self_reported(files, {"name": asked.metric, "direction": asked.direction}, 7200.0)
    written = {
        "score.py": own_file("ai_scientist_score.py", METRIC=asked.metric),
        "program.md": instructions(
            _description(source), "`python experiment.py --out_dir=run` writes final_info.json."
        ),
    }
    left = without[len(beside) :]
    notes = ["7200 s for an evaluation, as the template has for a run: seconds in task.yaml"]
    if beside:
        notes.append(f"kept beside the program, where no candidate sees them: {', '.join(beside)}")
    if left:
        words = f"left out: {', '.join(left[:8])}{' ...' if len(left) > 8 else ''}"
        notes.append(f"{words}; the baseline (run_0) is evaluated here, by check, a search or a study")
    return Adopted("AI-Scientist", settings, [*everything(files), *beside], written, notes)


def _description(source: Source) -> str:
    """Return the task's description in prompt.json; empty if there is none."""
    if "prompt.json" not in source.files:
        return ""
    try:
        said = json.loads(text_of(source, "prompt.json"))
    except (ValueError, RecursionError) as error:
        raise AdoptError(f"{source.path / 'prompt.json'} cannot be read: {error}") from None
    return str(said.get("task_description", "")) if isinstance(said, dict) else ""


def _known(source: Source) -> str:
    """Return the metrics of a recorded baseline (run_0/final_info.json), for a message; empty if there is none."""
    try:
        recorded = json.loads(source.files.get("run_0/final_info.json", b"{}"))
    except (ValueError, RecursionError):
        return ""
    names = sorted({str(name) for name in _means(recorded)})
    return f" ({', '.join(names[:12])} in run_0/final_info.json)" if names else ""


def _means(recorded: Any) -> Iterable[Any]:
    for found in recorded.values() if isinstance(recorded, dict) else ():
        means = found.get("means") if isinstance(found, dict) else None
        yield from means if isinstance(means, dict) else ()
