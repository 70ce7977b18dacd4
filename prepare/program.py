"""Tasks of any program: a folder with the files that may change, and a scorer that judges what they produce.

    packing/
      task.yaml     the settings below
      program.md    goal, constraints, what is known, in the user's words
      pack.py       the seed: files of any language that may change
      score.py      trusted; talks to the candidate through a handle (see ``prepare.scorer``)

``task=./packing`` reads the folder; ``python -m search new`` makes one.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import MISSING, asdict, dataclass, field, fields, is_dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar, Literal, get_type_hints

from prepare.best_known import BestKnown
from prepare.blocks import END, START, BlockError, block_spans
from prepare.clock import Clock
from prepare.files import ROOT, read_instructions, read_source
from prepare.globs import matches
from prepare.known import TaskError
from prepare.model_limits import LlmService
from prepare.task import Metric, PromptInfo, require_limits, require_seconds

SETTINGS = "task.yaml"
"""Name of the file that makes a folder a task."""
CHEATS = "cheats"
"""Folder of programs that ``search attack`` tries; no candidate sees them."""


@dataclass(frozen=True)
class Workspace:
    """The files of a candidate, as patterns relative to the task's folder (``src/**/*.c``), or to ``folder``."""

    editable: Sequence[str]
    """Files that candidates may change, delete or add; the first pattern's first file is the main file."""
    readonly: Sequence[str] = ()
    """Files that lie beside them in the sandbox and are not part of a candidate."""
    folder: str = ""
    """Where all of these are, relative to the task's folder; empty: there. Elsewhere it has to be inside of this
    project, whose own modules such a task improves."""

    def __post_init__(self) -> None:
        for name in ("editable", "readonly"):
            patterns = getattr(self, name)
            if isinstance(patterns, str) or not all(isinstance(each, str) and each for each in patterns):
                raise ValueError(f"task.workspace.{name} is {patterns!r}; expected a list of file names or patterns")
            object.__setattr__(self, name, tuple(patterns))
            for pattern in patterns:
                if pattern.startswith(("/", "~")) or ".." in pattern.split("/"):
                    raise ValueError(
                        f"task.workspace.{name} has {pattern!r}, which reaches outside of the task's folder; expected "
                        "a path below it"
                    )
        if not self.editable:
            raise ValueError("task.workspace.editable is empty; expected the files that may change, such as [pack.py]")


@dataclass(frozen=True)
class Constraint:
    """A bound on a metric that the scorer returns. A candidate that breaks it has no score (``infeasible``)."""

    metric: str
    at_most: float | None = None
    at_least: float | None = None

    def __post_init__(self) -> None:
        if self.at_most is None and self.at_least is None:
            raise ValueError(f"the constraint on {self.metric!r} has no bound; expected at_most or at_least")

    def broken_by(self, metrics: Mapping[str, float]) -> str | None:
        """Return how the metrics break this constraint, or None. A metric that is missing breaks it."""
        value = metrics.get(self.metric)
        if value is None:
            return f"the scorer returned no metric {self.metric!r}, which a constraint bounds"
        if self.at_most is not None and not value <= self.at_most:
            return f"{self.metric} is {value:.6g}; at most {self.at_most:g} is allowed"
        if self.at_least is not None and not value >= self.at_least:
            return f"{self.metric} is {value:.6g}; at least {self.at_least:g} is required"
        return None


@dataclass(frozen=True)
class ProgramLimits:
    """Limits of a candidate and of the scorer, enforced from outside."""

    memory_mb: int = 1024
    """Memory of all processes of a candidate together, scratch files included."""
    scratch_mb: int = 256
    """Files that a candidate writes."""
    processes: int = 64
    output_mb: float = 8.0
    """A returned value, what a command prints, and a file that the scorer reads."""
    log_kb: int = 64
    source_kb: int = 256
    startup_seconds: float = 20.0
    """Of a sandbox before the first call: imports count there, not in ``seconds``."""
    build_seconds: float = 60.0
    scorer_memory_mb: int = 4096
    scorer_seconds: float = 120.0
    """Of the scorer's own work in one evaluation; longer is an error of the task."""

    def __post_init__(self) -> None:
        require_limits(self, {"memory_mb": 32, "scorer_memory_mb": 32, "output_mb": 0.001})


@dataclass(frozen=True)
class CaseCounts:
    """How many cases of a split are used. ``select`` and ``holdout`` are always used whole."""

    val: int

    def __post_init__(self) -> None:
        if self.val < 1:
            raise ValueError(f"task.cases.val is {self.val}; expected a number of cases, from 1")


