"""Exports beside the one lineage: every leaf above the root as a branch, and a lineage as patches."""

from __future__ import annotations

import email
import json
import subprocess
import sys
from pathlib import Path

import pytest
from archive_sample import Diary, a_call, a_family, a_run
from export_book import Book, git

from archive.errors import ArchiveError
from archive.export.export import ExportError, export_leaves, export_lineage, export_patches
from archive.query.query import open_reader
from archive.storage.store import Archive

pytestmark = pytest.mark.usefixtures("alone")
HOUSE = Path(__file__).resolve().parents[2]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """The family of ``archive_sample`` with one more good leaf, made by a model."""
    where = tmp_path / "a.duckdb"
    with Archive.open(where) as archive:
        diary, (root, good, *_) = a_family(archive)
        diary.screened(diary.child(root, idea="a leaf that is worse"), 3.8)
        leaf = diary.screened(diary.child(good, idea="by a model", operator="improve"), 3.1)
        archive.record_call(a_call(move=leaf.move, model="some-model\nTreewright-Score: 0"))
    return where


@pytest.mark.slow
def test_every_leaf_above_the_root_is_a_branch(path: Path, repo: Path) -> None:
    done = export_leaves(open_reader(path), None, "best", repo)
    board = open_reader(path).query("SELECT node_id, idea FROM leaderboard ORDER BY place").rows
    ideas = {str(node): idea for node, idea in board}
    assert [ideas[each.node_id] for each in done] == ["both", "by a model"]
    assert [each.branch for each in done] == [f"best/{each.node_id[:8]}" for each in done]
    assert [each.commits for each in done] == [4, 3]
    for each in done:
        assert git(repo, "rev-parse", each.branch).strip() == each.tip
        alone = export_lineage(open_reader(path), each.node_id, f"alone-{each.node_id[:8]}", repo)
        assert alone.tip == each.tip  # shared steps are the same commits, however they were exported
    heads = set(git(repo, "for-each-ref", "--format=%(refname:short)", "refs/heads").split())
    assert heads == {"main", *(each.branch for each in done), *(f"alone-{each.node_id[:8]}" for each in done)}
    git(repo, "fsck", "--strict")


@pytest.mark.slow
def test_leaves_are_all_or_nothing(path: Path, repo: Path) -> None:
    second = export_leaves(open_reader(path), None, "first", repo)[1]
    git(repo, "branch", f"best/{second.node_id[:8]}", "main")
    with pytest.raises(ExportError, match="exists already"):
        export_leaves(open_reader(path), None, "best", repo)
    assert len(git(repo, "for-each-ref", "refs/heads/best").splitlines()) == 1


@pytest.mark.slow
def test_no_leaf_above_the_root(tmp_path: Path, repo: Path) -> None:
    with Archive.open(tmp_path / "e.duckdb") as archive:
        a_family(archive, "minimise")
        day = Diary(archive, a_run("day"))
        root = day.screened(day.child(operator="seed"), 3.0)
        day.screened(day.child(root), 3.1)
    reader = open_reader(tmp_path / "e.duckdb")
    assert len(export_leaves(reader, "night", "best", repo)) == 1
    with pytest.raises(ExportError, match="no leaf with a better"):
        export_leaves(reader, "day", "best2", repo)
    with pytest.raises(ArchiveError, match="there is no run 'noon' in the archive; it holds: "):
        export_leaves(reader, "noon", "best2", repo)


def test_trailers_name_the_models_in_one_line_each(path: Path, repo: Path) -> None:
    done = export_leaves(open_reader(path), None, "best", repo)[1]
    trailers = git(repo, "log", "-1", "--format=%(trailers:only,unfold)", done.branch).splitlines()
    assert "Treewright-Model: some-model Treewright-Score: 0" in trailers
    assert [line for line in trailers if line.startswith("Treewright-Score: ")] == ["Treewright-Score: 3.1"]


@pytest.mark.slow
def test_patches_rebuild_the_program(path: Path, tmp_path: Path) -> None:
    reader = open_reader(path)
    best = str(reader.query("SELECT node_id FROM leaderboard WHERE place = 1").rows[0][0])
    patches, _ = export_patches(reader, best, tmp_path / "patches")
    assert [patch.name[:4] for patch in patches] == ["0001", "0002", "0003"]  # root, first parent, crossover
    message = email.message_from_bytes(patches[2].read_bytes())
    assert message["From"] == "Treewright <treewright@localhost>"
    assert "Treewright-Operator: crossover" in str(message.get_payload())

    fresh = tmp_path / "fresh"
    git(tmp_path, "init", "-q", "fresh")
    git(fresh, "-c", "user.name=t", "-c", "user.email=t@t", "am", "-q", "--directory=models", *map(str, patches))
    (text,) = reader.query("SELECT text FROM programs WHERE node_id = ?", [best]).rows[0]
    assert (fresh / "models" / "toy" / "train.py").read_text() == text
    assert git(fresh, "log", "--format=%an").split() == ["Treewright"] * 3


@pytest.mark.slow
def test_patches_are_the_same_every_time(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first, _ = export_patches(open_reader(path), None, tmp_path / "one")
    settings = tmp_path / "settings"
    settings.write_text("[format]\n\tsubjectPrefix = MINE\n\tsignOff = true\n[diff]\n\tnoprefix = true\n")
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", str(settings))
    second, _ = export_patches(open_reader(path), None, tmp_path / "two")
    assert [patch.read_bytes() for patch in first] == [patch.read_bytes() for patch in second]
    with pytest.raises(ExportError, match="not empty"):
        export_patches(open_reader(path), None, tmp_path / "two")


@pytest.mark.slow
def test_from_the_command_line(path: Path, repo: Path, tmp_path: Path) -> None:
    def command(*words: str) -> subprocess.CompletedProcess[str]:
        base = [sys.executable, "-m", "archive", "export", "--archive", str(path)]
        return subprocess.run([*base, *words], cwd=HOUSE, capture_output=True, text=True, timeout=250, check=False)

    done = command("--all", "--branch", "best", "--repo", str(repo), "--json")
    assert [each["commits"] for each in json.loads(done.stdout)] == [4, 3], done.stderr
    assert "git am" in command("--patch", str(tmp_path / "p")).stdout
    for words, said in (
        (("--all", "--patch", "x"), "--patch goes without"),
        (("abc", "--all", "--branch", "b"), "takes no id"),
        ((), "--branch NAME"),
    ):
        refused = command(*words)
        assert (refused.returncode, said in refused.stderr) == (2, True), refused.stderr


def test_a_family_in_memory_still_exports(family: Book, repo: Path) -> None:
    assert export_lineage(family, None, "best", repo).commits == 4
