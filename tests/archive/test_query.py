"""``python -m archive``: what a person types, and what comes back."""

from __future__ import annotations

import csv
import io
import json
import os
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import duckdb
import pytest
from archive_sample import HERE, HOUSE, START, Diary, a_family, a_run, failed, request_for, scored

from archive.__main__ import main
from archive.errors import ArchiveError
from archive.query.query import open_reader, which_archive
from archive.records import Decision, Event, Node
from archive.storage.store import Archive


@pytest.fixture(scope="module")
def sample(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[Node]]:
    path = tmp_path_factory.mktemp("sample") / "a.duckdb"
    with Archive.open(path, clock=lambda: START) as archive:
        diary, nodes = a_family(archive)
        diary.record(scored(request_for(nodes[4], 300, "report"), 7.777))
        archive.decide(Decision("night", "champion", nodes[4].node_id, "3.41 -> 3.08", {"low": 0.1}, START))
        for number in range(30):
            archive.note(Event("night", "note", f"event {number}", START + number))
        empty = Diary(archive, a_run("empty"))
        empty.child(
            operator="seed", text="EVIL = '\x1b]0;owned\x07\x1b[31m'\n\tX = 1\n", idea="\x1b[2J[red]wipe\nnext line"
        )
    return path, nodes


def run(capsys: pytest.CaptureFixture[str], path: Path, *arguments: str) -> tuple[int, str, str]:
    status = main([*arguments, "--archive", str(path)])
    out, err = capsys.readouterr()
    return status, out, err


def shell(*arguments: str | Path, cwd: Path = HOUSE, **environment: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "archive", *map(str, arguments)]
    return subprocess.run(
        command, capture_output=True, text=True, cwd=cwd, env={**os.environ, **environment}, check=False
    )


# ---------------------------------------------------------------- answers


def test_a_table_json_and_csv_say_the_same(capsys: pytest.CaptureFixture[str], sample: tuple[Path, list[Node]]) -> None:
    path, nodes = sample
    sql = "SELECT place, node_id, score, gain_on_root, created_at FROM leaderboard ORDER BY place"
    expected = [nodes[4].node_id, nodes[1].node_id, nodes[0].node_id, nodes[2].node_id]
    _, table, _ = run(capsys, path, sql)
    lines = table.splitlines()
    assert [line.split()[1] for line in lines[2:]] == expected
    assert lines[0].split() == ["place", "node_id", "score", "gain_on_root", "created_at"]
    assert len({line.index("2023-") for line in lines[2:]}) == 1  # aligned
    found = json.loads(run(capsys, path, sql, "--json")[1])
    assert [row["node_id"] for row in found] == expected
    assert found[0]["score"] == pytest.approx(3.05)
    assert found[0]["created_at"].startswith("2023-11-14T22:13:24")
    rows = list(csv.DictReader(io.StringIO(run(capsys, path, "--csv", sql)[1])))
    assert [row["node_id"] for row in rows] == expected
    assert float(rows[0]["score"]) == found[0]["score"]


def test_values_without_a_json_form(capsys: pytest.CaptureFixture[str], sample: tuple[Path, list[Node]]) -> None:
    path, _ = sample
    sql = (
        "SELECT 'nan'::DOUBLE a, NULL b, [1, 2] c, {'x': DATE '2020-01-01'} d, 'a,\"b\n'::VARCHAR e, "
        "1.5::DECIMAL(4,1) f, 'x'::BLOB g"
    )
    (row,) = json.loads(run(capsys, path, sql, "--json")[1])
    assert row == {"a": None, "b": None, "c": [1, 2], "d": {"x": "2020-01-01"}, "e": 'a,"b\n', "f": 1.5, "g": "78"}
    (cells,) = list(csv.reader(io.StringIO(run(capsys, path, sql, "--csv")[1])))[1:]
    assert cells == ["", "", "[1, 2]", '{"x": "2020-01-01"}', 'a,"b\n', "1.5", "78"]


