"""Read a program to score again: a file, an exported folder, or a commit of an exported branch.

An export has its task in ``task.json`` and the recorded score in the commit's trailers, to compare new scores with.
Everything read from a repository is untrusted; git runs without hooks or user settings.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from archive.export import git
from prepare.globs import is_pattern, matches
from prepare.source import SourceError, decode

_MOST_BYTES = 2_000_000
"""The largest file that is read; the evaluator's static checks allow far less."""
_MOST_FILES = 10_000
_OURS = ("task.json", "README.md", "prepare/")
"""Paths that an export adds to the candidate's own files."""


class ProgramError(Exception):
    """The program cannot be read; the message says what was expected, what was found, and what to do."""


@dataclass(frozen=True)
class Recorded:
    """The score in a commit's trailers."""

    node_id: str
    score: float
    runs: int
    """Number of screening evaluations; ``score`` is their mean."""


@dataclass(frozen=True)
class Program:
    """Files to score, as ``path -> text``, with their task and recorded score if known."""

    name: str
    files: Mapping[str, str]
    task: Mapping[str, Any] | None
    """The task of an export; None for a file that is not part of one."""
    recorded: Recorded | None


def read_program(path: Path, revision: str | None = None) -> Program:
    """Read a file, the folder of an export, or with ``revision`` a commit of the repository at ``path``.

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


def read_candidate(path: Path, revision: str | None, editable: Sequence[str]) -> Program:
    """Read the files of a task's candidate: those that match its patterns ``workspace.editable``.

    ``path``: a folder with them, or the folder or, with ``revision``, the repository of an export; of a task with one
    file also the file itself. Raises ProgramError.
    """
    if revision is not None:
        commit = _commit(path, revision)
        held = _names(path, commit)
        inside = _holding(held, editable, f"commit {revision!r}")
        files = {name: _blob(path, commit, f"{inside}{name}") for name in _matching(held, inside, editable)}
        return Program(f"{revision} ({commit[:12]})", files, None, _trailers(path, commit))
    if path.is_file() and len(editable) == 1 and not is_pattern(editable[0]):
        return Program(str(path), {editable[0]: _decoded(path.read_bytes(), str(path))}, None, None)
    if not path.is_dir():
        raise ProgramError(f"expected a folder with {', '.join(editable)}; {path} is none")
    held = _listed(path)
    folder = path / _holding(held, editable, str(path))
    files = {name: _text_in(folder, name) for name in _matching(_listed(folder), "", editable)}
    return Program(str(folder), files, None, _recorded_beside(folder, files))


def _listed(folder: Path) -> list[str]:
    """Return the paths of the files below a folder, without hidden ones."""
    found: list[str] = []
    for top, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith(".")]
        found += [(Path(top) / name).relative_to(folder).as_posix() for name in names]
        if len(found) > _MOST_FILES:
            raise ProgramError(f"{folder} holds more than {_MOST_FILES:,} files; give the folder of the program")
    return sorted(found)


def _matching(names: Sequence[str], inside: str, editable: Sequence[str]) -> list[str]:
    below = [name.removeprefix(inside) for name in names if name.startswith(inside)]
    return [name for name in below if matches(name, editable)]


def _holding(names: Sequence[str], editable: Sequence[str], where: str) -> str:
    """Return the folder that holds files of the task: the top (``""``), or the only such subfolder (``"packing/"``)."""
    if _matching(names, "", editable):
        return ""
    folders = sorted({name.partition("/")[0] + "/" for name in names if "/" in name})
    found = [folder for folder in folders if _matching(names, folder, editable)]
    if len(found) != 1:
        raise ProgramError(
            f"{where} holds no file that matches {', '.join(editable)} (workspace.editable of the task), and "
            f"{len(found)} of its subfolders do. Give the folder of the program."
        )
    return found[0]


def _text_in(folder: Path, name: str) -> str:
    path = folder / name
    if not path.resolve().is_relative_to(folder.resolve()):
        raise ProgramError(f"{path} links to a file outside of {folder}; an export has no such links")
    return _decoded(path.read_bytes(), name)


def _from_folder(folder: Path) -> Program:
    if not (folder / "train.py").is_file():
        inside = [each.parent for each in sorted(folder.glob("*/task.json")) if (each.parent / "train.py").is_file()]
        if len(inside) != 1:
            raise ProgramError(
                f"{folder} holds no train.py, and {len(inside)} of its subfolders have a train.py and a task.json. "
                "Give the path of the folder with train.py, or the task of another program: task=NAME, task=./FOLDER."
            )
        folder = inside[0]
    if not (folder / "task.json").is_file():
        return Program(str(folder), {"train.py": _decoded((folder / "train.py").read_bytes(), "train.py")}, None, None)
    task = _task(_decoded((folder / "task.json").read_bytes(), "task.json"))
    names = _editable(task)
    files = {name: _text_in(folder, name) for name in names if (folder / name).is_file()}
    return Program(str(folder), files, task, _recorded_beside(folder, files))


def _commit(repository: Path, revision: str) -> str:
    """Return the id of a commit."""
    if not repository.is_dir():
        raise ProgramError(f"{repository} is not a folder; expected a git repository, since --commit is given")
    if revision.startswith("-"):
        raise ProgramError(f"{revision!r} is not a commit; give the name of a branch, or a commit id")
    return _git(repository, "rev-parse", "--verify", "--quiet", f"{revision}^{{commit}}").strip()


def _names(repository: Path, commit: str) -> list[str]:
    return _git(repository, "ls-tree", "-r", "--full-tree", "--name-only", "-z", commit).split("\0")


def _from_commit(repository: Path, revision: str) -> Program:
    commit = _commit(repository, revision)
    names = _names(repository, commit)
    folders = sorted(
        {name.rpartition("/")[0] for name in names if name.count("/") == 1 and name.endswith("/task.json")}
    )
    if len(folders) != 1:
        raise ProgramError(
            f"commit {revision!r} is not an export: expected one folder with a task.json in it, found {len(folders)}"
        )
    task = _task(_blob(repository, commit, f"{folders[0]}/task.json"))
    wanted = [name for name in _editable(task) if f"{folders[0]}/{name}" in names]
    files = {name: _blob(repository, commit, f"{folders[0]}/{name}") for name in wanted}
    return Program(f"{revision} ({commit[:12]})", files, task, _trailers(repository, commit))


def _recorded_beside(folder: Path, files: Mapping[str, str]) -> Recorded | None:
    """Return the recorded score of the checked-out commit, or None if the files differ from that commit's."""
    top = git.run(folder, "rev-parse", "--show-toplevel")
    if top.returncode != 0:
        return None
    prefix = _git(folder, "rev-parse", "--show-prefix").strip()
    for name, text in files.items():
        held = git.blob(folder, f"HEAD:{prefix}{name}")
        if held is None or len(held) > _MOST_BYTES or _decoded(held, name) != text:
            return None
    return _trailers(folder, "HEAD")


def _trailers(repository: Path, commit: str) -> Recorded | None:
    """Return the score in the trailers of a commit's message, or None if there is no valid one."""
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
    data = git.blob(repository, f"{commit}:{name}")
    if data is None:
        raise ProgramError(f"{repository}: commit {commit[:12]} has no file {name}")
    return _decoded(data, f"{name} of commit {commit[:12]}")


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
        return decode(data)
    except SourceError as error:
        raise ProgramError(f"{name} {error}") from None
