"""The lineage of a node as a git branch: one commit per node, a crossover as a merge commit.

    python -m archive export [ID] --branch NAME [--repo DIR]
    python -m archive export --all --branch NAME [--repo DIR]    NAME/ID of every leaf that scored better than the root
    python -m archive export [ID] --patch DIR                    the same steps in a line, as patches for `git am`

The branch is a separate history whose root is the seed program. All files are in one folder named after the task, so
that nothing at the top of a checkout can shadow the installed packages:

    shakespeare/train.py      the node's files
    shakespeare/prepare/*.py  a copy of the ``prepare`` package, so that train.py runs alone
    shakespeare/task.json     the resolved task
    shakespeare/README.md     how to run it, what it scored, how it was made

Of a task that trains no language model there are the node's files and the README only.

Ideas, operators and paths come from models and candidates: they are untrusted, and cleaned or refused here.
"""

from __future__ import annotations

import json
import re
import shlex
import shutil
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from archive.errors import ArchiveError
from archive.export import git
from archive.export.git import Commit, GitError
from archive.export.text import Step, Subject, commit_message, readme
from archive.query.query import Reader
from archive.query.questions import full_id, which_run
from archive.query.tables import one_line
from prepare.command_line import command
from prepare.output import many

_SHORT = 8
"""Digits of a node's id in the name of a branch."""

_BATCH = 200
"""Nodes whose files are read at once: bounds memory, and stays below any reader's row cap."""

_OUR_NAMES = frozenset({"search", "operators", "train", "prepare", "archive", "conf", "tests"})
_OUR_FILES = frozenset({"prepare", "task.json", "readme.md"})
_PATH_PART = re.compile(r"[A-Za-z0-9_]([A-Za-z0-9_.-]{0,98}[A-Za-z0-9_-])?", re.ASCII)


class ExportError(ArchiveError):
    """The lineage cannot be exported; the message says what was expected, what was found, and what to do."""


@dataclass(frozen=True)
class Exported:
    """A written branch."""

    branch: str
    repo: Path
    commits: int
    tip: str
    """The id of the last commit: the exported node."""
    node_id: str
    note: str
    """What the person must know about the choice of the node; may be empty."""
    folder: str
    """The one folder of the branch, named after the task."""
    runs_alone: bool = True
    """Whether what a program of a language-model task imports is beside it."""


def export_lineage(reader: Reader, node_id: str | None, branch: str, repo: Path) -> Exported:
    """Write the lineage of ``node_id`` (an id or a unique start of one; None: the champion) as ``branch`` of ``repo``.

    Without a champion the leader is exported, and ``note`` says so. Work tree, index and HEAD of ``repo`` are not
    touched. Raises ExportError, with nothing written, for an unknown node, a branch that exists, a folder that is no
    repository, missing git, and candidates whose paths could leave their folder.
    """
    try:
        git.check_branch_name(branch)
        chosen, note = (full_id(reader, node_id), "") if node_id is not None else _best_node(reader)
        subject, steps = _read_lineage(reader, chosen)
        for step in steps:
            _check_paths(step)
        fixed = _fixed_files(subject)
        top = git.open_repository(repo, branch)
        tip = git.fast_import(top, {branch: chosen}, _commits(reader, subject, steps, fixed))[branch]
    except GitError as error:
        raise ExportError(str(error)) from error
    return Exported(branch, top, len(steps), tip, chosen, note or _doubt(steps[-1]), subject.folder, subject.runs_alone)


