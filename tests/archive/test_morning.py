"""``python -m archive summary``: the questions of the morning, answered from what is in the archive."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from archive_sample import START, Diary, a_call, a_family, a_run, an_ablation, failed, request_for, scored

from archive.__main__ import main
from archive.cli.summary import summary_facts
from archive.query.query import open_reader
from archive.records import WITHDRAWN, Decision, Node, Refusal, Replicate
from archive.report.facts import gather
from archive.storage.store import Archive
from prepare.command_line import command


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "a.duckdb"


def told(capsys: pytest.CaptureFixture[str], path: Path, *words: str) -> str:
    assert main(["summary", "--archive", str(path), *words]) == 0
    return capsys.readouterr().out


def crowned(archive: Archive) -> tuple[Diary, list[Node]]:
    """A family whose crossover has won, on runs of a claim whose scores nobody is to see."""
    diary, nodes = a_family(archive)
    diary.record(scored(request_for(nodes[4], 90, "report"), 2.7654321))
    archive.decide(Decision("night", "champion", nodes[4].node_id, "gain 0.40 bpb, 95% interval 0.2 to 0.6", {}, START))
    archive.record_call(a_call())
    archive.record_call(a_call(turn=1, dollars=None))
    return diary, nodes


def test_a_champion_answers_all_six_questions(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with Archive.open(path) as archive:
        _, nodes = crowned(archive)
    best = nodes[4].node_id[:8]
    assert told(capsys, path).splitlines() == [
        "Run night: toy, val_bpb (minimise)",
        "",
        f"What won        {best} (crossover: both)",
        "Is it real      champion: gain 0.40 bpb, 95% interval 0.2 to 0.6",
        "                scores are audited (sandbox bwrap); the holdout was read 1 time",
        "Why             the largest gains of its lineage; they are of single screenings, chosen, and look larger than "
        "they are",
        f"                  {nodes[1].node_id[:8]}  +0.3  tune: wider",
        f"                  {best}  +0.15  crossover: both",
        "What was tried  5 candidates (2 tune, 1 crossover, 1 improve, 1 seed); 1 proposal refused",
        "                8 evaluations (7 scored, 1 crashed)",
        "What it cost    candidates ran 0.0197 hours; 0.0204 device hours in all; $0.25 for 2 calls of language "
        "models, and 1 of unknown price",
        f"Take it home    {command('archive')} export {best} --branch best --archive {path}",
        f"                {command('search')} ablate {best} archive={path}",
    ]


def test_an_ablation_says_why(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with Archive.open(path) as archive:
        _, nodes = crowned(archive)
        ids = [f"_{node.node_id}" for node in nodes]
        an_ablation(archive, nodes[4], [3.0, 3.02], **{ids[1]: [3.4, 3.41], ids[2]: [3.01, 3.0]})
    out = told(capsys, path)
    assert f"                  {nodes[1].node_id[:8]}  +0.395 (+0.3" in out
    assert "carries gain)  wider" in out
    assert "                  1 step with no effect beyond noise\n" in out
    assert "search ablate" not in out


def test_without_a_claim_nothing_is_called_better(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with Archive.open(path) as archive:
        diary, nodes = a_family(archive)
        diary.record(failed(request_for(nodes[1], 60), "invalid", violation=True))
    out = told(capsys, path)
    leader = nodes[0].node_id[:8]  # the rest is suspect
    assert f"nothing with a verified improvement; the leader is {leader}" in out
    assert "unverified: no runs on fresh seeds were made" in out
    assert "3 nodes suspect, ranked out" in out
    assert "no language model was asked" in out
    with Archive.open(path) as archive:
        archive.decide(Decision("night", "no_champion", nodes[0].node_id, "no improvement beyond noise", {}, START))
    assert "Is it real      no champion: no improvement beyond noise\n" in told(capsys, path)


@pytest.mark.slow
def test_a_claim_under_way_is_no_lack_of_one(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with Archive.open(path) as archive:
        diary, nodes = a_family(archive)
        begun = [diary.choose(Replicate(nodes[4].node_id, "report")) for _ in range(3)]
    assert "not decided yet: a claim was begun, with 0 runs on fresh seeds so far" in told(capsys, path)
    with Archive.open(path) as archive:
        archive.record(scored(request_for(nodes[4], 90, "report", begun[0].number), 2.7654321))
        archive.refuse(Refusal("night", begun[1].number, WITHDRAWN, (), "the search continued"))
    facts = summary_facts(open_reader(path), None)
    assert facts["claim_evaluations"] == {"begun": 2, "made": 1}
    assert "a claim was begun, with 1 run on fresh seeds so far, and has no verdict" in told(capsys, path)
    assert "2.7654321" not in told(capsys, path)


@pytest.mark.slow
@pytest.mark.parametrize("violation", [False, True])
def test_a_program_that_was_too_large_is_a_failure_and_one_that_cheats_a_suspect(
    path: Path, capsys: pytest.CaptureFixture[str], violation: bool
) -> None:
    with Archive.open(path) as archive:
        diary, nodes = a_family(archive)
        diary.record(failed(request_for(diary.child(nodes[0]), 60), "invalid", violation=violation))
    assert ("1 node suspect, ranked out" in told(capsys, path)) == violation
    lessons = [lesson["text"] for lesson in gather(open_reader(path))["lessons"]]
    assert ("1 candidate ranked out: 1 found cheating." in lessons) == violation
    assert any("ranked out" in text for text in lessons) == violation


def test_a_lineage_gained_what_its_last_node_is_better_than_the_root(path: Path) -> None:
    """Not the sum of its good steps: the first made it worse."""
    with Archive.open(path) as archive:
        diary = Diary(archive, a_run("night"))
        root = diary.child(operator="seed")
        bad = diary.child(root)
        good = diary.child(bad)
        for node, score in ((root, 6.0), (bad, 9.0), (good, 5.5)):
            diary.record(scored(request_for(node, 0), score))
    (text,) = [each["text"] for each in gather(open_reader(path))["lessons"] if "lineage gained" in each["text"]]
    assert text.startswith("The best node's lineage gained 0.5 in screening scores, over 2 steps; the largest step was")


@pytest.mark.parametrize(("trust", "words"), [("audited", "audited"), ("audited_shared", "could tell another")])
def test_trust_is_said_in_words(trust: str, words: str, path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with Archive.open(path) as archive:
        diary = Diary(archive, a_run("night"))
        diary.record(replace(scored(request_for(diary.child(operator="seed"), 0), 3.0), trust=trust))
    assert words in told(capsys, path)
    assert words in gather(open_reader(path))["run"]["conditions"]["trust"]


def test_a_score_that_another_run_refutes_is_ranked_out(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with Archive.open(path) as archive:
        diary, nodes = a_family(archive)
        diary.record(failed(request_for(nodes[4], 60), "invalid"))
    assert "1 node suspect, ranked out" in told(capsys, path)


def test_before_the_first_score(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with Archive.open(path) as archive:
        Diary(archive, a_run("day")).child(operator="seed")
    out = told(capsys, path, "--run", "day")
    assert "nothing yet: no node has a score" in out
    assert "there is nothing to take home yet" in out
    assert "scores are none" in out
    assert main(["summary", "--archive", str(path), "--run", "noon"]) == 1
    assert "there is no run 'noon' in the archive; it holds: day" in capsys.readouterr().err


@pytest.mark.slow
def test_no_score_of_the_claim_is_told_and_ideas_are_words(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with Archive.open(path) as archive:
        diary, nodes = crowned(archive)
        odd = diary.screened(diary.child(nodes[4], idea="\x1b[31mred\nTake it home    rm -rf /"), 1.0)
        archive.decide(Decision("night", "champion", odd.node_id, "why\n\x1b[2Jnot", {}, START + 1))
    out, facts = told(capsys, path), told(capsys, path, "--json")
    assert "2.7654" not in out + facts
    assert "\x1b" not in out
    assert sum(line.startswith("Take it home") for line in out.splitlines()) == 1
    assert json.loads(facts)["best"]["node_id"] == odd.node_id
    assert json.loads(facts) == summary_facts(open_reader(path), None)
