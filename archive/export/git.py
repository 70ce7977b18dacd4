"""Writing a history into a git repository as new branches; nothing else in it changes.

One ``git fast-import`` process writes all commits, without work tree, index, HEAD or hooks. The same commits give the
same ids everywhere: author, committer and dates are fixed, and no user setting that could change them is read. Paths
and messages must be checked before a ``Commit`` is built (``archive.export.export`` does).
"""

from __future__ import annotations

import contextlib
import os
import shlex
import subprocess
import tempfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO

AUTHOR = "Treewright <treewright@localhost>"

_KEPT_VARIABLES = ("GIT_EXEC_PATH", "GIT_CONFIG_GLOBAL", "GIT_CONFIG_SYSTEM", "GIT_CONFIG_NOSYSTEM")
"""Where git and its settings are. All other GIT_ variables (GIT_DIR, GIT_INDEX_FILE, ...) could redirect writes."""

_SETTINGS = (
    f"core.hooksPath={os.devnull}",  # no hooks (reference-transaction)
    "core.ignoreCase=false",  # else fast-import folds the case of paths, and ids differ between machines
)


class GitError(Exception):
    """Git failed; the message says what was expected, what was found, and what to do."""


@dataclass(frozen=True)
class Commit:
    """One commit. Later commits refer to it by ``key``."""

    key: str
    parents: tuple[str, ...]
    """Keys of earlier commits; the first one's tree is what ``writes`` and ``removes`` change."""
    message: str
    when: int
    """Unix seconds, of author and committer."""
    writes: Mapping[str, bytes]
    """Path -> content. Paths are relative, ASCII, without quotes, spaces at the ends or control characters."""
    removes: tuple[str, ...] = ()