@dataclass(frozen=True)
class PromptText:
    """What a prompt says of a task beyond ``program.md``; see ``prepare.task.PromptInfo``."""

    contract: str = ""
    """How the program is called and what it must produce; empty: ``program.md`` says it."""
    example: str = ""
    """A complete program that shows the interface, for drafts from nothing; empty: the seed is shown."""
    change_kinds: str = ""
    """A Markdown file in the folder with the kinds of change to ask for, one heading each; empty: the usual ones."""


@dataclass(frozen=True)
class ProgramTask:
    """A task whose candidates are programs of any kind, judged by a scorer or by a command's output."""

    name: str
    folder: str
    """Absolute path of the task's folder."""
    metric: Metric
    workspace: Workspace
    seconds: float
    """Of the candidate, over all cases of one evaluation, by ``clock``."""
    scorer: str | None = None
    """The file with ``score(candidate, case)``, relative to the folder."""
    command: str | None = None
    """Instead of a scorer: a command in the candidate's sandbox that prints the metric as ``METRIC name=value``."""
    checks: str | None = None
    """With ``command``: a second command whose exit status must be 0."""
    build: str | None = None
    """A command that builds the candidate, run in a sandbox; its result is cached by the files it reads."""
    trust: Literal["verified", "self_reported"] = "verified"
    """``self_reported``: the scorer believes a number that the candidate's own process computed."""
    constraints: Sequence[Constraint] = ()
    limits: ProgramLimits = field(default_factory=ProgramLimits)
    cases: CaseCounts | None = None
    """How many cases of ``val`` are used: the same ones for all candidates, by a seed that the fingerprint gives.
    None: all."""
    smallest_gain: float | None = None
    deterministic: bool = False
    """Whether a score is the same with every seed: then nothing is repeated, and a claim is verified exactly."""
    evolve_blocks: bool = False
    """Only text between lines with EVOLVE-BLOCK-START and EVOLVE-BLOCK-END may change."""
    parameters: Mapping[str, str] = field(default_factory=dict)
    """Numbers in YAML or JSON files for the numeric search: ``config.json:model.rate`` -> ``0.1..1 log``."""
    program: str = "program.md"
    hidden: Sequence[str] = ("data/**",)
    """Files that the scorer reads; part of the fingerprint."""
    clock: Clock | None = None
    """``cpu``: CPU seconds of all of the candidate's processes; ``wall``: wall seconds. None: ``cpu``."""
    prompt: PromptText = field(default_factory=PromptText)
    known: BestKnown | None = None
    """The best value that others have published."""
    llm: LlmService | None = None
    """The language model that candidates may ask through the scorer (``candidate.llm``); None: none."""
    constants: Mapping[str, float] = field(default_factory=dict)
    audit_unseen: ClassVar[None] = None

    def __post_init__(self) -> None:
        require_seconds(self.seconds)
        if (self.scorer is None) == (self.command is None):
            raise ValueError("task has to name one of scorer (such as score.py) and command; it names both or neither")
        if self.smallest_gain is not None and not self.smallest_gain > 0:
            raise ValueError(f"task.smallest_gain is {self.smallest_gain}; expected a positive number, or null")
        object.__setattr__(self, "constraints", tuple(map(_constraint, self.constraints)))
        object.__setattr__(self, "hidden", tuple(self.hidden))
        if self.command is not None and self.llm is not None:
            raise ValueError("task.llm is set, and a command has no model to ask; expected a scorer: score.py")
        if self.command is not None and self.cases is not None:
            raise ValueError("task.cases is set, and a task with a command has one case; remove task.cases")
        if self.command is not None:
            object.__setattr__(self, "trust", "self_reported")

    @property
    def root(self) -> Path:
        return Path(self.folder)

    @property
    def files_root(self) -> Path:
        """The folder of the candidate's files. Raises TaskError for one outside of the task and of this project."""
        place = (self.root / self.workspace.folder).resolve()
        if self.workspace.folder and not (place.is_relative_to(ROOT) and place.is_dir()):
            raise TaskError(
                f"task.workspace.folder is {self.workspace.folder!r}, which leads to {place}; expected one in {ROOT}"
            )
        return place if self.workspace.folder else self.root

    @property
    def editable(self) -> tuple[str, ...]:
        """Patterns of the files that candidates may change."""
        return tuple(self.workspace.editable)

    @property
    def data(self) -> str:
        return self.name

    def seed_files(self) -> dict[str, str]:
        """Return the files that match ``workspace.editable``. Raises TaskError."""
        found = dict.fromkeys(path for pattern in self.editable for path in self._matching(pattern, "editable"))
        return {path: read_source(self.files_root / path) for path in found}

    def readonly_files(self) -> dict[str, bytes]:
        """Return the files that match ``workspace.readonly`` and are not editable. Raises TaskError."""
        found = dict.fromkeys(
            path for pattern in self.workspace.readonly for path in self._matching(pattern, "readonly")
        )
        return {path: (self.files_root / path).read_bytes() for path in found if not matches(path, self.editable)}

    def secret_paths(self) -> list[Path]:
        """Return the files that no candidate may read: the scorer, Python files beside it, and hidden data."""
        beside = (*self.editable, *self.workspace.readonly)
        return [self.root / path for path in self._judging_files() if not matches(path, beside)]

    def instructions(self) -> str:
        """Return the text of ``program.md``; empty if the folder has none. Raises TaskError."""
        path = self.root / self.program
        return read_instructions(path) if path.is_file() else ""

    def facts(self) -> tuple[str, ...]:
        """Return the lines of a prompt about budget and limits."""
        limits, counted = self.limits, "CPU time" if self.clock_on("cpu") == "cpu" else "wall time"
        facts = [
            f"time: {self.seconds:g} s of {counted} for one evaluation, over all of its cases",
            f"memory: {limits.memory_mb} MB; files written: {limits.scratch_mb} MB; source: {limits.source_kb} KB",
        ]
        facts += [f"required: {_bound(each)}" for each in self.constraints]
        facts += [] if self.llm is None else [self.llm.facts()]
        return (*facts, *([f"built by `{self.build}`"] if self.build else []))

    @cached_property
    def prompt_info(self) -> PromptInfo:
        """Texts of ``task.yaml``'s section ``prompt``; without a contract, one made from the settings.

        Read once: each prompt asks for it several times.
        """
        own = self.prompt
        fenced = own.example if not own.example or "```" in own.example else f"```\n{own.example.strip()}\n```"
        kinds = self._text_of(own.change_kinds, "prompt.change_kinds") if own.change_kinds else None
        return PromptInfo(own.contract.strip() or _contract(self), fenced or None, kinds)

    def is_prepared(self) -> bool:
        return True

    def prepare(self) -> Path:
        """Check that the folder has all files that the settings name. Raises TaskError."""
        files = self.seed_files()
        if self.evolve_blocks:
            _require_blocks(files)
        self.readonly_files()
        self.prompt_info  # noqa: B018 - reads the file that it names
        if self.scorer is not None and not (self.root / self.scorer).is_file():
            raise TaskError(f"task.scorer is {self.scorer!r}, which is not in {self.folder}")
        model = None if self.llm is None else self.llm.file
        if model is not None and not (self.root / model).is_file():
            raise TaskError(f"task.llm.scripted names {model!r}, which is not in {self.folder}")
        if self.scorer is not None and matches(self.scorer, (*self.editable, *self.workspace.readonly)):
            raise TaskError(f"task.workspace has the scorer {self.scorer!r}; expected files without it: it is hidden")
        return self.root

    def locations(self) -> tuple[Path, ...]:
        """Return the task's folder: the scorer and its data lie there."""
        return (self.root,)

    def fingerprint(self) -> str:
        """Return a digest of scorer, hidden and read-only files, commands, metric and limits. Raises TaskError."""
        digest = hashlib.sha256()
        for path, data in sorted(self._judging_files().items()):
            digest.update(f"{path}\0{hashlib.sha256(data).hexdigest()}\0".encode("utf-8", "surrogatepass"))
        settings = (self.command, self.checks, self.build, self.trust, [vars(each) for each in self.constraints])
        digest.update(json.dumps(settings, sort_keys=True).encode())
        digest.update(b"" if self.llm is None else json.dumps(asdict(self.llm), sort_keys=True).encode())
        return f"{self.name}/{self.metric.name}/{digest.hexdigest()[:16]}"

    def clock_on(self, device: str) -> Clock:
        return self.clock or "cpu"

    def _text_of(self, name: str, key: str) -> str:
        """Return the text of a file in the folder that a setting names. Raises TaskError."""
        path = self.root / name
        if not path.is_file() or not path.resolve().is_relative_to(self.root.resolve()):
            raise TaskError(f"task.{key} is {name!r}; expected a file in {self.folder}")
        return read_instructions(path)

    def _matching(self, pattern: str, where: str) -> list[str]:
        """Return the files of a pattern, relative to the folder. Raises TaskError for none, for links and others."""
        root = self.files_root
        found = [path for path in _files(root) if matches(path, [pattern])]
        if not found:
            raise TaskError(f"task.workspace.{where} names {pattern!r}, which matches no file in {root}")
        for path in found:
            if (root / path).is_symlink() or not (root / path).resolve().is_relative_to(root.resolve()):
                raise TaskError(f"{path} is a link, or lies outside of the task's folder; expected a plain file in it")
        return found

    def _judging_files(self) -> dict[str, bytes]:
        """Return the judging files: scorer, Python files beside it, hidden and read-only ones."""
        judging = [path for path in _files(self.root) if matches(path, ("*.py", self.scorer or "*.py", *self.hidden))]
        kept = {path: (self.root / path).read_bytes() for path in judging if not matches(path, self.editable)}
        return {**kept, **self.readonly_files()}


