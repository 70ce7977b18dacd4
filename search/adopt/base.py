"""Input and output of adapters, and the parts that they share."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Protocol

from prepare.blocks import START
from search.adopt.source import Source

_FILES = Path(__file__).with_name("files")
_WRITTEN = ("task.yaml", "program.md")

COMBINED_SCORE: Mapping[str, str] = {"name": "combined_score", "direction": "maximise"}
"""The metric of OpenEvolve and of ShinkaEvolve."""
Direction = Literal["minimise", "maximise"]


class AdoptError(Exception):
    """A folder cannot be adopted; the message says what is missing and what to do."""


@dataclass(frozen=True)
class Asked:
    """Options of ``adopt`` beside the path."""

    command: str | None = None
    metric: str | None = None
    direction: Direction | None = None
    files: Sequence[str] = ()
    """Patterns of the files that may change; empty: the adapter's choice."""


@dataclass(frozen=True)
class Adopted:
    """A converted task: the files of its folder and its settings."""

    kind: str
    settings: Mapping[str, Any]
    """Of ``task.yaml``, without its name."""
    kept: Sequence[str]
    """Files of the source that go with it, as they are."""
    added: Mapping[str, bytes]
    """Files that the adapter writes."""
    notes: Sequence[str] = field(default=())
    """What was left out or changed, and what the user should know."""


class Adapter(Protocol):
    """A module of this package."""

    def recognises(self, source: Source) -> bool: ...

    def convert(self, source: Source, asked: Asked) -> Adopted:
        """Make a task of the folder. Raises AdoptError."""
        ...


def own_file(name: str, **constants: object) -> bytes:
    """Return the text of a file that adapters add, with constants (``PROGRAM = ...``) set to literals."""
    lines = (_FILES / name).read_text(encoding="utf-8").splitlines(keepends=True)
    made = [f"{key} = {constants[key]!r}\n" if (key := line.split(" = ")[0]) in constants else line for line in lines]
    return "".join(made).encode()


def text_of(source: Source, path: str) -> str:
    """Return the text of a file that candidates change, or that an adapter reads. Raises AdoptError."""
    try:
        return source.files[path].decode("utf-8")
    except UnicodeDecodeError:
        raise AdoptError(f"{source.path / path} is not UTF-8 text. Save it as UTF-8") from None


def instructions(*parts: str) -> bytes:
    """Return ``program.md`` from texts, without the empty ones."""
    return "\n\n".join(part.strip() for part in parts if part.strip()).encode() + b"\n"


def everything(files: Mapping[str, Sequence[str]]) -> list[str]:
    """Return the files of a workspace."""
    return [path for paths in files.values() for path in paths]


def workspace(source: Source, editable: Sequence[str], without: Sequence[str] = ()) -> dict[str, list[str]]:
    """Return the workspace: files that may change, and all others beside them but for ``without``.

    Raises AdoptError if a file that may change is no text.
    """
    for path in editable:
        text_of(source, path)
    left = {*editable, *without, *_WRITTEN}
    return {"editable": list(editable), "readonly": sorted(path for path in source.files if path not in left)}


def self_reported(files: Mapping[str, Sequence[str]], metric: Mapping[str, str], seconds: float) -> dict[str, Any]:
    """Return the settings of a task whose ``score.py`` trusts a number computed in the candidate's sandbox."""
    return {
        "metric": dict(metric),
        "workspace": dict(files),
        "scorer": "score.py",
        "trust": "self_reported",
        "seconds": seconds,
        "clock": "wall",
    }


def with_added(files: Mapping[str, Sequence[str]], added: Iterable[str]) -> dict[str, Sequence[str]]:
    """Return a workspace with further read-only files."""
    return {**files, "readonly": sorted({*files["readonly"], *added})}


def blocks_of(text: str) -> tuple[dict[str, bool], list[str]]:
    """Return the setting of a program with EVOLVE-BLOCK markers, or the note on one without."""
    if START in text:
        return {"evolve_blocks": True}, []
    return {}, ["the program has no EVOLVE-BLOCK markers: all of it may change"]


def chosen(source: Source, asked: Asked, usual: Sequence[str]) -> list[str]:
    """Return the files that may change: those that match ``--files``, else the usual ones. Raises AdoptError."""
    if not asked.files:
        return list(usual)
    if unmatched := [pattern for pattern in asked.files if not source.matching([pattern])]:
        raise AdoptError(f"--files {unmatched[0]} matches no file in {source.path}; it has {source.listed()}")
    return source.matching(asked.files)
