"""Adapter for ADAS: ``*_run_archive.json``, a list of agents with ``code`` that defines ``forward(self, taskInfo)``.

The best agent by its recorded fitness becomes the seed, the others lie in ``agents/``. Their benchmarks are not part of
such a file: the task judges on the generated word problems of ``task=arithmetic`` until its ``cases`` yield others.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

import yaml  # type: ignore[import-untyped]

from prepare.files import ROOT
from search.adopt.base import Adopted, AdoptError, Asked, instructions, own_file, text_of
from search.adopt.source import Source

SUFFIX = "_run_archive.json"
HEADER = "from adas import Info, LLMAgentBase\n\n\n"
"""First lines of an agent's file; ADAS runs the code where these names are known."""
_DOMAIN = ROOT / "conf" / "task" / "arithmetic"
_PERCENT = re.compile(r"Median: *([0-9.]+)%")
_CONTRACT = """# An agent of an ADAS archive

`forward(self, taskInfo)` in `agent.py` gets the question as `taskInfo.content`, and returns a text or an `Info`.
`LLMAgentBase(output_fields, agent_name, role)` is an agent: called with a list of `Info` and an instruction it asks the
language model, and returns an `Info` for each field. An answer is judged by its last number. At most 8 calls for one
question."""


def recognises(source: Source) -> bool:
    return _archive_in(source) is not None


def convert(source: Source, asked: Asked) -> Adopted:
    """Make a task whose seed is the best agent. Raises AdoptError for a file that is no such archive."""
    name = _archive_in(source)
    assert name is not None  # recognises() found it
    agents = _agents(text_of(source, name), name)
    best = max(agents, key=lambda agent: _fitness(agent))
    settings: dict[str, Any] = yaml.safe_load((_DOMAIN / "task.yaml").read_text(encoding="utf-8"))
    settings.pop("name")
    settings["workspace"] = {"editable": ["agent.py"], "readonly": ["adas.py"]}
    scorer = (_DOMAIN / "score.py").read_text(encoding="utf-8").replace('"solve"', '"adas.py:solve"')
    added = {
        "agent.py": _program(best),
        "adas.py": own_file("adas.py"),
        "score.py": scorer.encode(),
        "model.py": (_DOMAIN / "model.py").read_bytes(),
        "program.md": instructions(_CONTRACT),
    }
    added |= {f"agents/{place:03}.py": _program(agent) for place, agent in enumerate(agents)}
    added["agents/archive.json"] = (json.dumps(_records(agents), indent=1) + "\n").encode()
    notes = [
        f"{len(agents)} agents; the seed is {str(best.get('name'))[:80]!r}, the best by its recorded fitness",
        *_curse(best),
        "their items are not in the archive: score.py asks generated word problems; yield yours in its cases()",
    ]
    return Adopted("ADAS", settings, [], added, notes)


def _archive_in(source: Source) -> str | None:
    return next((name for name in source.files if "/" not in name and name.endswith(SUFFIX)), None)


def _agents(text: str, name: str) -> Sequence[Mapping[str, Any]]:
    """Return the entries that have code. Raises AdoptError."""
    try:
        entries = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise AdoptError(f"{name} cannot be read: {error}") from None
    found = [each for each in entries if isinstance(each, dict)] if isinstance(entries, list) else []
    agents = [each for each in found if isinstance(each.get("code"), str) and "def forward" in each["code"]]
    if not agents:
        raise AdoptError(f"{name} has no entry whose `code` defines forward(self, taskInfo); expected a list of agents")
    return agents


def _fitness(agent: Mapping[str, Any]) -> float:
    """Return the median of the recorded fitness, which is a sentence; -1 without one."""
    found = _PERCENT.search(str(agent.get("fitness")))
    return float(found[1]) if found else -1.0


def _records(agents: Sequence[Mapping[str, Any]]) -> list[dict[str, str]]:
    """Return what the archive says of each agent besides its code: name, generation, fitness, all test fitnesses."""
    return [
        {"file": f"{place:03}.py"} | {key: str(value) for key, value in agent.items() if _is_record(key)}
        for place, agent in enumerate(agents)
    ]


def _is_record(key: str) -> bool:
    return key in ("name", "generation", "fitness") or key.startswith("test_fitness")


def _curse(best: Mapping[str, Any]) -> list[str]:
    """Compare the fitness that chose the seed with that on their test split; empty if one is not recorded."""
    chosen, tested = (_PERCENT.search(str(best.get(name))) for name in ("fitness", "test_fitness"))
    if chosen is None or tested is None:
        return []
    return [f"it had {chosen[1]}% right in their search and {tested[1]}% in their test; no test fitness chose it"]


def _program(agent: Mapping[str, Any]) -> bytes:
    code = str(agent["code"]).strip("\n")
    return (code if code.startswith(HEADER.strip()) else HEADER + code).encode("utf-8", "replace") + b"\n"
