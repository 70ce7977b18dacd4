"""What an export does to a git repository, and what it leaves alone."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from export_book import BIRTH, TASK, Book, git

from archive.export import export
from archive.export.export import ExportError, export_lineage
from archive.query.query import open_reader
from archive.query.select import Result
from archive.records import Candidate, Conditions, Node, Request, Resources, Run, Scored
from archive.storage.store import Archive

pytestmark = pytest.mark.usefixtures("alone")


def test_work_tree_index_and_head_stay_as_they_are(family: Book, repo: Path) -> None:
    def state() -> tuple[Any, ...]:
        files = {path.name: path.read_bytes() for path in repo.iterdir() if path.is_file()}
        kept = [(repo / ".git" / name).read_bytes() for name in ("index", "HEAD", "config")]
        return files, kept, git(repo, "status", "--porcelain"), git(repo, "rev-parse", "main")

    before = state()
    export_lineage(family, None, "best", repo)
    assert state() == before
    assert git(repo, "for-each-ref", "--format=%(refname)").split() == ["refs/heads/best", "refs/heads/main"]


def test_the_same_archive_gives_the_same_ids(family: Book, repo: Path, tmp_path: Path) -> None:
    first = export_lineage(family, None, "best", repo)
    git(repo, "config", "core.ignoreCase", "true")
    git(repo, "config", "i18n.commitEncoding", "latin1")
    git(repo, "config", "core.autocrlf", "true")
    assert export_lineage(family, None, "again", repo).tip == first.tip
    assert export_lineage(family, None, "best", tmp_path / "new").tip == first.tip
    git(repo, "fsck", "--strict")


def test_author_and_date_are_the_nodes(family: Book, repo: Path) -> None:
    export_lineage(family, None, "best", repo)
    born = int(family.query("SELECT floor(epoch(created_at))::BIGINT FROM nodes WHERE node_id = 'd'").rows[0][0])
    shown = git(repo, "log", "-1", "--format=%an|%ae|%ad|%cn|%ce|%cd", "--date=raw", "best").strip()
    who = f"Treewright|treewright@localhost|{born} +0000"
    assert shown == f"{who}|{who}"
    assert abs(born - BIRTH.timestamp()) < 3600  # UTC, whatever the machine's zone


def test_an_existing_branch_is_left_alone(family: Book, repo: Path) -> None:
    git(repo, "branch", "best", "main")
    before = git(repo, "rev-parse", "best")
    with pytest.raises(ExportError, match=r"'best' exists already .* --branch"):
        export_lineage(family, None, "best", repo)
    with pytest.raises(ExportError, match=r"could not write branch 'best/of'"):
        export_lineage(family, None, "best/of", repo)
    assert git(repo, "rev-parse", "best") == before
    assert git(repo, "for-each-ref", "--format=%(refname)").split() == ["refs/heads/best", "refs/heads/main"]


def test_a_branch_that_is_checked_out_unborn_is_refused(family: Book, tmp_path: Path) -> None:
    git(tmp_path, "init", "-q", "-b", "trunk", "young")
    with pytest.raises(ExportError, match="checked out"):
        export_lineage(family, None, "trunk", tmp_path / "young")


def test_invalid_branch_names(family: Book, repo: Path) -> None:
    for branch in ("", "-D", "--force", "HEAD", "a..b", "a b", "a\nb", "x.lock", "@{-1}", "a\0b", "/x"):
        with pytest.raises(ExportError, match="not a valid branch name"):
            export_lineage(family, None, branch, repo)
    assert git(repo, "for-each-ref", "--format=%(refname)").split() == ["refs/heads/main"]


def test_folders(family: Book, repo: Path, tmp_path: Path) -> None:
    full = tmp_path / "full"
    full.mkdir()
    (full / "thesis.txt").write_text("precious")
    with pytest.raises(ExportError, match="not empty and is no git repository"):
        export_lineage(family, None, "best", full)
    assert [path.name for path in full.iterdir()] == ["thesis.txt"]
    with pytest.raises(ExportError, match="is a file"):
        export_lineage(family, None, "best", full / "thesis.txt")
    with pytest.raises(ExportError, match="cannot be used"):
        export_lineage(family, None, "best", full / "thesis.txt" / "below")
    empty = tmp_path / "empty"
    empty.mkdir()
    assert export_lineage(family, None, "best", empty).repo == empty
    assert export_lineage(family, None, "main", tmp_path / "deeper" / "new").commits == 4
    git(tmp_path / "deeper" / "new", "checkout", "-q", "main")
    assert (tmp_path / "deeper" / "new" / "shakespeare" / "train.py").is_file()
    (repo / "sub").mkdir()
    (repo / "sub" / "file").write_text("x")
    assert export_lineage(family, None, "best", repo / "sub").repo == repo


def test_git_variables_do_not_lead_astray(
    family: Book, repo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    git(tmp_path, "init", "-q", "elsewhere")
    elsewhere = tmp_path / "elsewhere"
    monkeypatch.setenv("GIT_DIR", str(elsewhere / ".git"))
    monkeypatch.setenv("GIT_WORK_TREE", str(elsewhere))
    monkeypatch.setenv("GIT_INDEX_FILE", str(elsewhere / "index"))
    monkeypatch.setenv("GIT_OBJECT_DIRECTORY", str(elsewhere / ".git" / "objects"))
    monkeypatch.setenv("GIT_NAMESPACE", "astray")
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path))
    done = export_lineage(family, None, "best", repo)
    for key in [key for key in os.environ if key.startswith("GIT_") and "CONFIG" not in key]:
        monkeypatch.delenv(key)
    assert git(repo, "rev-parse", "best").strip() == done.tip
    assert git(elsewhere, "for-each-ref") == ""


def test_hooks_do_not_run(family: Book, repo: Path, tmp_path: Path) -> None:
    names = ("reference-transaction", "pre-commit", "post-commit", "commit-msg", "post-checkout", "post-index-change")
    for name in names:
        hook = repo / ".git" / "hooks" / name
        hook.parent.mkdir(exist_ok=True)
        hook.write_text(f"#!/bin/sh\necho {name} >> {tmp_path}/ran\n")
        hook.chmod(0o755)
    export_lineage(family, None, "best", repo)
    assert not (tmp_path / "ran").exists()


def test_missing_git(family: Book, repo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ExportError, match=r"git could not be started .* Install it"):
        export_lineage(family, None, "best", repo)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a folder to another user")
def test_a_repository_of_another_user(family: Book, repo: Path) -> None:
    for path in (repo, repo / ".git"):
        os.chown(path, 12345, 12345)
    with pytest.raises(ExportError, match=r"belongs to another user.*safe\.directory"):
        export_lineage(family, None, "best", repo)


def test_a_reader_that_fails_midway_leaves_no_branch(family: Book, repo: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(export, "_BATCH", 1)
    query, asked = family.query, []

    def failing(sql: str, parameters: Sequence[Any] = ()) -> Result:
        asked.append(sql)
        if sum("FROM sources" in sql for sql in asked) == 3:  # two commits are with git by now
            raise RuntimeError("the search has gone away")
        return query(sql, parameters)

    family.query = failing  # type: ignore[method-assign]
    with pytest.raises(RuntimeError, match="gone away"):
        export_lineage(family, None, "best", repo)
    assert git(repo, "for-each-ref", "--format=%(refname)").split() == ["refs/heads/main"]


# ---------------------------------------------------------------- from a real archive


def fill(path: Path) -> None:
    """A run with a root and a scored child, written as a search writes it."""
    conditions = Conditions("corpus", 10.0, "cpu")
    with Archive.open(path, clock=lambda: 1000.0) as archive:
        archive.start_run(
            Run("night", "id", "shakespeare", "val_bpb", "minimise", "ucb", 1, {"task": TASK}, {}, created_at=1000.0)
        )
        for number, (parents, text, score) in enumerate([((), "A = 1\n", 3.5), (("n0",), "A = 2\n", 3.25)]):
            candidate = Candidate({"train.py": text}, parents, "tune", f"idea {number}")
            archive.add(Node(f"n{number}", "night", number, number, candidate, 1000.0 + number))
            archive.record(
                Scored(
                    request=Request(f"n{number}", "night", number, candidate.files, 5, "screen"),
                    conditions=conditions,
                    resources=Resources(10.0),
                    trust="audited",
                    sandbox="bwrap",
                    device="cpu",
                    started_at=1000.0,
                    finished_at=1001.0,
                    score=score,
                )
            )


SEARCH = """
import sys
from archive.query.server import SqlServer
from archive.storage.store import Archive
with Archive.open(sys.argv[1]) as archive, SqlServer(archive):
    print("ready", flush=True)
    sys.stdin.read()
"""


@pytest.mark.slow
def test_from_the_file_and_from_a_running_search_alike(repo: Path, tmp_path: Path) -> None:
    path = tmp_path / "treewright.duckdb"
    fill(path)
    alone = export_lineage(open_reader(path), None, "alone", repo)
    assert (alone.node_id, alone.commits) == ("n1", 2)
    assert "Treewright-Score: 3.25" in git(repo, "log", "-1", "alone")
    command = [sys.executable, "-c", SEARCH, str(path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as search:
        assert search.stdout is not None
        assert search.stdout.readline() == "ready\n"
        beside = export_lineage(open_reader(path), None, "beside", repo)
        assert search.stdin is not None
        search.stdin.close()
    assert search.returncode == 0
    assert beside.tip == alone.tip