def export_leaves(reader: Reader, run: str | None, prefix: str, repo: Path) -> list[Exported]:
    """Write every leaf of a run (default: the newest) with a better mean than the root as the branch ``prefix/ID``.

    Shared steps are shared commits. The best leaf comes first. Raises ExportError, with nothing written.
    """
    run = which_run(reader, run)
    leaves = [str(row[0]) for row in _rows(reader, _LEAVES, (run,))]
    if not leaves:
        raise ExportError(
            f"run {run!r} has no leaf with a better screening score than its root (suspect ones do not count); export "
            f"a node of your choice: {command('archive')} export ID --branch NAME"
        )
    tips = {f"{prefix}/{leaf[:_SHORT]}": leaf for leaf in leaves}
    if len(tips) < len(leaves):
        tips = {f"{prefix}/{leaf}": leaf for leaf in leaves}
    try:
        for branch in tips:
            git.check_branch_name(branch)
        subject, steps = _read_lineage(reader, *leaves)
        for step in steps:
            _check_paths(step)
        fixed = _fixed_files(subject)
        top = repo
        for branch in tips:
            top = git.open_repository(repo, branch)
        ids = git.fast_import(top, tips, _commits(reader, subject, steps, fixed))
    except GitError as error:
        raise ExportError(str(error)) from error
    by_id = {step.node_id: step for step in steps}
    return [
        Exported(
            branch,
            top,
            len(_family(by_id, leaf)),
            ids[branch],
            leaf,
            _doubt(by_id[leaf]),
            subject.folder,
            subject.runs_alone,
        )
        for branch, leaf in tips.items()
    ]


def export_patches(reader: Reader, node_id: str | None, folder: Path) -> tuple[list[Path], str]:
    """Write the steps from the root to a node (None: the champion) as numbered patches in ``folder``. Return a note.

    Patches cannot merge: a crossover is one step from its first parent, with all that it took from the second.
    Raises ExportError; ``folder`` must be new or empty.
    """
    folder = folder.expanduser().absolute()
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise ExportError(f"{folder} is not empty; --patch expects a new or an empty folder")
    try:
        chosen, note = (full_id(reader, node_id), "") if node_id is not None else _best_node(reader)
        subject, steps = _read_lineage(reader, chosen)
        line = _first_parents(steps)
        for step in line:
            _check_paths(step)
        with tempfile.TemporaryDirectory(prefix="treewright-patches-") as scratch:
            top = git.open_repository(Path(scratch) / "repository", "line")
            git.fast_import(top, {"line": chosen}, _commits(reader, subject, line, _fixed_files(subject)))
            folder.mkdir(parents=True, exist_ok=True)
            patches = git.format_patches(top, "line", folder)
    except GitError as error:
        raise ExportError(str(error)) from error
    except OSError as error:
        raise ExportError(f"{folder} cannot be written: {error}") from error
    return patches, note or _doubt(line[-1])


def _first_parents(steps: Sequence[Step]) -> list[Step]:
    """Return the chain of first parents that ends in the last step, other parents left out."""
    by_id = {step.node_id: step for step in steps}
    line = [steps[-1]]
    while line[-1].parents:
        line.append(by_id[line[-1].parents[0]])
    return [replace(step, parents=step.parents[:1]) for step in reversed(line)]


def _family(by_id: Mapping[str, Step], node_id: str) -> set[str]:
    """Return the node and its ancestors."""
    found, waiting = set[str](), [node_id]
    while waiting:
        if (each := waiting.pop()) not in found:
            found.add(each)
            waiting += by_id[each].parents
    return found


def what_to_type(exported: Exported) -> str:
    """Return the result and the next commands, for the terminal."""
    repo, branch = shlex.quote(str(exported.repo)), shlex.quote(exported.branch)
    # Not `checkout`, which fails where the repository has untracked files of the same names: the task's own.
    tree = exported.repo.parent / exported.branch if (exported.repo / ".git").exists() else exported.repo / "checkout"
    folder = tree / exported.folder
    # The shell's `python` may be missing or lack torch.
    python = "python" if shutil.which("python") == sys.executable else shlex.quote(sys.executable)
    count = many(exported.commits, "commit")
    lines = [
        f"wrote {count} to branch {exported.branch} of {exported.repo} (node {exported.node_id}, {exported.tip[:12]})",
        *([exported.note] if exported.note else []),
        "Next:",
        f"  git -C {repo} log --graph {branch} --",
        f"  git -C {repo} worktree add {shlex.quote(str(tree))} {branch}",
        f"  cd {shlex.quote(str(folder))} && "
        + (f"{python} -m prepare && {python} train.py" if exported.runs_alone else "cat README.md"),
    ]
    return "\n".join(lines)


def what_to_apply(folder: Path, count: int, note: str) -> str:
    """Return the result and how to apply it, for the terminal."""
    where = shlex.quote(str(folder.expanduser().absolute()))
    lines = [f"wrote {count} patches to {folder}", *([note] if note else []), "Next, in a repository:"]
    return "\n".join([*lines, f"  git am {where}/*.patch        (--directory=SUB puts them into a subfolder)"])


