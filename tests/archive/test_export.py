"""The export of a lineage as a git branch: which node, its history, its files."""

from __future__ import annotations

import ast
import json
import math
import re
import subprocess
import sys
from pathlib import Path

import pytest
from export_book import TASK, Book, git

from archive.errors import ArchiveError
from archive.export import export
from archive.export.export import ExportError, export_lineage, what_to_type

pytestmark = pytest.mark.usefixtures("alone")


def test_the_champion_is_exported_with_its_ancestors(family: Book, repo: Path) -> None:
    done = export_lineage(family, None, "best", repo)
    assert (done.node_id, done.commits, done.branch, done.folder) == ("d", 4, "best", "shakespeare")
    assert done.repo == repo
    assert done.tip == git(repo, "rev-parse", "best").strip()
    assert done.note == "champion of run night"
    subjects = git(repo, "log", "--topo-order", "--reverse", "--format=%s", "best").splitlines()
    assert sorted(subjects) == ["another seed", "both", "the seed program", "wider"]
    assert subjects[0] == "the seed program"
    assert subjects[-1] == "both"


def test_a_crossover_is_a_merge_and_the_branch_an_orphan(family: Book, repo: Path) -> None:
    done = export_lineage(family, None, "best", repo)
    names = dict(line.split(" ", 1) for line in git(repo, "log", "--format=%H %s", "best").splitlines())
    kin = [line.split() for line in git(repo, "rev-list", "--parents", "best").splitlines()]
    graph = {names[commit]: [names[parent] for parent in parents] for commit, *parents in kin}
    assert graph == {
        "the seed program": [],
        "wider": ["the seed program"],
        "another seed": ["the seed program"],
        "both": ["wider", "another seed"],
    }
    assert names[done.tip] == "both"


def test_each_commit_holds_the_files_of_its_node(family: Book, repo: Path) -> None:
    export_lineage(family, None, "best", repo)
    texts = {
        git(repo, "log", "-1", "--format=%s", commit).strip(): git(repo, "show", f"{commit}:shakespeare/train.py")
        for commit in git(repo, "rev-list", "best").split()
    }
    assert texts == {
        "the seed program": "SEED = 1\n",
        "wider": "SEED = 1\nWIDTH = 2\n",
        "another seed": "SEED = 3\n",
        "both": "SEED = 3\nWIDTH = 2\n",
    }


def test_a_child_changes_its_program_and_the_readme_only(family: Book, repo: Path) -> None:
    export_lineage(family, "b", "best", repo)
    assert git(repo, "diff", "--name-status", "best~1", "best").splitlines() == [
        "M\tshakespeare/README.md",
        "M\tshakespeare/train.py",
    ]


def test_files_that_a_node_drops_are_gone(repo: Path) -> None:
    book = Book()
    book.run()
    book.node("a", files={"train.py": "1\n", "model/layers.py": "2\n", "old.py": "", "Case.py": "4\n"})
    book.node("b", "a", files={"train.py": "1\n", "model": "3\n", "case.py": "4\n"})
    git(repo, "config", "core.ignoreCase", "true")
    export_lineage(book, "b", "best", repo)
    assert "shakespeare/Case.py" in git(repo, "ls-tree", "-r", "--name-only", "best~1").splitlines()
    listed = git(repo, "ls-tree", "-r", "--name-only", "best").splitlines()
    assert [name for name in listed if "/prepare/" not in name] == [
        "shakespeare/README.md",
        "shakespeare/case.py",
        "shakespeare/model",
        "shakespeare/task.json",
        "shakespeare/train.py",
    ]


def test_everything_lies_in_one_folder_that_carries_what_train_needs(family: Book, repo: Path) -> None:
    export_lineage(family, None, "best", repo)
    assert git(repo, "ls-tree", "--name-only", "best").split() == ["shakespeare"]
    package = Path(export.__file__).resolve().parents[2] / "prepare"
    for path in sorted(package.rglob("*.py")):
        name = path.relative_to(package).as_posix()
        assert git(repo, "show", f"best:shakespeare/prepare/{name}") == path.read_text()
    assert json.loads(git(repo, "show", "best:shakespeare/task.json")) == TASK
    assert "pycache" not in git(repo, "ls-tree", "-r", "--name-only", "best")


def test_infinite_bounds_come_back_as_numbers(repo: Path) -> None:
    book = Book()
    book.run(task={**TASK, "metric": {"name": "loss", "direction": "minimise", "lower": "-inf", "upper": 9.0}})
    book.node("a")
    export_lineage(book, "a", "best", repo)
    metric = json.loads(git(repo, "show", "best:shakespeare/task.json"))["metric"]
    assert metric["lower"] == -math.inf
    assert metric["upper"] == 9.0