def _files(root: Path) -> list[str]:
    """Return all files below a task's folder, relative to it; hidden ones, caches and cheats are left out."""
    found = []
    for place, folders, files in os.walk(root):
        inside = Path(place).relative_to(root)
        left_out = {CHEATS} if inside == Path() else set()
        folders[:] = sorted(name for name in folders if not _is_ignored(name) and name not in left_out)
        found += [(inside / name).as_posix() for name in sorted(files) if not _is_ignored(name)]
    return found


def _require_blocks(files: Mapping[str, str]) -> None:
    """Raise TaskError unless there is a block that may change, and all markers are pairs."""
    found = 0
    for path, text in files.items():
        try:
            found += len(block_spans(text))
        except BlockError as error:
            raise TaskError(f"{path} {error}") from None
    if not found:
        raise TaskError(
            f"task.evolve_blocks is true, and none of {', '.join(files)} has a block; write a line with {START} above "
            f"and one with {END} below what may change"
        )


def _constraint(values: Any) -> Constraint:
    if isinstance(values, Constraint):
        return values
    if not isinstance(values, Mapping):
        raise ValueError(f"task.constraints has {values!r}; expected {{metric: NAME, at_most: NUMBER}}")
    try:
        return Constraint(**values)
    except TypeError:
        raise ValueError(f"task.constraints has {dict(values)!r}; expected metric, and at_most or at_least") from None