# ---------------------------------------------------------------- which node


def _best_node(reader: Reader) -> tuple[str, str]:
    """Return the champion of the most recently active run, or its leader, with a note that says which."""
    run = which_run(reader, None)
    ((champion,),) = _rows(reader, "SELECT champion FROM run_summary WHERE run = ?", (run,))
    if champion is not None:
        return str(champion), f"champion of run {one_line(run, 100)}"
    best = _rows(
        reader,
        "SELECT node_id FROM leaderboard l JOIN nodes n USING (node_id) WHERE l.run = ? AND l.place = 1"
        " ORDER BY n.number LIMIT 1",
        (run,),
    )
    if not best:
        raise ExportError(
            f"run {run!r} has no scored node yet, so there is no champion or leader to export; wait for the first "
            f"score, or name a node: {command('archive')} export ID --branch NAME"
        )
    note = "no champion: exporting the leader, which is not shown to be an improvement"
    return str(best[0][0]), f"{note} (run {one_line(run, 100)}){_earlier_champion(reader, run)}"


def _earlier_champion(reader: Reader, run: str) -> str:
    """Return the note on a champion that a later claim of the run has superseded; empty if there is none."""
    found = _rows(
        reader,
        "SELECT node_id FROM decisions WHERE run = ? AND kind = 'champion' ORDER BY arrival DESC LIMIT 1",
        (run,),
    )
    return f"; a later claim found no improvement, and {found[0][0]} is champion no longer" if found else ""


def _doubt(tip: Step) -> str:
    """Return the note on a node that the user named."""
    if tip.verdict is None:
        return f"node {tip.node_id} is not a champion: it is not shown to be an improvement"
    kind, reason, _ = tip.verdict
    if kind == "champion":
        return f"node {tip.node_id} is a champion"
    return f"node {tip.node_id} is no champion: {one_line(reason, 300)}"


# ---------------------------------------------------------------- reading the lineage

_LEAVES = """
SELECT node_id FROM leaderboard l WHERE run = ? AND gain_on_root > 0
AND NOT EXISTS (FROM parents p WHERE p.parent_id = l.node_id)
AND NOT EXISTS (FROM suspects s WHERE s.node_id = l.node_id)
ORDER BY place, created_at"""

_LINEAGE = """
WITH RECURSIVE family(node_id) AS (
    SELECT node_id FROM nodes WHERE node_id IN (%s) UNION SELECT p.parent_id FROM parents p JOIN family USING (node_id)
)
SELECT f.node_id, n.operator, n.idea, CAST(floor(epoch(n.created_at)) AS BIGINT), n.run, n.number
FROM family f LEFT JOIN nodes n USING (node_id) ORDER BY n.number"""


def _read_lineage(reader: Reader, *node_ids: str) -> tuple[Subject, tuple[Step, ...]]:
    """Return the run, and the nodes with all their ancestors, parents before children."""
    found: dict[str, tuple[Any, ...]] = {}
    for start in range(0, len(node_ids), _BATCH):
        some = node_ids[start : start + _BATCH]
        found |= {str(row[0]): row for row in _rows(reader, _LINEAGE % ", ".join("?" * len(some)), some)}
    missing = [node_id for node_id, row in found.items() if row[1] is None]
    if missing:
        raise ExportError(f"the archive names {missing[0]} as an ancestor of {node_ids[0]}, but does not hold it")
    rows = sorted(found.values(), key=lambda row: int(row[5]))
    subject = _read_subject(reader, str(rows[0][4]))
    steps: list[Step] = []
    for start in range(0, len(rows), _BATCH):
        steps += _read_steps(reader, rows[start : start + _BATCH])
    seen: set[str] = set()
    for step in steps:
        if not seen.issuperset(step.parents):
            raise ExportError(f"node {step.node_id} is older than one of its parents; this archive is not consistent")
        seen.add(step.node_id)
    return subject, tuple(steps)