def test_what_prepare_imports_is_what_the_readme_installs(family: Book, repo: Path) -> None:
    """Imports inside functions are left out: they serve what an export does not need."""
    export_lineage(family, None, "best", repo)
    installed = re.search(r"pip install (.*)", git(repo, "show", "best:shakespeare/README.md"))
    assert installed is not None
    needed = set()
    for path in (Path(export.__file__).resolve().parents[2] / "prepare").rglob("*.py"):
        for statement in ast.parse(path.read_text()).body:
            if isinstance(statement, ast.Import):
                needed |= {alias.name.split(".")[0] for alias in statement.names}
            elif isinstance(statement, ast.ImportFrom) and statement.module:
                needed.add(statement.module.split(".")[0])
    assert needed - sys.stdlib_module_names - {"prepare"} <= set(installed[1].split())


def test_the_exported_program_finds_the_exported_prepare(repo: Path, tmp_path: Path) -> None:
    """Run alone in its folder, with none of our packages on the path."""
    program = "import prepare\nprint(prepare.__file__)\n"
    book = Book()
    book.run()
    book.node("a", text=program)
    export_lineage(book, "a", "best", tmp_path / "alone")
    git(tmp_path / "alone", "checkout", "-q", "best")
    folder = tmp_path / "alone" / "shakespeare"
    done = subprocess.run([sys.executable, "train.py"], cwd=folder, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == str(folder / "prepare" / "__init__.py")


@pytest.mark.parametrize(
    ("task", "folder"),
    [
        ("shakespeare", "shakespeare"),
        ("search", "task-search"),
        ("Prepare", "task-Prepare"),
        ("../../etc", "etc"),
        (".git", "git"),
        ("my task\n\x1b[31m", "my-task-31m"),
        ("ö", "task"),
    ],
)
def test_the_folder_is_a_plain_name_and_none_of_our_packages(task: str, folder: str, repo: Path) -> None:
    book = Book()
    book.run(task={**TASK, "name": task})
    book.node("a")
    assert export_lineage(book, "a", "best", repo).folder == folder
    assert git(repo, "ls-tree", "--name-only", "best").split() == [folder]


@pytest.mark.slow
def test_a_long_lineage(tmp_path: Path) -> None:
    book = Book()
    book.run()
    book.node("n0", text="X = 0\n")
    for i in range(1, 150):
        book.node(f"n{i}", f"n{i - 1}", text=f"X = {i}\n")
    done = export_lineage(book, "n149", "deep", tmp_path / "deep")
    assert done.commits == 150
    assert git(tmp_path / "deep", "rev-list", "--count", "deep").strip() == "150"
    assert git(tmp_path / "deep", "show", "deep~100:shakespeare/train.py") == "X = 49\n"


def test_without_a_champion_the_leader_goes_and_the_note_says_so(family: Book, repo: Path) -> None:
    family.db.execute("DELETE FROM decisions")
    family.decide("no_champion", "other", {"low": -0.1, "high": 0.1}, "no improvement beyond noise")
    done = export_lineage(family, None, "best", repo)
    assert done.node_id == "other"
    assert done.note.startswith("no champion: exporting the leader, which is not shown to be an improvement")
    assert done.note in what_to_type(done)
    assert "No champion: no improvement beyond noise" in git(repo, "log", "-1", "best")


def test_the_leader_follows_the_direction_of_the_metric(repo: Path) -> None:
    book = Book()
    book.run(direction="maximise")
    for node_id, score in (("a", 1.0), ("b", 3.0), ("c", 3.0), ("d", 2.0)):
        book.node(node_id, *("a" if node_id != "a" else ""))
        book.score(node_id, score)
    assert export_lineage(book, None, "best", repo).node_id == "b"  # the earliest of equals


def test_the_default_is_the_run_that_was_worked_on_last(family: Book, repo: Path) -> None:
    family.run("morning")
    family.node("m", run="morning")
    family.score("m", 9.0, run="morning")
    assert export_lineage(family, None, "one", repo).node_id == "m"
    resumed = {"run": "night", "move": 99, "kind": "replicate", "parents": [], "purpose": "report", "seed": 0}
    family.insert("moves", **resumed, reason="", chosen_at=family.now())
    assert export_lineage(family, None, "two", repo).node_id == "d"


def test_an_ablation_is_exported_only_where_it_is_named(family: Book, repo: Path) -> None:
    family.run("ablation-d", policy="ablation")
    family.node("whole", run="ablation-d")
    family.score("whole", 3.0, run="ablation-d")
    assert export_lineage(family, None, "one", repo).node_id == "d"
    assert export_lineage(family, "whole", "two", repo).node_id == "whole"


def test_the_last_claim_decides_which_champion_there_is(family: Book, repo: Path) -> None:
    """The same in ``summary``, ``runs`` and the report: a champion before a claim that found none is none any more."""
    family.decide("champion", "b", {})
    assert export_lineage(family, None, "one", repo).node_id == "b"
    family.decide("no_champion", "other", {})
    done = export_lineage(family, None, "two", repo)
    assert done.node_id == "other", "the leader"
    assert "a later claim found no improvement, and b is champion no longer" in done.note
    family.decide("champion", "b", {})
    assert export_lineage(family, None, "three", repo).node_id == "b"


def test_a_node_is_named_by_a_unique_start(family: Book, repo: Path) -> None:
    assert export_lineage(family, "oth", "best", repo).node_id == "other"
    family.node("other2", "a")
    assert export_lineage(family, "other", "exact", repo).node_id == "other"
    with pytest.raises(ArchiveError, match=r"(?s)'oth' is the start of several ids.* other .* other2 "):
        export_lineage(family, "oth", "b3", repo)
    for unknown in ("zzz", "", "' OR 1=1 --"):
        with pytest.raises(ArchiveError, match="no node"):
            export_lineage(family, unknown, "b4", repo)


def test_the_note_of_a_named_node_says_whether_it_is_an_improvement(family: Book, repo: Path) -> None:
    assert "not shown to be an improvement" in export_lineage(family, "b", "one", repo).note
    assert export_lineage(family, "d", "two", repo).note == "node d is a champion"


@pytest.mark.slow
def test_paths_of_candidates_stay_in_their_folder(repo: Path) -> None:
    book = Book()
    book.run()
    paths = [
        "/etc/passwd", "../train.py", "a/../../b", "./train.py", "a//b", "a/", "", ".git/config", "sub/.GIT/hooks/x",
        ".gitattributes", ".gitmodules", "git~1/config", ".g\u200cit/config", "a\\b", "C:/x", "a\nb", "a\x1bb", 'a"b',
        "a b", " a", "ä", "prepare/__init__.py", "Prepare/wire.py", "task.json", "README.md", "readme.MD",
        "__init__.py", "x" * 200, "a.", "a/-b/..",
    ]  # fmt: skip
    for i, path in enumerate(paths):
        book.node(f"n{i}", files={"train.py": "1\n", path: "2\n"})
        book.node(f"child{i}", f"n{i}")
        with pytest.raises(ExportError, match=f"node n{i} has a file named"):
            export_lineage(book, f"child{i}", "best", repo)
    assert git(repo, "for-each-ref", "--format=%(refname)").split() == ["refs/heads/main"]


@pytest.mark.parametrize("other", ["TRAIN.py", "train.py/x"])
def test_colliding_paths(other: str, repo: Path) -> None:
    book = Book()
    book.run()
    book.node("a", files={"train.py": "1\n", other: "2\n"})
    with pytest.raises(ExportError, match="collide"):
        export_lineage(book, "a", "best", repo)


def test_archives_from_which_nothing_can_be_exported(family: Book, repo: Path) -> None:
    empty = Book()
    with pytest.raises(ArchiveError, match="holds no run yet"):
        export_lineage(empty, None, "best", repo)
    empty.run()
    with pytest.raises(ExportError, match="no scored node yet"):
        export_lineage(empty, None, "best", repo)
    family.cap = 2
    with pytest.raises(ExportError, match="at most 2 rows"):
        export_lineage(family, None, "best", repo)
    family.cap = 10_000
    family.db.execute("DELETE FROM sources WHERE text = 'SEED = 3\n'")
    with pytest.raises(ExportError, match="does not hold the source"):
        export_lineage(family, None, "best", repo)
    family.db.execute("DELETE FROM nodes WHERE node_id = 'c'")
    with pytest.raises(ExportError, match="names c as an ancestor"):
        export_lineage(family, None, "best", repo)
    family.db.execute("UPDATE runs SET config = '{}'")
    with pytest.raises(ExportError, match="configuration of its task"):
        export_lineage(family, "b", "best", repo)
    assert git(repo, "for-each-ref", "--format=%(refname)").split() == ["refs/heads/main"]
