"""A program that lies somewhere, to be scored again: a file, an exported folder, or a commit of an exported branch.

An export carries its task (``task.json``) and, in the commit's trailers, the score that was recorded, so that what is
read can be held against it. Everything read from a repository is untrusted; git is asked without hooks or settings.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from archive.export import git

_MOST_BYTES = 2_000_000
"""Of a file that is read from a repository; the gates allow far less."""
_OURS = ("task.json", "README.md", "prepare/")
"""What an export writes beside the candidate's own files."""


class ProgramError(Exception):
    """The program cannot be read; the message says what was expected, what came, and what to do."""


@dataclass(frozen=True)
class Recorded:
    """The score that a commit's trailers tell."""

    node_id: str
    score: float
    runs: int
    """Screenings whose mean ``score`` is."""


@dataclass(frozen=True)
class Program:
    """Files to score, as ``path -> text``, and what came with them."""

    name: str
    files: Mapping[str, str]
    task: Mapping[str, Any] | None
    """The task of an export; None for a file that lies alone."""
    recorded: Recorded | None


def read_program(path: Path, revision: str | None = None) -> Program:
    """A file, the folder of an export, or with ``revision`` a commit of the repository at ``path``.

    Raises ProgramError.
    """
    if revision is not None:
        return _from_commit(path, revision)
    if path.is_dir():
        return _from_folder(path)
    if not path.is_file():
        raise ProgramError(f"there is no file {path}; expected a train.py, or the folder or repository of an export")
    if (path.parent / "task.json").is_file() and path.name == "train.py":
        return _from_folder(path.parent)
    return Program(str(path), {"train.py": _decoded(path.read_bytes(), str(path))}, None, None)


def _from_folder(folder: Path) -> Program:
    if not (folder / "train.py").is_file():
        inside = [each.parent for each in sorted(folder.glob("*/task.json")) if (each.parent / "train.py").is_file()]
        if len(inside) != 1:
            count = f"{len(inside)} folders with one" if inside else "none"
            raise ProgramError(
                f"{folder} holds no train.py, and of the folders in it {count} beside a task.json. Name the folder."
            )
        folder = inside[0]
    if not (folder / "task.json").is_file():
        return Program(str(folder), {"train.py": _decoded((folder / "train.py").read_bytes(), "train.py")}, None, None)
    task = _task(_decoded((folder / "task.json").read_bytes(), "task.json"))
    names = _editable(task)
    for name in names:
        if not (folder / name).resolve().is_relative_to(folder.resolve()):
            raise ProgramError(f"{folder / name} lies outside of {folder}; an export has no such links")
    files = {name: _decoded((folder / name).read_bytes(), name) for name in names if (folder / name).is_file()}
    return Program(str(folder), files, task, _recorded_beside(folder, files))


def _from_commit(repository: Path, revision: str) -> Program:
    if not repository.is_dir():
        raise ProgramError(f"{repository} is no folder; --commit expects a git repository before it")
    if revision.startswith("-"):
        raise ProgramError(f"{revision!r} is no commit; give the name of a branch, or a commit id")
    commit = _git(repository, "rev-parse", "--verify", "--quiet", f"{revision}^{{commit}}").strip()
    names = _git(repository, "ls-tree", "-r", "--full-tree", "--name-only", "-z", commit).split("\0")
    folders = sorted(
        {name.rpartition("/")[0] for name in names if name.count("/") == 1 and name.endswith("/task.json")}
    )
    if len(folders) != 1:
        raise ProgramError(
            f"commit {revision!r} is no export: expected one folder with a task.json in it, found {len(folders)}"
        )
    task = _task(_blob(repository, commit, f"{folders[0]}/task.json"))
    wanted = [name for name in _editable(task) if f"{folders[0]}/{name}" in names]
    files = {name: _blob(repository, commit, f"{folders[0]}/{name}") for name in wanted}
    return Program(f"{revision} ({commit[:12]})", files, task, _trailers(repository, commit))


def _recorded_beside(folder: Path, files: Mapping[str, str]) -> Recorded | None:
    """What the commit that is checked out says, if the files are still the ones that it holds."""
    top = git.run(folder, "rev-parse", "--show-toplevel")
    if top.returncode != 0:
        return None
    prefix = _git(folder, "rev-parse", "--show-prefix").strip()
    for name, text in files.items():
        held = git.run(folder, "show", f"HEAD:{prefix}{name}")
        if held.returncode != 0 or held.stdout != text:
            return None
    return _trailers(folder, "HEAD")


def _trailers(repository: Path, commit: str) -> Recorded | None:
    """The score of the last paragraph of a commit's message; None where it tells none that could be one."""
    found = git.run(repository, "log", "-1", "--format=%(trailers:only,unfold)", commit, "--").stdout
    pairs = dict(line.split(": ", 1) for line in found.splitlines() if ": " in line)
    try:
        score = float(pairs["Treewright-Score"])
    except (KeyError, ValueError):
        return None
    runs = len([part for part in pairs.get("Treewright-Seeds", "").split(",") if part.strip()])
    return Recorded(pairs.get("Treewright-Node", "")[:32], score, max(1, runs))


def _blob(repository: Path, commit: str, name: str) -> str:
    size = _git(repository, "cat-file", "-s", f"{commit}:{name}").strip()
    if not size.isdigit() or int(size) > _MOST_BYTES:
        raise ProgramError(f"{name} of commit {commit[:12]} has {size} bytes; at most {_MOST_BYTES:,} are read")
    return _git(repository, "cat-file", "blob", f"{commit}:{name}")


def _git(repository: Path, *arguments: str) -> str:
    try:
        done = git.run(repository, *arguments)
    except git.GitError as error:
        raise ProgramError(str(error)) from error
    if done.returncode != 0:
        said = done.stderr.strip() or f"git {arguments[0]} found nothing for {arguments[-1]!r}"
        raise ProgramError(f"{repository}: {said}")
    return done.stdout


def _task(text: str) -> Mapping[str, Any]:
    try:
        task = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ProgramError(f"task.json cannot be read: {error}. Export the node again.") from None
    if not isinstance(task, dict):
        raise ProgramError(f"task.json holds a {type(task).__name__}; expected an object. Export the node again.")
    return task


def _editable(task: Mapping[str, Any]) -> list[str]:
    names = task.get("editable") or ["train.py"]
    plain = isinstance(names, list) and all(
        isinstance(name, str) and not name.startswith(("/", *_OURS)) and ".." not in name.split("/") for name in names
    )
    if not plain:
        raise ProgramError(f"task.json names the files {names!r}; expected relative paths below its folder")
    return [str(name) for name in names]


def _decoded(data: bytes, name: str) -> str:
    if len(data) > _MOST_BYTES:
        raise ProgramError(f"{name} has {len(data):,} bytes; at most {_MOST_BYTES:,} are read")
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise ProgramError(f"{name} is not UTF-8 text: {error}") from None