def _read_subject(reader: Reader, run: str) -> Subject:
    (row,) = _rows(
        reader,
        "SELECT task, metric, direction, CAST(config AS VARCHAR) FROM runs WHERE run = ?",
        (run,),
    )
    task = str(row[0])
    config = json.loads(row[3]).get("task")
    if not isinstance(config, dict):
        raise ExportError(
            f"run {run!r} does not hold the configuration of its task (runs.config -> 'task'), without which train.py "
            "could not run alone"
        )
    metric = config.get("metric")
    unit = str(metric.get("unit") or "") if isinstance(metric, dict) else ""
    return Subject(run, task, str(row[1]), str(row[2]), unit, _folder_for(task), config)


def _read_steps(reader: Reader, rows: Sequence[tuple[Any, ...]]) -> list[Step]:
    ids = tuple(str(row[0]) for row in rows)
    among = f"node_id IN ({', '.join('?' * len(ids))})"
    parents = _grouped(
        _rows(reader, f"SELECT node_id, parent_id FROM parents WHERE {among} ORDER BY node_id, place", ids)
    )
    files = _grouped(_rows(reader, f"SELECT node_id, path, sha FROM files WHERE {among} ORDER BY path", ids))
    screened = _grouped(
        _rows(
            reader,
            f"SELECT node_id, outcome, score, seed FROM screenings WHERE {among} ORDER BY arrival, finished_at",
            ids,
        )
    )
    verdicts = _grouped(
        _rows(
            reader,
            "SELECT node_id, kind, reason, CAST(detail AS VARCHAR) FROM decisions"
            f" WHERE kind IN ('champion', 'no_champion') AND {among} ORDER BY arrival",
            ids,
        )
    )
    models = _grouped(
        _rows(
            reader,
            "SELECT DISTINCT n.node_id, c.model FROM nodes n JOIN llm_calls c ON c.run = n.run AND c.move = n.move "
            "AND c.operator <> 'agent'"
            f" WHERE n.{among} ORDER BY ALL",
            ids,
        )
    )
    steps = []
    for node_id, operator, idea, when, *_ in rows:
        runs = screened.get(node_id, [])
        verdict = verdicts.get(node_id)
        steps.append(
            Step(
                node_id=str(node_id),
                operator=str(operator),
                idea=str(idea),
                when=int(when),
                parents=tuple(dict.fromkeys(str(parent) for (parent,) in parents.get(node_id, []))),
                files={str(path): str(sha) for path, sha in files.get(node_id, [])},
                scores=tuple(float(score) for outcome, score, _ in runs if outcome == "scored"),
                seeds=tuple(int(seed) for outcome, _, seed in runs if outcome == "scored"),
                failures=tuple(str(outcome) for outcome, _, _ in runs if outcome != "scored"),
                models=tuple(str(model) for (model,) in models.get(node_id, [])),
                verdict=(verdict[-1][0], verdict[-1][1], json.loads(verdict[-1][2])) if verdict else None,
            )
        )
    return steps


def _rows(reader: Reader, sql: str, parameters: Sequence[Any] = ()) -> Sequence[tuple[Any, ...]]:
    result = reader.query(sql, parameters)
    if result.truncated:
        raise ExportError(
            f"the running search gives at most {len(result.rows)} rows at once, and this lineage needs more; export it "
            "when the search has ended"
        )
    return result.rows


def _grouped(rows: Sequence[tuple[Any, ...]]) -> dict[str, list[tuple[Any, ...]]]:
    """Group rows by their first column, which is left out."""
    groups: dict[str, list[tuple[Any, ...]]] = {}
    for key, *rest in rows:
        groups.setdefault(key, []).append(tuple(rest))
    return groups


# ---------------------------------------------------------------- what goes into the commits


def _folder_for(task: str) -> str:
    """Return a folder name from the task's name that is no package of this project."""
    name = re.sub(r"[^A-Za-z0-9_-]+", "-", task).strip("-")[:60] or "task"
    return f"task-{name}" if name.lower() in _OUR_NAMES else name