def _bound(constraint: Constraint) -> str:
    bounds = [("at most", constraint.at_most), ("at least", constraint.at_least)]
    return f"`{constraint.metric}` " + " and ".join(
        f"{words} {value:g}" for words, value in bounds if value is not None
    )


def _contract(task: ProgramTask) -> str:
    """Return how a program is judged, as far as the settings say it."""
    main = next(iter(task.seed_files()), task.editable[0])
    built = f" They are built with `{task.build}` first." if task.build else ""
    if task.command is not None:
        checked = f" After it, `{task.checks}` must end with exit status 0." if task.checks else ""
        judged = (
            f"Then `{task.command}` runs in that folder; it must end with exit status 0, and the score is the "
            f"`{task.metric.name}` that it prints.{checked}"
        )
    else:
        judged = (
            f"A scorer that you cannot see calls functions of `{main}` or runs commands there, and judges only what "
            "they return or write. Keep the names, arguments and kinds of results that the first program has, and what "
            "the instructions say of them."
        )
    return (
        f"The program's files are copied into a folder of a sandbox without network.{built} {judged} Nothing is kept "
        "from one evaluation to the next."
    )


def _is_ignored(name: str) -> bool:
    return name == "__pycache__" or name.startswith(".")


def folder_settings(folder: Path) -> dict[str, Any]:
    """Return the settings of a task's folder as plain values, with all defaults filled in. Raises TaskError."""
    import yaml  # type: ignore[import-untyped]

    path = folder / SETTINGS
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise TaskError(f"{path} cannot be read: {' '.join(str(error).split())}") from None
    if not isinstance(values, Mapping):
        raise TaskError(f"{path} holds {type(values).__name__}; expected lines of KEY: VALUE, see docs/tasks.md")
    return {**_filled(ProgramTask, values), "folder": str(folder.resolve())}


def _filled(kind: Any, values: Mapping[str, Any]) -> dict[str, Any]:
    """Return the values with the defaults of a dataclass, nested ones included. Unknown keys stay, to be refused."""
    made, hints = dict(_defaults(kind)), get_type_hints(kind)
    for key, value in values.items():
        nested = hints.get(key)
        made[str(key)] = _filled(nested, value) if is_dataclass(nested) and isinstance(value, Mapping) else value
    return made


def _defaults(kind: Any) -> Iterator[tuple[str, Any]]:
    """Yield the defaults of a dataclass as plain values; JSON has no infinite ones."""
    for part in fields(kind):
        if part.default in (math.inf, -math.inf):
            continue
        if part.default is not MISSING:
            yield part.name, list(part.default) if isinstance(part.default, tuple) else part.default
        elif part.default_factory is not MISSING:
            value = part.default_factory()
            yield part.name, dict(_defaults(type(value))) if is_dataclass(value) else value
