"""Adapter for OpenEvolve: ``initial_program.*``, ``evaluator.py`` with ``evaluate(path)`` or stages, a config."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from search.adopt.base import (
    COMBINED_SCORE,
    Adopted,
    AdoptError,
    Asked,
    blocks_of,
    chosen,
    everything,
    instructions,
    own_file,
    self_reported,
    text_of,
    with_added,
    workspace,
)
from search.adopt.source import Source

_THRESHOLDS = (0.5, 0.75, 0.9)
_SECONDS = 300.0
_IMPORT = re.compile(r"^\s*(?:from|import)\s+openevolve\b", re.MULTILINE)
_UNUSED = "config.yaml: its models, islands and database are not used; see conf/ for those of this project"
_STAND_IN = "openevolve/ in the folder stands in for the package: it has EvaluationResult and nothing else"
_CONTRACT = "The program is a file that `evaluator.py` loads and measures; larger scores are better."


def recognises(source: Source) -> bool:
    return "evaluator.py" in source.files and source.named("initial_program") is not None


def convert(source: Source, asked: Asked) -> Adopted:
    """Make a task with the same program and evaluator; an added file calls the evaluator stage by stage."""
    program = source.named("initial_program")
    assert program is not None  # recognises() found it
    config = _config(source)
    staged = _section(config, "evaluator")
    runner = own_file(
        "openevolve_run.py",
        CASCADE=staged.get("cascade_evaluation", True) is True,
        THRESHOLDS=_numbers(staged.get("cascade_thresholds"), _THRESHOLDS),
    )
    stand_in = _IMPORT.search(text_of(source, "evaluator.py")) is not None
    beside = {"openevolve_run.py": runner}
    if stand_in:
        beside |= {"openevolve/__init__.py": b"", "openevolve/evaluation_result.py": own_file("openevolve_result.py")}
    files = workspace(source, chosen(source, asked, [program]), ["config.yaml", "config.yml"])
    blocks, notes = blocks_of(text_of(source, program))
    seconds = _numbers([staged.get("timeout")], (_SECONDS,))[0]
    settings = {**self_reported(with_added(files, beside), COMBINED_SCORE, seconds), **blocks}
    prompt = _section(config, "prompt").get("system_message")
    written = {
        **beside,
        "score.py": own_file("openevolve_score.py", PROGRAM=program),
        "program.md": instructions(prompt if isinstance(prompt, str) else "", _CONTRACT),
    }
    notes = [_UNUSED, *notes, *([_STAND_IN] if stand_in else [])]
    return Adopted("OpenEvolve", settings, everything(files), written, notes)


def _config(source: Source) -> Mapping[str, Any]:
    """Return the values of config.yaml; empty if there is none. Raises AdoptError."""
    import yaml  # type: ignore[import-untyped]

    name = next((name for name in ("config.yaml", "config.yml") if name in source.files), None)
    if name is None:
        return {}
    try:
        values = yaml.safe_load(text_of(source, name))
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        raise AdoptError(f"{source.path / name} cannot be read: {' '.join(str(error).split())[:300]}") from None
    return values if isinstance(values, Mapping) else {}


def _section(config: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    found = config.get(name)
    return found if isinstance(found, Mapping) else {}


def _numbers(found: Any, usual: tuple[float, ...]) -> tuple[float, ...]:
    """Return the positive numbers of a configuration, with defaults for the rest."""
    numbers = found if isinstance(found, list) else []
    fit = [float(n) for n in numbers if isinstance(n, int | float) and not isinstance(n, bool) and 0 < n < 1e6]
    return tuple(fit) if fit and len(fit) == len(numbers) else usual