def _check_paths(step: Step) -> None:
    """Raise ExportError unless all files of a candidate stay in their folder and overwrite none of the export's own."""
    taken: set[str] = set()
    for path in step.files:
        parts = path.split("/")
        plain = all(_PATH_PART.fullmatch(part) for part in parts)
        # An __init__ would make the task's folder a package, which could shadow one of the same name.
        if not plain or parts[0].lower() in _OUR_FILES or parts[0].startswith("__init__."):
            raise ExportError(
                f"node {step.node_id} has a file named {path!r}, which an export refuses to write; expected a relative "
                "path of letters, digits, '_', '-' and '.', none of it hidden, and none of ours (prepare/, task.json, "
                "README.md, __init__.py)"
            )
        taken.add(path.lower())
    folders = {"/".join(path.split("/")[:depth]) for path in taken for depth in range(1, path.count("/") + 1)}
    if len(taken) < len(step.files) or folders & taken:
        raise ExportError(f"node {step.node_id} has files whose names collide: {', '.join(sorted(step.files))}")


def _fixed_files(subject: Subject) -> dict[str, bytes]:
    """Return the files that all commits share: task.json and a copy of the ``prepare`` package; none of a program."""
    if not subject.runs_alone:
        return {}
    package = Path(__file__).resolve().parents[2] / "prepare"
    sources = sorted(path.relative_to(package) for path in package.rglob("*.py") if not path.name.startswith("."))
    if not sources:
        raise ExportError(f"the prepare package is not at {package}, so train.py could not run alone; install again")
    files = {f"prepare/{path.as_posix()}": (package / path).read_bytes() for path in sources}
    files["task.json"] = (json.dumps(_numbers(_with_whole_paths(subject.config)), indent=2) + "\n").encode()
    return files


def _with_whole_paths(config: Mapping[str, Any]) -> Mapping[str, Any]:
    """Make the names of the corpus' folders absolute where they exist: the branch is run in another folder."""
    corpus = config.get("corpus")
    if not isinstance(corpus, Mapping):
        return config
    path, roots = corpus.get("path"), corpus.get("roots")
    whole = {"path": _whole(path)} if isinstance(path, str) else {}
    listed = {"roots": [_whole(str(root)) for root in roots]} if isinstance(roots, list) else {}
    return {**config, "corpus": {**corpus, **whole, **listed}}


def _whole(name: str) -> str:
    return str(Path(name).absolute()) if name and Path(name).is_dir() else name


def _numbers(value: Any) -> Any:
    """Replace infinities, which the archive's JSON has as words (``archive.storage.rows.to_json``), by numbers."""
    if isinstance(value, dict):
        return {key: _numbers(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_numbers(item) for item in value]
    return float(value) if value in ("inf", "-inf", "nan") else value


def _commits(reader: Reader, subject: Subject, steps: Sequence[Step], fixed: Mapping[str, bytes]) -> Iterator[Commit]:
    """Yield a commit per node: all files for a root, else the differences from the first parent."""
    known: dict[str, Step] = {}
    for start in range(0, len(steps), _BATCH):
        batch = steps[start : start + _BATCH]
        texts = _read_texts(reader, batch)
        for step in batch:
            before = known[step.parents[0]].files if step.parents else {}
            writes = {} if step.parents else dict(fixed)
            writes["README.md"] = readme(subject, step).encode()
            for path, sha in step.files.items():
                if before.get(path) != sha:
                    writes[path] = texts[sha]
            yield Commit(
                key=step.node_id,
                parents=step.parents,
                message=commit_message(subject, step),
                when=step.when,
                writes={f"{subject.folder}/{path}": content for path, content in sorted(writes.items())},
                removes=tuple(f"{subject.folder}/{path}" for path in before if path not in step.files),
            )
            known[step.node_id] = step


def _read_texts(reader: Reader, steps: Sequence[Step]) -> dict[str, bytes]:
    """Return SHA-256 -> bytes of all files of these nodes."""
    shas = tuple(sorted({sha for step in steps for sha in step.files.values()}))
    texts: dict[str, bytes] = {}
    for start in range(0, len(shas), _BATCH):
        some = shas[start : start + _BATCH]
        marks = ", ".join("?" * len(some))
        rows = _rows(reader, f"SELECT sha, text FROM sources WHERE sha IN ({marks})", some)
        texts.update((str(sha), str(text).encode("utf-8", "surrogatepass")) for sha, text in rows)
    lost = [sha for sha in shas if sha not in texts]
    if lost:
        raise ExportError(f"the archive does not hold the source {lost[0]}; it is not complete")
    return texts
