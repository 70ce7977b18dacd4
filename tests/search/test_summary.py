"""The words at the end of a run: fresh replicates with their interval, and what may not be concluded."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from example_counts import examples
from hypothesis import example, given, settings
from hypothesis import strategies as st

import archive.cli.summary as archive_summary
from archive.cli.parser import parse
from archive.export.git import check_branch_name
from archive.query.tables import digits
from archive.storage.store import Archive
from operators.llm.scripted import Scripted
from prepare.compose import compose
from search.claims.machine_speed import SpeedEffect
from search.claims.reports import Look
from search.claims.statistics import power
from search.display import summary
from search.display.summary import branch_for, resume_command
from search.words import words_of

Start = Callable[..., Any]


@pytest.mark.parametrize(
    ("score", "shown"),
    [(3.64321, "3.6432"), (0.0, "0.0000"), (1.2345e-5, "1.2345e-05"), (-0.012, "-0.012"), (1234.567, "1234.57"),
     (412345.0, "412345"), (float("nan"), "nan")],
)  # fmt: skip
def test_scores_of_any_scale_are_shown_with_their_digits(score: float, shown: str) -> None:
    assert digits(score) == shown


@pytest.mark.slow
def test_the_commonest_reason_of_refusals_is_said(start: Start, tmp_path: Path) -> None:
    text = told(start("operators=llm", model=Scripted(["nonsense"] * 99)), tmp_path)
    assert "1 node; " in text
    assert re.search(r"refused proposals: (\d+), \1 of them: ", text)


def told(bench: Any, folder: Path) -> str:
    with Archive.open(folder / "archive.duckdb") as archive:
        return summary.summarise(bench.search, bench.result, archive, "a.duckdb")


@pytest.mark.slow
def test_a_champion_is_reported_by_its_fresh_replicates_alone(start: Start, tmp_path: Path) -> None:
    bench = start(slots=1)
    text, verdict = told(bench, tmp_path), bench.result.verdict
    assert text.startswith(f"\nChampion {verdict.node_id[:8]} (")
    assert "95% interval" in verdict.reason
    assert "3 fresh seeds each" in verdict.reason
    assert verdict.reason in text
    assert "on seeds that the search never used; a program that is no better passes at most once in 40 claims." in text
    early = replace(verdict, look=Look(1, 2, 3, 5, 0.009, "success"))
    assert "are left" not in text
    again = told(SimpleNamespace(search=bench.search, result=replace(bench.result, verdict=early)), tmp_path)
    assert "The other 4 evaluations that were set aside for it were not needed and are left." in again
    tree = bench.search.tree
    for node_id in (tree.root, verdict.node_id):
        for score in (*tree.scores(node_id), float(tree.means[tree.index[node_id]])):
            assert f"{score:.4f}" not in text, "a screening score"


def test_no_improvement_beyond_noise_is_said_first_and_what_could_have_been_seen(start: Start, tmp_path: Path) -> None:
    for seed in range(5):
        bench = start(
            f"seed={seed}", f"run=r{seed}", "task.smallest_gain=2.0", "claim.least_power=0", stub={"noise": 5.0}
        )
        if (found := bench.result.verdict.difference) is not None and not found.significant and found.high > 0:
            break
    text = told(bench, tmp_path)
    assert text.startswith("\nNo improvement beyond noise: ")
    assert "Champion" not in text
    assert "the two cannot be told apart" in text
    said = re.search(r"A gain of 2 bpb would have been seen with a probability of (\d+)%", text)
    assert said is not None
    runs = found.baseline_n
    assert runs == found.champion_n >= 3
    chance = power(2.0 / (found.standard_error * (runs / 2) ** 0.5), runs, found.confidence)
    assert int(said[1]) == round(100 * chance)


def test_a_worse_nominee_is_called_worse(start: Start, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bench = start("budget.evaluations=12")
    found = bench.result.verdict.difference
    worse = {"gain": -found.gain, "low": -found.high, "high": -found.low}
    words = summary._in_plain_words(type(found)(**{**vars(found), **worse}), False, 0.1, "bpb")
    assert words == "On seeds that the search never used it is worse than the root."


def test_without_a_claim_nothing_is_reported_as_an_improvement(start: Start, tmp_path: Path) -> None:
    text = told(start("budget.evaluations=5"), tmp_path)
    assert "No claim: nothing was evaluated again on fresh seeds, so no improvement can be reported." in text
    assert "Those are screening scores, which chose the leader: they may be luck." in text


def test_machine_speed_is_told_where_it_was_measured(
    start: Start, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench = start("budget.evaluations=12")
    assert "Machine speed" not in told(bench, tmp_path), "the stub measures none"
    effect = SpeedEffect(-0.26, 1e-5, 22, 0.57, 0.218, 0.146, 1.77, 17.3)
    monkeypatch.setattr(summary, "speed_effect", lambda tree: effect)
    assert "Machine speed (1.77 to 17.3 workloads a second) explains 57% of the variance" in told(bench, tmp_path)


def test_leader_finalists_nominee_and_champion_are_rows_with_reasons(start: Start, tmp_path: Path) -> None:
    bench = start("claim.looks=1", slots=1)
    with Archive.open(tmp_path / "archive.duckdb") as archive:
        decided = archive.query("SELECT kind, node_id, reason FROM decisions ORDER BY decided_at")
        moves = archive.query("SELECT purpose, node_id, reason FROM moves WHERE kind = 'replicate' ORDER BY move")
    assert [kind for kind, *_ in decided][-1] == "champion"
    assert {kind for kind, *_ in decided} == {"leader", "champion"}
    assert all(reason.startswith("best mean screening score so far: ") for kind, _, reason in decided[:-1])
    finalists = {reason.split(":")[0] for purpose, _, reason in moves if purpose == "confirm"}
    assert finalists == {"finalist 1 of 3", "finalist 2 of 3", "finalist 3 of 3"}
    reports = {node_id: reason for purpose, node_id, reason in moves if purpose == "report"}
    assert reports[bench.search.tree.root] == "baseline of the claim"
    assert reports[bench.result.verdict.node_id].startswith("would-be champion")
    assert all(reason for *_, reason in (*decided, *moves))


@pytest.mark.parametrize("archive", ["a b.duckdb", "-a.duckdb", "--help"])
def test_the_printed_command_names_the_archive(archive: str) -> None:
    words = shlex.split(summary.archive_command(archive))
    typed = words[words.index("archive") + 1 :]
    assert parse([*typed, "runs"], on_terminal=False).archive == archive
    facts = {"best": {"node_id": "0123456789"}, "ablation": None, "champion": True, "is_folder": True}
    export, ablate = map(shlex.split, archive_summary._home(facts, archive))
    assert parse(export[export.index("archive") + 1 :], on_terminal=False).archive == archive
    assert ablate[-2:] == ["task=./FOLDER", f"archive={archive}"]


@pytest.mark.slow
@settings(max_examples=examples(5))
@given(st.text(min_size=1).filter(lambda name: name.isprintable() and name.strip() and name != "???"))
@example("true")
@example("größe")
@example("nacht=1")
@example("x;touch pwn")
@example('it\'s "x" \\')
def test_the_command_to_resume_names_the_same_run(name: str) -> None:
    command = resume_command(("--config-dir", "run=x"), ("seed=1", "+run=old", "archive=a=b"), name)
    words = words_of(shlex.split(command)[3:])
    assert words.folder == Path("run=x")
    values = compose(words.overrides).values
    assert (values["run"], values["seed"], values["archive"]) == (name, 1, "a=b")


@pytest.mark.parametrize(
    ("run", "branch"),
    [("shakespeare-1", "shakespeare-1"), ("a night", "a-night"), ("x;touch pwn", "x-touch-pwn"), ("größe", "größe"),
     ("--all", "all"), ("..", "best"), ("a.lock", "a-lock"), ("HEAD~1", "HEAD-1"), ("HEAD", "best"), ("$(pwn)", "pwn")],
)  # fmt: skip
def test_a_branch_named_after_a_run_is_one_that_git_accepts(run: str, branch: str) -> None:
    assert branch_for(run) == branch
    check_branch_name(branch)
