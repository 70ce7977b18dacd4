"""``python -m search adopt-self ID``: a branch of this repository with the champion of a task below ``self/``.

Nothing is adopted without a claim: the node has to be the champion of its run's last claim. The branch is made from
HEAD in a work tree of its own, so the files in use stay as they are; the fast tests run there, and a branch whose tests
fail is removed again. Merging it is left to a person.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from archive.errors import ArchiveError
from archive.export import git
from archive.records import Decision
from archive.storage.store import Archive
from prepare.config import SettingsError
from prepare.files import ROOT
from prepare.globs import matches
from prepare.known import TaskError
from prepare.load import task_from
from prepare.output import FAILED, Parser
from prepare.program import ProgramTask
from search.cli.ablate import AblationError, located
from search.cli.terminal import show, show_error, show_json

_ARCHIVE = "treewright.duckdb"
PROTECTED = ("archive", "prepare", "train", "search/claims", "search/run", "search/playing", "tests")
"""What judges: no adoption changes a file of these folders."""
FAST = ("-m", "pytest", "-q", "-p", "no:cacheprovider", "-m", "not slow and not nightly")


class AdoptionError(Exception):
    """The node is not adopted; the message gives the reason."""


@dataclass(frozen=True)
class Champion:
    """A node that a claim found better, with the files that it changes, by their paths in this repository."""

    node_id: str
    run: str
    claim: Decision
    files: Mapping[str, str]


def adopt_self(arguments: Sequence[str]) -> int:
    """Run the command. Returns the exit status: 0 adopted, 1 not. Raises SettingsError."""
    options = _parser().parse_args(arguments)
    if strange := [word for word in options.overrides if not word.startswith("archive=")]:
        raise SettingsError(f"{strange[0]}: only archive= can be set here")
    named = [word.partition("=")[2] for word in options.overrides]
    path = Path(named[-1] if named else _ARCHIVE).expanduser()
    try:
        if not path.exists():
            raise AdoptionError(f"there is no archive {path}; name it with archive=FILE")
        with Archive.open(path) as archive:
            found = champion(archive, options.node)
        told = adopted(found, ROOT, [sys.executable, *FAST, *options.tests])
    except (AblationError, AdoptionError, ArchiveError, TaskError, git.GitError) as error:
        show_error(error)
        return FAILED
    if options.json:
        show_json(facts(found))
    else:
        show(told)
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = Parser(
        prog="python -m search adopt-self",
        usage="python -m search adopt-self ID [archive=FILE] [--tests WORDS ...] [--json]",
        description="Make a branch of this repository with the champion of a task below self/, and test it.",
    )
    parser.add_argument("node", metavar="ID", help="a prefix of the champion's id")
    parser.add_argument("overrides", metavar="archive=FILE", nargs="*", help="the archive (treewright.duckdb)")
    parser.add_argument("--tests", nargs="+", default=[], metavar="FILE", help="test files to run (all fast tests)")
    parser.add_argument("--json", action="store_true", help="print an object")
    return parser


def champion(archive: Archive, start: str) -> Champion:
    """Return the node whose id starts with ``start``, if it is the champion of its run's last claim.

    Raises AdoptionError if it is none, if its task does not improve this project, or if it changes what judges.
    """
    run, node_id, tree = located(archive, start)
    claim = archive.last_verdict(run.run)
    if claim is None or claim.kind != "champion" or claim.node_id != node_id:
        said = "no claim was made" if claim is None else f"its last claim says: {claim.reason}"
        raise AdoptionError(
            f"{node_id[:8]} is no champion of run {run.run!r}: {said}. Nothing is adopted without a claim"
        )
    if tree.suspect(node_id):
        raise AdoptionError(f"{node_id[:8]} is suspect ({tree.suspicion(node_id)}). It stays in quarantine")
    task = task_from(run.config["task"])  # type: ignore[arg-type]
    if not isinstance(task, ProgramTask) or not task.workspace.folder:
        raise AdoptionError(f"task {task.name!r} improves no module of this project; expected one below self/")
    files = tree[node_id].candidate.files
    changed = {path: text for path, text in files.items() if task.seed_files().get(path) != text}
    place = PurePosixPath(task.files_root.relative_to(ROOT).as_posix())
    refuse_protected({str(place / path): path for path in changed}, task.editable)
    return Champion(node_id, run.run, claim, {str(place / path): text for path, text in changed.items()})


def facts(found: Champion) -> dict[str, object]:
    """Return what was adopted as plain JSON values."""
    return {
        "branch": branch_of(found),
        "node_id": found.node_id,
        "run": found.run,
        "claim": found.claim.reason,
        "files": sorted(found.files),
    }


def branch_of(found: Champion) -> str:
    return f"adopt/{found.node_id[:8]}"


def refuse_protected(files: Mapping[str, str], editable: Sequence[str]) -> None:
    """Raise AdoptionError for a file that may not change. ``files``: its path here -> its path in the workspace."""
    for path, inside in files.items():
        parts = PurePosixPath(path).parts
        judges = any(parts[: len(kept)] == kept for kept in (PurePosixPath(name).parts for name in PROTECTED))
        if judges or ".." in parts or not matches(inside, editable):
            raise AdoptionError(
                f"the node changes {path}, which is not among the files that may change ({', '.join(editable)}). "
                "It stays in quarantine"
            )


def adopted(found: Champion, repository: Path, tests: Sequence[str]) -> str:
    """Make the branch, run the tests on it, and return what to tell. Raises AdoptionError if they fail, GitError."""
    if not found.files:
        raise AdoptionError(f"{found.node_id[:8]} equals the present files; there is nothing to adopt")
    branch = branch_of(found)
    with tempfile.TemporaryDirectory(prefix="treewright-adopt-") as made:
        tree = Path(made) / "tree"
        _git(repository, "worktree", "add", "--quiet", "-b", branch, str(tree), "HEAD")
        kept = False
        try:
            _commit(found, tree)
            _require_tests(tests, tree, branch)
            kept = True
        finally:
            _git(repository, "worktree", "remove", "--force", str(tree))
            if not kept:
                _git(repository, "branch", "--quiet", "-D", branch)
    changed = ", ".join(sorted(found.files))
    return (
        f"Branch {branch} has the champion {found.node_id[:8]} of run {found.run!r}: {changed}.\n"
        f"The claim said: {found.claim.reason}\nThe fast tests pass on it. To take it over: git merge {branch}"
    )


def _commit(found: Champion, tree: Path) -> None:
    for path, text in found.files.items():
        (tree / path).write_text(text, encoding="utf-8")
    _git(tree, "add", "--", *found.files)
    name, _, mail = git.AUTHOR.partition(" <")
    message = f"Adopt {found.node_id[:8]} of run {found.run}\n\n{found.claim.reason}\n"
    settings = ("-c", f"user.name={name}", "-c", f"user.email={mail.rstrip('>')}")
    _git(tree, *settings, "commit", "--quiet", "--no-verify", "-m", message)


def _require_tests(tests: Sequence[str], tree: Path, branch: str) -> None:
    done = subprocess.run(tests, cwd=tree, capture_output=True, text=True, errors="replace", check=False)
    if done.returncode != 0:
        raise AdoptionError(
            f"the tests fail with the champion's files, so {branch} is removed again. Their last lines:\n"
            + "\n".join((done.stdout + done.stderr).splitlines()[-15:])
        )


def _git(folder: Path, *arguments: str) -> None:
    """Run git. Raises GitError."""
    done = git.run(folder, *arguments)
    if done.returncode != 0:
        raise git.GitError(f"git {arguments[0]} failed in {folder}: {done.stderr.strip()}")