def run(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run ``git -C folder ...`` with a clean environment. The caller checks the return code."""
    try:
        return subprocess.run(
            _command(folder, *arguments),
            env=_environment(),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            check=False,
        )
    except OSError as error:
        raise _no_git(error) from error


def blob(folder: Path, name: str) -> bytes | None:
    """Return the bytes of ``REVISION:PATH``; None if there is no such file."""
    try:
        done = subprocess.run(
            _command(folder, "cat-file", "blob", name),
            env=_environment(),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            check=False,
        )
    except OSError as error:
        raise _no_git(error) from error
    return done.stdout if done.returncode == 0 else None


def check_branch_name(name: str) -> None:
    """Raise GitError if ``name`` cannot be a branch."""
    valid = name.isprintable() and not name.startswith("-") and name != "HEAD"
    if not valid or run(Path(os.sep), "check-ref-format", f"refs/heads/{name}").returncode != 0:
        raise GitError(
            f"{name!r} is not a valid branch name; use letters, digits, '-' and '/', for example --branch best"
        )


def open_repository(folder: Path, branch: str) -> Path:
    """Return the top folder of the repository at ``folder``, which can receive the new ``branch``.

    A missing or empty folder becomes a repository. Raises GitError for a folder with other content and no repository, a
    repository that git refuses to open, and a branch that exists.
    """
    folder = folder.expanduser().absolute()
    try:
        created = not folder.exists() or (folder.is_dir() and not any(folder.iterdir()))
        if created:
            folder.mkdir(parents=True, exist_ok=True)
        elif not folder.is_dir():
            raise GitError(f"{folder} is a file; --repo expects a folder")
    except OSError as error:
        raise GitError(f"{folder} cannot be used as a repository: {error}") from error
    if created:
        _initialise(folder, branch)
    found = run(folder, "rev-parse", "--absolute-git-dir")
    if found.returncode != 0:
        raise _cannot_open(folder, found.stderr)
    _refuse_taken(folder, branch)
    top = run(folder, "rev-parse", "--show-toplevel")  # fails in a bare repository, which is fine
    return Path((top if top.returncode == 0 else found).stdout.removesuffix("\n"))


def fast_import(repository: Path, tips: Mapping[str, str], commits: Iterable[Commit]) -> dict[str, str]:
    """Write ``commits`` (parents first) and point each new branch of ``tips`` (branch -> key) at its commit.

    Returns branch -> id. All or nothing: branches appear only after the last commit, and if ``commits`` raises, not at
    all. Raises GitError with git's own words when it refuses.
    """
    with tempfile.TemporaryFile() as errors:
        try:
            process = subprocess.Popen(
                _command(repository, "fast-import", "--quiet", "--done", "--date-format=raw"),
                env=_environment(),
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                stderr=errors,
            )
        except OSError as error:
            raise _no_git(error) from error
        assert process.stdin is not None
        try:
            with contextlib.suppress(BrokenPipeError):  # git has failed; its reason is in `errors`
                _write_stream(process.stdin, tips, commits)
        except BaseException:
            process.kill()
            raise
        finally:
            _close(process)
        if process.returncode != 0:
            errors.seek(0)
            said = errors.read().decode("utf-8", "replace").strip() or f"exit status {process.returncode}"
            names = ", ".join(repr(branch) for branch in tips)
            raise GitError(f"git fast-import could not write branch {names} in {repository}: {said}")
    return {branch: run(repository, "rev-parse", "--verify", f"refs/heads/{branch}").stdout.strip() for branch in tips}


def format_patches(repository: Path, branch: str, folder: Path) -> list[Path]:
    """Write the commits of a merge-free branch as mail-style patches in ``folder``, for ``git am``. Raises GitError.

    No user setting is read: the same branch gives the same files everywhere.
    """
    command = ["format-patch", "--root", "--no-signature", "--no-renames", "--zero-commit", "--encode-email-headers"]
    done = subprocess.run(
        _command(repository, *command, "--output-directory", str(folder), f"refs/heads/{branch}", "--"),
        env={**_environment(), "GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_NOSYSTEM": "1"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        errors="replace",
        check=False,
    )
    if done.returncode != 0:
        raise GitError(f"git could not write patches to {folder}: {done.stderr.strip()}")
    return [Path(line) for line in done.stdout.splitlines()]


# ---------------------------------------------------------------- the pieces


def _command(folder: Path, *arguments: str) -> list[str]:
    settings = [part for setting in _SETTINGS for part in ("-c", setting)]
    return ["git", *settings, "-C", str(folder), *arguments]


def _environment() -> dict[str, str]:
    kept = {key: value for key, value in os.environ.items() if not key.startswith("GIT_") or key in _KEPT_VARIABLES}
    return {**kept, "LC_ALL": "C", "GIT_TERMINAL_PROMPT": "0"}


def _no_git(error: OSError) -> GitError:
    return GitError(f"git could not be started ({error}); an export needs it. Install it, for example: apt install git")


def _initialise(folder: Path, branch: str) -> None:
    # HEAD must not point at the new branch: it would have commits, but neither index nor files.
    head = "main" if branch != "main" else "empty"
    made = run(folder, "-c", f"init.defaultBranch={head}", "init", "--quiet", "--template=")
    if made.returncode != 0:
        raise GitError(f"git init failed in {folder}: {made.stderr.strip()}")


def _cannot_open(folder: Path, said: str) -> GitError:
    if "dubious ownership" in said:
        return GitError(
            f"{folder} belongs to another user, so git refuses to use it. Run the export as its owner, or, if you "
            f"trust it: git config --global --add safe.directory {shlex.quote(str(folder))}"
        )
    if "not a git repository" in said:
        return GitError(
            f"{folder} is not empty and is no git repository; run 'git init' in it first, or give --repo an empty or "
            "new folder"
        )
    return GitError(f"git cannot open a repository in {folder}: {said.strip()}")


def _refuse_taken(folder: Path, branch: str) -> None:
    ref = f"refs/heads/{branch}"
    if run(folder, "show-ref", "--verify", "--quiet", ref).returncode == 0:
        raise GitError(
            f"branch {branch!r} exists already in {folder} and is left as it is. Choose another name with --branch, or "
            f"remove it first: git -C {shlex.quote(str(folder))} branch -D {shlex.quote(branch)}"
        )
    if run(folder, "symbolic-ref", "--quiet", "HEAD").stdout.strip() == ref:
        raise GitError(
            f"branch {branch!r} is checked out in {folder} and has no commit yet; writing it would change what HEAD "
            "means there. Choose another name with --branch"
        )


def _write_stream(stream: IO[bytes], tips: Mapping[str, str], commits: Iterable[Commit]) -> None:
    """Write the stream of git-fast-import(1): commits on the first branch, then all branches are set."""
    marks: dict[str, int] = {}
    ref = f"refs/heads/{next(iter(tips))}"
    for commit in commits:
        mark = marks[commit.key] = len(marks) + 1
        if not commit.parents:
            stream.write(f"reset {ref}\n\n".encode())  # else it would follow the last commit written
        stamp = f"{AUTHOR} {max(0, commit.when)} +0000"
        stream.write(f"commit {ref}\nmark :{mark}\nauthor {stamp}\ncommitter {stamp}\n".encode())
        _write_data(stream, commit.message.encode())
        for place, parent in enumerate(commit.parents):
            stream.write(f"{'merge' if place else 'from'} :{marks[parent]}\n".encode())
        for path in commit.removes:
            stream.write(f"D {path}\n".encode())
        for path, content in commit.writes.items():
            stream.write(f"M 100644 inline {path}\n".encode())
            _write_data(stream, content)
        stream.write(b"\n")
    for branch, key in tips.items():
        stream.write(f"reset refs/heads/{branch}\nfrom :{marks[key]}\n\n".encode())
    stream.write(b"done\n")
    stream.flush()


def _write_data(stream: IO[bytes], content: bytes) -> None:
    stream.write(f"data {len(content)}\n".encode())
    stream.write(content)
    stream.write(b"\n")


def _close(process: subprocess.Popen[bytes]) -> None:
    assert process.stdin is not None
    with contextlib.suppress(BrokenPipeError):  # the buffer has no reader any more; the return code matters
        process.stdin.close()
    process.wait()
