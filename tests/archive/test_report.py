"""The report: what it says of a run, that it is whole and offline, and that nothing in it can act."""

from __future__ import annotations

import base64
import hashlib
import json
import random
import re
import shlex
import zlib
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from archive_sample import START, Diary, a_curve, a_family, a_run, failed, request_for, scored

from archive.errors import ArchiveError, QueryError
from archive.query.query import open_reader
from archive.records import Event, Propose, Run
from archive.report.command import write_report
from archive.report.details import details, diff
from archive.report.facts import gather
from archive.report.page import RunData, live_page, offline_page, policy, script
from archive.steering import KIND
from archive.storage.store import Archive

SCRIPT = "</script><script>document.title='owned'</script><img src=x onerror=\"document.title='owned'\">"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A family, with a candidate whose idea, log and code are markup, and one that claims a curve."""
    where = tmp_path / "a.duckdb"
    with Archive.open(where) as archive:
        diary, (root, good, *_) = a_family(archive)
        odd = diary.child(good, idea=SCRIPT, operator="improve", text=f"X = {SCRIPT!r}\n")
        diary.record(failed(request_for(odd, 0), log=f"\x1b[31m{SCRIPT}\nTraceback\n", reason=SCRIPT))
        diary.record(scored(request_for(good, 77), 3.3, curve=a_curve(300)))
        hidden = request_for(root, 5, "report")
        diary.record(scored(hidden, 1.2345678))
    return where


def unpacked(text: str) -> Any:
    return json.loads(zlib.decompress(base64.b64decode(text), -15))


def blocks(page: str) -> dict[str, Any]:
    found = re.findall(r'<script type="application/octet-stream" id="([\w-]+)"[^>]*>([^<]*)</script>', page)
    return {name: unpacked(text) for name, text in found}


# ---------------------------------------------------------------- what it says


def test_facts_agree_with_the_views(path: Path) -> None:
    reader = open_reader(path)
    facts = gather(reader)
    nodes = facts["nodes"]
    assert nodes["operator"] == ["seed", "tune", "tune", "improve", "crossover", "improve"]
    assert nodes["parents"] == [[], [0], [0], [1], [1, 2], [1]]
    assert nodes["state"] == ["scored", "scored", "scored", "crashed", "scored", "crashed"]
    assert nodes["score"][0] == pytest.approx(3.5)
    board = reader.query("SELECT node_id FROM leaderboard ORDER BY place").rows
    assert facts["run"]["leader"] == board[0][0]
    assert facts["lineage"] == [0, 1, 2, 4]
    assert [e[1] for e in facts["experiments"]] == [3.4, 3.6, 3.2, 3.9, None, 3.0, 3.1, None, 3.3]
    assert facts["holdout_reads"] == 1


@pytest.mark.slow
def test_scores_of_the_claim_are_nowhere(path: Path, tmp_path: Path) -> None:
    write_report(open_reader(path), None, tmp_path / "r.html")
    page = (tmp_path / "r.html").read_text()
    assert "1.2345" not in page + json.dumps(blocks(page))


def test_lessons_are_counted(path: Path) -> None:
    lessons = [lesson["text"] for lesson in gather(open_reader(path))["lessons"]]
    assert any(text.startswith("2 of 6 candidates have no score: 2 crashed") for text in lessons)
    assert any("The seed deviation of a score is" in text for text in lessons)


def test_an_honest_program_over_a_limit_is_a_failure(tmp_path: Path) -> None:
    with Archive.open(tmp_path / "a.duckdb") as archive:
        diary, (root, *_) = a_family(archive)
        large = diary.child(root, idea="larger than allowed")
        diary.record(failed(request_for(large, 0), "infeasible", reason="too many parameters"))
        cheat = diary.child(root, idea="reads the answers")
        diary.record(scored(request_for(cheat, 0), 1.0))
        diary.record(failed(request_for(cheat, 1), "invalid", reason="it read the answers", violation=True))
        diary.screened(diary.child(cheat), 0.9)
    facts = gather(open_reader(tmp_path / "a.duckdb"))
    place = facts["nodes"]["id"].index(large.node_id)
    assert (facts["nodes"]["suspect"][place], facts["nodes"]["state"][place]) == (None, "infeasible")
    (said,) = [lesson["text"] for lesson in facts["lessons"] if "ranked out" in lesson["text"]]
    assert said == "2 candidates ranked out: 1 found cheating, 1 descended from one that was."
    assert all("suspect" not in row for row in facts["operators"])


def test_what_is_neither_recorded_nor_refused_is_in_progress(tmp_path: Path) -> None:
    with Archive.open(tmp_path / "a.duckdb") as archive:
        diary, (root, good, *_) = a_family(archive)  # scored, failed and refused moves
        diary.choose(Propose("improve", (good.node_id,)))
        waiting = diary.child(root, idea="in a slot")
    found = gather(open_reader(tmp_path / "a.duckdb"))
    assert [(each["does"], each["stage"], each["node"]) for each in found["now"]["open"]] == [
        ("improve", "proposal", None),
        ("tune", "evaluation", found["nodes"]["id"].index(waiting.node_id)),
    ]


def test_limits_count_what_the_user_added(tmp_path: Path) -> None:
    config = {"task": {"name": "toy"}, "budget": {"evaluations": 30, "hours": None}, "llm": {"max_dollars": 2.0}}
    run = Run("night", "id", "toy", "val_bpb", "minimise", "ucb", 7, config, {}, START)
    with Archive.open(tmp_path / "a.duckdb") as archive:
        diary = Diary(archive, run)
        diary.screened(diary.child(operator="seed"), 3.0)
        event = Event("night", KIND, "10 more", START, code="budget", detail={"limit": "evaluations", "added": 10})
        archive.note(event)
    found = gather(open_reader(tmp_path / "a.duckdb"))
    assert found["now"]["limits"] == {"evaluations": 40.0, "dollars": 2.0}


def test_hours_are_those_of_the_sessions(tmp_path: Path) -> None:
    """As the budget counts them: a day between two sessions does not count."""
    with Archive.open(tmp_path / "a.duckdb") as archive:
        Diary(archive, replace(a_run(), config={"task": {"name": "toy"}, "budget": {"hours": 3}}))
        for at in (START, START + 86_400):
            archive.note(Event("night", "session", "begins", at))
            archive.note(Event("night", "note", "an hour later", at + 3600))
        used = archive.seconds_used("night")
    found = gather(open_reader(tmp_path / "a.duckdb"))["now"]
    assert (found["hours"], found["limits"]) == (2.0, {"hours": 3.0})
    assert used == 7200


def test_every_run_has_the_command_for_its_page(tmp_path: Path) -> None:
    with Archive.open(tmp_path / "a.duckdb") as archive:
        a_family(archive)
        a_family(archive, name="it's; rm -rf")
    found = {each["run"]: each for each in gather(open_reader(tmp_path / "a.duckdb"))["runs"]}
    assert found["night"]["candidates"] == 5
    words = shlex.split(found["it's; rm -rf"]["command"])
    assert words[-4:] == ["--run", "it's; rm -rf", "--out", "it_s__rm_-rf.html"]


@pytest.mark.slow
def test_details_of_a_node(path: Path) -> None:
    reader = open_reader(path)
    nodes = gather(reader)["nodes"]
    found = list(details(reader, nodes["id"], nodes["parents"]))
    assert len(found) == 6
    assert found[0]["diff"] == ""
    assert "-WIDTH = 64\n+NODE = 1" in found[1]["diff"]
    assert [t["outcome"] for t in found[1]["evaluations"]] == ["scored", "scored"]
    assert [t["seed"] for t in found[1]["evaluations"]] == ["0", "77"], "texts: JavaScript would round 63 bits"
    assert "\x1b" not in found[5]["evaluations"][0]["log"]
    alone = list(details(reader, [nodes["id"][1], nodes["id"][0]], [[1], []]))
    assert alone[0] == found[1]


def test_a_curve_is_thinned_and_keeps_its_ends(tmp_path: Path) -> None:
    with Archive.open(tmp_path / "c.duckdb") as archive:
        diary, (_, good, *_) = a_family(archive)
        child = diary.child(good)
        diary.record(scored(request_for(child, 0), 3.0, curve=a_curve(1000)))
    (found,) = details(open_reader(tmp_path / "c.duckdb"), [child.node_id], [[]])
    assert 60 <= len(found["curve"]) <= 100
    assert found["curve"][0][0] == 0.0
    assert found["curve"][-1][0] == 999.0


def test_the_curve_is_that_of_the_first_screening(tmp_path: Path) -> None:
    with Archive.open(tmp_path / "c.duckdb") as archive:
        diary = Diary(archive, a_run())
        root = diary.child(operator="seed")
        for seed, length in ((9, 5), (3, 7)):
            diary.record(scored(request_for(root, seed), 3.0, curve=a_curve(length)))
    (found,) = details(open_reader(tmp_path / "c.duckdb"), [root.node_id], [[]])
    assert len(found["curve"]) == 5


def test_a_diff_is_like_the_one_of_diff() -> None:
    before = "".join(f"line {i}\n" for i in range(50))
    after = before.replace("line 10\n", "line ten\n").replace("line 40\n", "").replace("line 0\n", "first\nline 0\n")
    lines = diff({"train.py": before}, {"train.py": after}).splitlines()
    assert lines[:2] == ["--- train.py", "+++ train.py"]
    assert [line for line in lines if line[0] in "+-" and not line.startswith(("---", "+++"))] == [
        "+first",
        "-line 10",
        "+line ten",
        "-line 40",
    ]
    assert [line for line in lines if line.startswith("@@")] == [
        "@@ -1,3 +1,4 @@",
        "@@ -8,7 +9,7 @@",
        "@@ -38,7 +39,6 @@",
    ]
    assert diff({"a": "x\n"}, {"a": "x\n"}) == ""
    assert "more lines" in diff({}, {"a": "x\n" * 5000})


# ---------------------------------------------------------------- what it can do


@pytest.mark.slow
def test_nothing_foreign_is_spelled_as_markup(path: Path, tmp_path: Path) -> None:
    write_report(open_reader(path), None, tmp_path / "r.html")
    page = (tmp_path / "r.html").read_text().replace(script(), "")
    assert "onerror" not in page
    assert "owned" not in page
    held = blocks(page)
    assert SCRIPT in held["facts"]["nodes"]["idea"]  # it is there, as data
    assert len(re.findall(r"<script", page)) == 1 + len(held)


def test_the_policy_names_the_script_that_is_there() -> None:
    for page, connect in (
        (live_page(), "'self'"),
        ("".join(offline_page(RunData({"run": {"run": "night"}}))), "'none'"),
    ):
        (told,) = re.findall(r'Content-Security-Policy" content="([^"]*)"', page)
        assert told == policy(connect)
        assert "unsafe" not in told
        held = page.split("<script>")[1].split("</script>")[0]
        digest = base64.b64encode(hashlib.sha256(held.encode()).digest()).decode()
        assert f"script-src 'sha256-{digest}';" in told
        markup = page.replace(held, "")
        assert not re.findall(r'(?:src|href)="', markup)
        assert " style=" not in markup


def test_the_file_holds_runs_until_it_is_full(monkeypatch: pytest.MonkeyPatch) -> None:
    def run(name: str, size: int) -> RunData:
        noise = random.Random(name).randbytes(size).hex()
        return RunData({"run": {"run": name}, "noise": noise}, [{"of": name}], [("cases", name)])

    room = len("".join(offline_page(run("main", 10)))) + 20_000
    monkeypatch.setattr("archive.report.page.LARGEST", room)
    others = iter([run("small", 1000), run("large", 50_000), run("never", 10)])
    text = "".join(offline_page(run("main", 10), others))
    held = blocks(text)
    assert held["runs"] == {"main": "", "small": "r1-"}
    assert held["r1-facts"]["run"] == {"run": "small"}
    assert (held["r1-chunk-0"], held["r1-part-cases"]) == ([{"of": "small"}], "small")
    assert len(text) <= room
    assert next(others).facts["run"]["run"] == "never", "none is read after one that does not fit"


@pytest.mark.slow
def test_the_page_is_whole_or_not_there(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> Any:
        yield {"diff": "", "cut": 0}
        raise QueryError("the search ended")

    out = tmp_path / "deep" / "r.html"
    monkeypatch.setattr("archive.report.command.details", broken)
    with pytest.raises(QueryError):
        write_report(open_reader(path), None, out)
    assert list(out.parent.iterdir()) == []
    monkeypatch.undo()
    write_report(open_reader(path), "night", out)
    assert [each.name for each in out.parent.iterdir()] == ["r.html"]
    with pytest.raises(ArchiveError, match="cannot be written"):
        write_report(open_reader(path), None, path / "below.html")
    with pytest.raises(QueryError, match="no run 'day'"):
        write_report(open_reader(path), "day", out)


@pytest.mark.slow
def test_plots_are_drawn(path: Path, tmp_path: Path) -> None:
    written = write_report(open_reader(path), None, tmp_path / "r.html", tmp_path / "plots")
    names = sorted(file.name for file in written.files)
    assert names == ["progress.png", "progress.svg", "r.html", "tree.png", "tree.svg"]
    assert (tmp_path / "plots" / "progress.png").read_bytes().startswith(b"\x89PNG")
    svg = (tmp_path / "plots" / "progress.svg").read_text()
    assert "<script" not in svg


@pytest.mark.slow
def test_a_run_without_a_score(tmp_path: Path) -> None:
    with Archive.open(tmp_path / "e.duckdb") as archive:
        diary = Diary(archive)
        diary.child(operator="seed", text="X = 1\n")
    reader = open_reader(tmp_path / "e.duckdb")
    facts = gather(reader)
    assert facts["nodes"]["state"] == ["waiting"]
    assert facts["lineage"] == []
    write_report(reader, None, tmp_path / "r.html", tmp_path)