def test_sql_from_standard_input(
    capsys: pytest.CaptureFixture[str], sample: tuple[Path, list[Node]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO("SELECT 40 + 2 AS answer;\n"))
    assert run(capsys, sample[0], "-", "--csv")[1] == "answer\n42\n"


def test_sql_from_a_pipe_needs_no_dash(
    capsys: pytest.CaptureFixture[str], sample: tuple[Path, list[Node]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO("SELECT 40 + 2 AS answer"))
    assert run(capsys, sample[0], "--csv") == (0, "answer\n42\n", "")
    monkeypatch.setattr(sys, "stdin", io.StringIO(""))
    status, _, err = run(capsys, sample[0])
    assert (status, "expected a single SELECT, got an empty statement" in err) == (2, True)


def test_parquet_keeps_the_types(
    capsys: pytest.CaptureFixture[str], sample: tuple[Path, list[Node]], tmp_path: Path
) -> None:
    out = tmp_path / "an 'answer'.parquet"
    sql = (
        "SELECT node_id, score, parents, created_at, NULL::DOUBLE AS none, 1.5::DECIMAL(4,1) AS d, {'a': 1} AS s, "
        "score AS SCORE FROM lineage((SELECT max(node_id) FROM leaderboard)) ORDER BY score"
    )
    status, said, _ = run(capsys, sample[0], sql, "--parquet", str(out))
    expected = open_reader(sample[0]).query(sql)
    assert (status, f"{len(expected.rows)} rows" in said) == (0, True)
    found = duckdb.sql(f"FROM '{str(out).replace(chr(39), chr(39) * 2)}'")
    assert found.fetchall() == expected.rows
    assert [str(kind) for kind in found.types] == list(expected.types)
    assert found.columns[-1] == "SCORE_2"
    assert list(tmp_path.iterdir()) == [out]
    status, _, err = run(capsys, sample[0], "SELECT 1", "--parquet", str(tmp_path / "no" / "where"))
    assert (status, "cannot write" in err) == (1, True)


def test_a_cut_answer_says_so(capsys: pytest.CaptureFixture[str], sample: tuple[Path, list[Node]]) -> None:
    status, out, err = run(capsys, sample[0], "SELECT range FROM range(10001)", "--csv")
    assert (status, len(out.splitlines())) == (0, 10_001)
    assert "cut after 10000 rows" in err


# ---------------------------------------------------------------- short forms


def test_leaderboard(capsys: pytest.CaptureFixture[str], sample: tuple[Path, list[Node]]) -> None:
    path, nodes = sample
    _, out, _ = run(capsys, path, "leaderboard", "--run", "night", "--limit", "2")
    assert [line.split()[1] for line in out.splitlines()[2:]] == [nodes[4].node_id, nodes[1].node_id]
    assert "gain_on_root" in out
    assert json.loads(run(capsys, path, "leaderboard", "--json")[1]) == []  # the run worked on last has no score
    status, _, err = run(capsys, path, "leaderboard", "--run", "day")
    assert status == 1
    assert "no run 'day'" in err
    assert "night" in err


def test_lineage_by_a_start_of_an_id(capsys: pytest.CaptureFixture[str], sample: tuple[Path, list[Node]]) -> None:
    path, nodes = sample
    _, out, _ = run(capsys, path, "lineage", nodes[4].node_id[:9])
    assert [line.split()[0] for line in out.splitlines()[2:]] == [nodes[i].node_id for i in (0, 1, 2, 4)]


def test_an_ambiguous_or_unknown_id_is_explained(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    path = tmp_path / "a.duckdb"
    with Archive.open(path) as archive:
        diary = Diary(archive)
        for number in range(40):
            diary.child(*diary.tree.nodes[:1], idea=f"idea {number}")
        shared = next(
            n.node_id[0] for n in diary.tree.nodes if sum(m.node_id[0] == n.node_id[0] for m in diary.tree.nodes) > 1
        )
    status, _, err = run(capsys, path, "show", shared)
    assert status == 1
    assert "is the start of several ids" in err
    listed = [line.split()[0] for line in err.splitlines()[1:]]
    assert len(listed) > 1
    assert all(line.startswith(shared) or line == "..." for line in listed)
    status, _, err = run(capsys, path, "lineage", "zebra")
    assert (status, "no node has an id that starts with 'zebra'" in err) == (1, True)


def test_show_tells_everything_but_what_the_claim_was_judged_on(
    capsys: pytest.CaptureFixture[str], sample: tuple[Path, list[Node]]
) -> None:
    path, nodes = sample
    _, out, _ = run(capsys, path, "show", nodes[4].node_id)
    for word in (
        nodes[1].node_id,
        nodes[2].node_id,
        "crossover",
        "both",
        "3.05 on val, 2 runs",
        "NODE = 4",
        "3.41 -> 3.08",
    ):
        assert word in out
    facts = json.loads(run(capsys, path, "show", nodes[4].node_id, "--json")[1])
    assert facts["parents"] == [nodes[1].node_id, nodes[2].node_id]
    assert facts["files"] == {"train.py": "NODE = 4\n"}
    assert [(e["purpose"], e["score"]) for e in facts["evaluations"]] == [
        ("screen", 3.0),
        ("screen", 3.1),
        ("report", None),
    ]
    assert "7.77" not in out + json.dumps(facts)
    assert "boom" in run(capsys, path, "show", nodes[3].node_id)[1]


def test_suspects_are_shown_as_such(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    path = tmp_path / "a.duckdb"
    with Archive.open(path) as archive:
        diary, (_, good, _, _, best) = a_family(archive)
        diary.record(failed(request_for(good, 60), "invalid", violation=True, reason="it lied"))
    says = f"descends from {good.node_id[:8]}, found cheating (it lied)"
    assert f"suspect   {says}" in run(capsys, path, "show", best.node_id)[1]
    assert json.loads(run(capsys, path, "show", best.node_id, "--json")[1])["suspect"] == says
    rows = json.loads(run(capsys, path, "leaderboard", "--json")[1])
    assert [(row["place"], row["suspect"]) for row in rows][2:] == [(None, says), (None, "found cheating (it lied)")]
    assert says in run(capsys, path, "lineage", best.node_id)[1]


def test_diff_shows_what_one_text_has_that_the_other_has_not(
    capsys: pytest.CaptureFixture[str], sample: tuple[Path, list[Node]]
) -> None:
    path, nodes = sample
    _, out, _ = run(capsys, path, "diff", nodes[0].node_id[:9], nodes[1].node_id)
    assert "-WIDTH = 64" in out.splitlines()
    assert "+NODE = 1" in out.splitlines()
    assert f"--- {nodes[0].node_id[:8]}/train.py" in out
    assert "have the same text" in run(capsys, path, "diff", nodes[1].node_id, nodes[1].node_id)[1]
    evil = open_reader(path).query("SELECT node_id FROM nodes WHERE run = 'empty'").rows[0][0]
    assert "\x1b" not in run(capsys, path, "diff", nodes[0].node_id, evil)[1]


def test_compare_puts_runs_side_by_side(capsys: pytest.CaptureFixture[str], sample: tuple[Path, list[Node]]) -> None:
    rows = json.loads(run(capsys, sample[0], "compare", "night", "empty", "--json")[1])
    facts = {row["fact"]: (row["night"], row["empty"]) for row in rows}
    assert facts["nodes"] == (5, 1)
    assert facts["leader"] == (sample[1][4].node_id, None)
    status, _, err = run(capsys, sample[0], "compare", "night", "day")
    assert (status, "no run 'day'" in err) == (1, True)


def test_runs_and_events(capsys: pytest.CaptureFixture[str], sample: tuple[Path, list[Node]]) -> None:
    path, nodes = sample
    found = {row["run"]: row for row in json.loads(run(capsys, path, "runs", "--json")[1])}
    assert found["night"]["champion"] == nodes[4].node_id
    events = json.loads(run(capsys, path, "events", "--run", "night", "--limit", "3", "--json")[1])
    assert [event["message"] for event in events] == ["event 27", "event 28", "event 29"]


def test_export_writes_a_branch(
    capsys: pytest.CaptureFixture[str], sample: tuple[Path, list[Node]], tmp_path: Path
) -> None:
    path, nodes = sample
    status, out, err = run(
        capsys, path, "export", nodes[4].node_id[:10], "--branch", "best", "--repo", str(tmp_path / "r")
    )
    assert status == 0, err
    assert "best" in out
    log = subprocess.run(
        ["git", "-C", tmp_path / "r", "rev-list", "--count", "best"], capture_output=True, text=True, check=True
    )
    assert log.stdout.strip() == "4"
    status, _, err = run(capsys, path, "export", nodes[4].node_id, "--branch", "best", "--repo", str(tmp_path / "r"))
    assert status == 1
    assert "best" in err


# ---------------------------------------------------------------- what goes wrong


@pytest.mark.parametrize(
    ("sql", "status"),
    [
        ("DELETE FROM nodes", 2), ("SELECT * FROM read_csv('/etc/passwd')", 2), ("SELECT * FROM sample", 1),
        ("COPY nodes TO '/tmp/treewright-never.csv'", 2), ("ATTACH '/tmp/x.duckdb'", 2), ("LOAD httpfs", 2),
        ("SET memory_limit = '9GB'", 2), ("SELECT 1; SELECT 2", 2), ("SELEKT 1", 1), ("SELECT nothing FROM nodes", 1),
    ],
)  # fmt: skip
def test_sql_that_fails_or_writes_is_one_clear_message(
    capsys: pytest.CaptureFixture[str], sample: tuple[Path, list[Node]], sql: str, status: int
) -> None:
    found, out, err = run(capsys, sample[0], sql)
    assert (found, out) == (status, "")
    assert err.startswith("error: ")
    assert "Traceback" not in err
    if status == 2:
        assert err.count("\n") == 1


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["diff", "abc"], "python -m archive diff: error: the following arguments are required: B"),
        (["diff", "a", "b", "--parquet", "x"], "diff gives no table"),
        (["merge"], "the following arguments are required: OTHER"),
        (["leaderbord"], "did you mean leaderboard?"),
        (["SELECT", "1"], 'python -m archive "SELECT 1"'),
        (["lineage"], "the following arguments are required: ID"),
        (["runs", "x"], "runs does not take x"),
        (["export", "abc"], "one of the arguments --branch --patch --results-tsv --adas is required"),
        (["runs", "--branch", "x"], "runs does not take --branch x"),
        (["events", "--limit", "0"], "whole number from 1"),
        (["export", "--branch", "b", "--patch", "p"], "not allowed with"),
        (["SELECT 1", "--limit", "3"], "sql does not take --limit 3"),
        (["runs", "--timeout", "-1"], "expected seconds above 0"),
        (["show", "abc", "--csv"], "use --json"),
        (["runs", "--csv", "--json"], "not allowed with"),
    ],
)
def test_words_that_make_no_sense_say_what_to_type(
    capsys: pytest.CaptureFixture[str], words: list[str], says: str
) -> None:
    assert main(words) == 2
    assert says in capsys.readouterr().err


def test_a_missing_file_says_where_it_looked_and_what_to_run(tmp_path: Path) -> None:
    done = shell("leaderboard", cwd=tmp_path)
    assert done.returncode == 1
    for words in (str(tmp_path / "treewright.duckdb"), "--archive FILE", "TREEWRIGHT_ARCHIVE", "python -m search"):
        assert words in done.stderr
    assert list(tmp_path.iterdir()) == []  # looking makes no file


def test_a_file_that_is_no_archive(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("hello")
    status, _, err = run(capsys, tmp_path / "a.txt", "runs")
    assert status == 1
    assert "is not a Treewright archive" in err


def test_the_environment_variable_names_the_archive(sample: tuple[Path, list[Node]], tmp_path: Path) -> None:
    done = shell("SELECT count(*) AS n FROM runs", "--json", cwd=tmp_path, TREEWRIGHT_ARCHIVE=str(sample[0]))
    assert json.loads(done.stdout) == [{"n": 2}]


def test_help_names_every_command_with_an_example_and_every_view() -> None:
    text = shell("--help").stdout
    for word in (
        "leaderboard",
        "lineage",
        "show",
        "diff",
        "runs",
        "compare",
        "events",
        "tail",
        "export",
        "merge",
        "check",
    ):
        assert f"python -m archive {word}" in text.split("examples", 1)[1]
    for word in ("progress", "operator_stats", "spending", "failures", "programs", "run_summary", "children", "--csv"):
        assert word in text


def test_files_in_the_current_directory_do_not_shadow_ours(sample: tuple[Path, list[Node]], tmp_path: Path) -> None:
    for name in ("duckdb", "json", "train", "argparse"):
        (tmp_path / f"{name}.py").write_text("raise SystemExit('shadowed')\n")
    done = shell("runs", "--archive", sample[0], cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr


def test_starting_does_not_load_what_is_slow() -> None:
    slow = ["torch", "scipy", "networkx", "numpy", "rich", "psutil", "hydra"]
    code = f"import sys, archive.__main__, archive.cli.summary; print(sorted(set({slow}) & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=HOUSE, check=True)
    assert done.stdout == "[]\n"


def test_a_reader_that_hangs_up_is_no_error(sample: tuple[Path, list[Node]]) -> None:
    query = f"{shlex.quote(sys.executable)} -m archive 'SELECT range FROM range(10000)' --archive {sample[0]}"
    command = f"{query} | head -1; exit ${{PIPESTATUS[0]}}"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, cwd=HOUSE, check=False)
    assert (done.returncode, done.stderr) == (0, "")


# ---------------------------------------------------------------- untrusted text


def test_show_and_errors_are_clean_too(capsys: pytest.CaptureFixture[str], sample: tuple[Path, list[Node]]) -> None:
    path, _ = sample
    (row,) = json.loads(run(capsys, path, "SELECT node_id FROM nodes WHERE run = 'empty'", "--json")[1])
    _, out, _ = run(capsys, path, "show", row["node_id"])
    assert "\x1b" not in out
    assert "\x07" not in out
    assert "\tX = 1" in out  # and the program keeps its shape
    _, _, err = run(capsys, path, "SELECT error((SELECT idea FROM nodes WHERE run = 'empty'))")
    assert "wipe" in err
    assert "\x1b" not in err


# ---------------------------------------------------------------- beside a search

SEARCH = """
import itertools, sys, time
sys.path.insert(0, sys.argv[2])
from archive_sample import Diary
from archive.query.server import SqlServer
from archive.storage.store import Archive
from prepare.output import shortened
with Archive.open(sys.argv[1]) as archive, SqlServer(archive) if sys.argv[3] == "serve" else archive:
    diary = Diary(archive)
    root = diary.child(operator="seed")
    print("ready", flush=True)
    for number in range(100000):
        diary.screened(diary.child(root), 3.0)
        time.sleep(0.002)
"""


@contextmanager
def a_search(path: Path, mode: str) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-c", SEARCH, str(path), str(Path(__file__).parent), mode]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=HOUSE)
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        yield process
    finally:
        process.kill()
        process.wait()
        process.stdout and process.stdout.close()


@pytest.mark.slow
def test_sql_while_another_process_writes_and_after_it_was_killed(tmp_path: Path) -> None:
    path = tmp_path / "a.duckdb"
    count = "SELECT count(*) AS n FROM nodes"
    with a_search(path, "serve") as search:
        reader = open_reader(path)
        seen = [reader.query(count).rows[0][0] for _ in range(10)]
        assert seen == sorted(seen)
        done = shell("leaderboard", "--limit", "3", "--archive", path)
        assert done.returncode == 0, done.stderr
        assert len(done.stdout.splitlines()) == 5
        done = shell("DELETE FROM nodes", "--archive", path)
        assert done.returncode == 2
        while reader.query(count).rows[0][0] <= seen[-1]:  # it goes on writing
            time.sleep(0.01)
        last = reader.query(count).rows[0][0]
        search.send_signal(signal.SIGKILL)
        search.wait()
    assert (path.parent / "a.duckdb.sock").exists()
    assert (path.parent / "a.duckdb.wal").exists()
    assert reader.query(count).rows[0][0] >= last  # read-only, from the file and its log
    with Archive.open(path) as archive:  # which the reader has let go of
        tree = archive.tree(a_run(), HERE)
        assert len(tree) >= last
        archive.record(failed(request_for(tree.nodes[0], 7)))


@pytest.mark.slow
def test_a_writer_that_serves_nobody_is_named(tmp_path: Path) -> None:
    path = tmp_path / "a.duckdb"
    with a_search(path, "silent") as search:
        done = shell("runs", "--archive", path)
    assert done.returncode == 1
    assert f"process {search.pid} (" in done.stderr
    assert "does not answer SQL" in done.stderr


@pytest.mark.parametrize("name", ["folder/", ":memory:", "~nobody_here/a.duckdb", "a\0b"])
def test_what_is_no_name_of_a_file_is_no_archive(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for use in (which_archive, Archive.open):
        with pytest.raises(ArchiveError, match="is no name of an archive; expected that of a file"):
            use(name)  # type: ignore[operator]
    assert list(tmp_path.iterdir()) == []


def test_links_without_an_end_and_pipes_are_no_archives(tmp_path: Path) -> None:
    (tmp_path / "loop").symlink_to("loop")
    os.mkfifo(tmp_path / "pipe")
    for use in (which_archive, Archive.open):
        for name, words in (("loop", "links lead to each other"), ("pipe", "expected the name of a file")):
            with pytest.raises(ArchiveError, match=words):
                use(str(tmp_path / name))  # type: ignore[operator]
