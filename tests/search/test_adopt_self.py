"""``adopt-self``: nothing without a claim, nothing that judges, and no branch whose tests fail."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from growing import Growth

from archive.records import Decision, Run
from archive.storage.store import Archive
from prepare.compose import CONF
from prepare.load import task_from
from prepare.program import folder_settings
from search.cli.adopt_self import (
    PROTECTED,
    AdoptionError,
    Champion,
    adopt_self,
    adopted,
    champion,
    facts,
    refuse_protected,
)

SETTINGS = folder_settings(CONF / "task" / "self" / "proposer")
KERNEL = "operators/numeric/proposer/kernel.py"
PASSES = [sys.executable, "-c", "import pathlib; assert 'ADDITIVE = 0.4' in pathlib.Path('" + KERNEL + "').read_text()"]
FAILS = [sys.executable, "-c", "raise SystemExit('one test has failed')"]


def archived(files: dict[str, str], claim: str | None, settings: Any = SETTINGS, cheats: bool = False) -> Archive:
    """An archive with the root and one child that has ``files``; ``claim``: the kind of the last verdict on it."""
    growth = Growth("maximise")
    growth.root(0.5)
    child = growth.child(0.7)
    if cheats:
        growth.cheats(child)
    archive = Archive.in_memory()
    config = {"task": settings}
    archive.start_run(Run("test", "0" * 32, settings["name"], "utility", "maximise", "ucb", 0, config, {}, 0.0))
    nodes = {node.move: node for node in growth.tree.nodes}
    seed = task_from(SETTINGS).seed_files()
    for number, record in growth.tree.moves.items():
        archive.choose(record)
        if number in nodes:
            own = seed if number == 0 else {**seed, **files}
            archive.add(replace(nodes[number], candidate=replace(nodes[number].candidate, files=own)))
    for evaluations in growth.tree.evaluations.values():
        for evaluation in evaluations:
            archive.record(evaluation)
    if claim is not None:
        archive.decide(Decision("test", claim, child, "gain 0.2, 95% interval 0.1 to 0.3", {}, 9.0))  # type: ignore[arg-type]
    return archive


def child_of(archive: Archive) -> str:
    return str(archive.query("SELECT node_id FROM nodes ORDER BY number DESC LIMIT 1")[0][0])


def test_a_champion_comes_with_the_files_that_it_changes_and_with_its_claim() -> None:
    with archived({"proposer/kernel.py": "ADDITIVE = 0.4\n"}, "champion") as archive:
        found = champion(archive, child_of(archive)[:6])
    assert found.files == {KERNEL: "ADDITIVE = 0.4\n"}
    assert found.claim.reason == "gain 0.2, 95% interval 0.1 to 0.3"


@pytest.mark.parametrize(
    ("files", "claim", "changes", "said"),
    [
        ({"proposer/kernel.py": "A = 1\n"}, None, {}, "no claim was made. Nothing is adopted without a claim"),
        ({"proposer/kernel.py": "A = 1\n"}, "no_champion", {}, "its last claim says: gain 0.2"),
        ({"proposer/kernel.py": "A = 1\n"}, "champion", {"cheats": True}, "is suspect .* It stays in quarantine"),
        ({"proposer/ranges.py": "A = 1\n"}, "champion", {}, "not among the files that may change .* in quarantine"),
        ({"../../archive/tree.py": "A = 1\n"}, "champion", {}, "archive/tree.py, which is not among .* in quarantine"),
    ],
)
def test_what_is_no_champion_of_the_editable_files_is_refused(
    files: dict[str, str], claim: str | None, changes: dict[str, Any], said: str
) -> None:
    with archived(files, claim, **changes) as archive, pytest.raises(AdoptionError, match=said):
        champion(archive, child_of(archive))


def test_a_task_of_other_files_is_refused() -> None:
    settings = folder_settings(CONF / "task" / "capset")
    with archived({}, "champion", settings) as archive, pytest.raises(AdoptionError, match="expected one below self/"):
        champion(archive, child_of(archive))


@pytest.mark.parametrize("folder", PROTECTED)
def test_files_that_judge_are_refused_even_where_a_task_would_allow_them(folder: str) -> None:
    with pytest.raises(AdoptionError, match="in quarantine"):
        refuse_protected({f"{folder}/any.py": "any.py"}, ["**"])
    refuse_protected({f"operators/{folder}/any.py": "any.py"}, ["**"])


# ---------------------------------------------------------------- the branch


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """Starts git, since branches and work trees are what is tested."""
    place = tmp_path / "repository"
    (place / KERNEL).parent.mkdir(parents=True)
    (place / KERNEL).write_text("ADDITIVE = 0.3\n")
    git(place, "init", "--quiet", "--initial-branch=main")
    git(place, "add", ".")
    git(place, "-c", "user.name=t", "-c", "user.email=t@localhost", "commit", "--quiet", "-m", "start")
    return place


def git(folder: Path, *words: str) -> str:
    return subprocess.run(["git", "-C", str(folder), *words], check=True, capture_output=True, text=True).stdout


def found(files: dict[str, str]) -> Champion:
    return Champion("0a1b2c3d4e5f", "night", Decision("night", "champion", "0a1b2c3d4e5f", "gain 0.2", {}, 0.0), files)


def test_a_champion_whose_tests_pass_is_a_branch_and_the_work_tree_stays(repository: Path) -> None:
    assert facts(found({KERNEL: "A = 1\n"}))["files"] == [KERNEL]
    said = adopted(found({KERNEL: "ADDITIVE = 0.4\n"}), repository, PASSES)
    assert "The claim said: gain 0.2" in said
    assert git(repository, "show", f"adopt/0a1b2c3d:{KERNEL}") == "ADDITIVE = 0.4\n"
    assert git(repository, "diff", "--name-only", "main", "adopt/0a1b2c3d").split() == [KERNEL]
    assert (repository / KERNEL).read_text() == "ADDITIVE = 0.3\n"
    assert git(repository, "status", "--porcelain") == ""
    assert len(git(repository, "worktree", "list").splitlines()) == 1


def test_a_champion_whose_tests_fail_is_rolled_back(repository: Path) -> None:
    with pytest.raises(AdoptionError, match=r"adopt/0a1b2c3d is removed again.*\n.*one test has failed"):
        adopted(found({KERNEL: "ADDITIVE = 0.4\n"}), repository, FAILS)
    assert git(repository, "branch", "--list").split() == ["*", "main"]
    assert len(git(repository, "worktree", "list").splitlines()) == 1


def test_a_champion_that_equals_the_present_files_is_none(repository: Path) -> None:
    with pytest.raises(AdoptionError, match="nothing to adopt"):
        adopted(found({}), repository, PASSES)


def test_an_archive_that_is_missing_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert adopt_self(["3fa9", f"archive={tmp_path / 'none.duckdb'}"]) == 1
    assert "there is no archive" in capsys.readouterr().err
