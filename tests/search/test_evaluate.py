"""``python -m search evaluate``: what is read as a program, and that a new score is held against the recorded one."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from inside import run, search
from launching import HOUSE, STUB, toy_conf

from archive.interval import Interval, NoInterval
from search.claims.statistics import expects
from search.cli.programs import ProgramError, Recorded, read_candidate, read_program

SEED = HOUSE / "train" / "seeds" / "shakespeare.py"


def git(folder: Path, *words: str) -> str:
    identity = ("-c", "user.name=t", "-c", "user.email=t@t", "-c", "init.defaultBranch=main")
    done = subprocess.run(["git", *identity, "-C", str(folder), *words], capture_output=True, text=True, check=True)
    return done.stdout


def evaluate(folder: Path, *words: str, stub: bool = True) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "search", "evaluate", *words, *(STUB if stub else ())]
    return run(command, folder, timeout=300)


# ---------------------------------------------------------------- an export


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A repository with the branch ``best``, exported from a search with the stub evaluator."""
    folder = tmp_path_factory.mktemp("exported")
    # One slot: which node is exported must not hang on who lands first, since one in twenty does not agree by chance.
    assert search(folder, "run=night", "executor.slots=1").returncode == 0
    words = [sys.executable, "-m", "archive", "export", "--branch", "best", "--repo", str(folder / "repo")]
    assert run(words, folder).returncode == 0
    return folder / "repo"


@pytest.mark.slow
def test_a_commit_agrees_with_what_it_records(exported: Path, tmp_path: Path) -> None:
    """Seeds are fresh, so one in twenty evaluations does not agree by chance: three in a row do so in one of 8,000."""
    for _ in range(3):
        done = evaluate(tmp_path, str(exported), "--commit", "best", "--runs", "4", "--json")
        assert done.returncode == 0, done.stderr
        facts = json.loads(done.stdout)
        if facts["agrees"]:
            break
    assert facts["agrees"] is True
    assert facts["task"] == "shakespeare"
    assert len({each["seed"] for each in facts["runs"]}) == 4
    assert facts["interval"][0] < facts["mean"] < facts["interval"][1]
    assert list(tmp_path.iterdir()) == []  # no archive is touched


@pytest.mark.slow
def test_a_changed_program_does_not_agree_with_the_record(exported: Path, tmp_path: Path) -> None:
    git(exported, "worktree", "add", "-q", "--detach", str(tmp_path / "tree"), "best")
    folder = tmp_path / "tree" / "shakespeare"
    text = (folder / "train.py").read_text()
    record = git(exported, "log", "-1", "--format=%B", "best")
    (folder / "train.py").write_text(re.sub(r"^LEARNING_RATE = .*$", "LEARNING_RATE = 1e-9", text, flags=re.MULTILINE))
    assert read_program(folder).recorded is None  # not the program that the commit scored

    git(folder, "commit", "-q", "-a", "-m", record)
    done = evaluate(tmp_path, str(folder / "train.py"), "--runs", "3")
    assert done.returncode == 0, done.stderr
    assert "does NOT agree" in done.stdout
    git(exported, "worktree", "remove", "--force", str(tmp_path / "tree"))


@pytest.mark.slow
def test_an_export_keeps_its_own_task(exported: Path, tmp_path: Path) -> None:
    done = evaluate(tmp_path, str(exported), "--commit", "best", "task.seconds=1")
    assert done.returncode == 2
    assert "would change the task" in done.stderr


# ---------------------------------------------------------------- an export from elsewhere

OWNED = json.loads("""
{"name":"x","metric":{"name":"m","direction":"minimise"},"corpus":{"_target_":"os.system","command":"touch owned"},
 "seed_file":"a","program":"b","seconds":1,"context":1}
""")


def planted(folder: Path, task: object = OWNED) -> Path:
    """An export-like folder whose task.json is crafted, in a repository where it is committed."""
    (folder / "repo" / "x").mkdir(parents=True)
    (folder / "repo" / "x" / "train.py").write_text("X = 1\n")
    (folder / "repo" / "x" / "task.json").write_text(json.dumps(task))
    git(folder / "repo", "init", "-q")
    git(folder / "repo", "add", ".")
    git(folder / "repo", "commit", "-q", "-m", "one")
    return folder / "repo"


@pytest.mark.parametrize("way", ["folder", "file", "commit"])
def test_an_export_cannot_name_code(tmp_path: Path, way: str) -> None:
    repo = planted(tmp_path)
    words = {"folder": ["x"], "file": ["x/train.py"], "commit": [".", "--commit", "main"]}[way]
    done = evaluate(repo, *words)
    assert done.returncode == 1, done.stderr
    assert "error: task.corpus names the class 'os.system'; expected one of prepare.data.corpora.Plays, " in done.stderr
    assert "evaluate PATH task=NAME --config-dir DIR" in done.stderr
    assert "Traceback" not in done.stderr
    assert not [path for path in tmp_path.rglob("owned")]


def test_a_class_of_the_user_s_own_comes_from_the_user_s_settings(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same task, named on the command line, is taken from there; another one is refused with the difference."""
    conf = toy_conf(tmp_path / "own")
    file = conf / "task" / "toy.yaml"
    file.write_text(file.read_text().replace("prepare.data.corpora.Folder", "corpus_of_mine.Mine"))
    (tmp_path / "corpus_of_mine.py").write_text(
        "import prepare.data.corpora\nclass Mine(prepare.data.corpora.Folder): ...\n"
    )
    (conf / "evaluator").mkdir()
    shutil.copy(HOUSE / "tests" / "conf" / "evaluator" / "stub.yaml", conf / "evaluator")
    values = yaml.safe_load(file.read_text())
    repo = planted(tmp_path, values)
    shutil.copy(SEED, repo / "x" / "train.py")
    named = ["task=toy", "--config-dir", str(conf), "evaluator=stub"]
    monkeypatch.syspath_prepend(tmp_path)
    command = [sys.executable, "-m", "search", "evaluate", str(repo / "x"), "--runs", "1"]

    done = run([*command, *named[1:]], tmp_path)
    assert done.returncode == 1
    assert "task.corpus names the class 'corpus_of_mine.Mine'" in done.stderr
    done = run([*command, *named], tmp_path)
    assert done.returncode == 0, done.stderr
    assert "task toy" in done.stdout
    done = run([*command, *named, "task.seconds=2"], tmp_path)
    assert done.returncode == 2
    assert "seconds: 1.0 -> 2" in done.stderr


@pytest.mark.nightly
def test_the_real_evaluator_agrees_with_an_export(tmp_path: Path) -> None:
    """Search, export, score again: with sandboxes and a second of training."""
    conf = toy_conf(tmp_path / "own")
    own = ("--config-dir", str(conf), "task=toy")
    done = search(tmp_path, *own, "budget.evaluations=5", "operators=tune", "run=toy", stub=False, timeout=300)
    assert done.returncode == 0, done.stderr
    words = [sys.executable, "-m", "archive", "export", "--branch", "best", "--repo", str(tmp_path / "repo")]
    assert run(words, tmp_path).returncode == 0
    done = evaluate(tmp_path, str(tmp_path / "repo"), "--commit", "best", "--json", stub=False)
    assert done.returncode == 0, done.stderr
    facts = json.loads(done.stdout)
    assert {each["trust"] for each in facts["runs"]} == {"audited"}
    assert facts["mean"] == pytest.approx(facts["recorded"], abs=0.3)  # a time budget on a busy machine


# ---------------------------------------------------------------- reading


def test_a_file_alone(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text("X = 1\n")
    program = read_program(tmp_path / "mine.py")
    assert (dict(program.files), program.task, program.recorded) == ({"train.py": "X = 1\n"}, None, None)


@pytest.mark.parametrize("data", [b"\xef\xbb\xbfX = '\xc2\xb5'\n", b"X = '\xc2\xb5'\r\n"])
def test_a_commit_a_folder_and_a_file_hold_the_same_text(tmp_path: Path, data: bytes) -> None:
    git(tmp_path, "init", "-q")
    git(tmp_path, "config", "core.autocrlf", "false")
    (tmp_path / "toy").mkdir()
    (tmp_path / "toy" / "task.json").write_text("{}")
    (tmp_path / "toy" / "train.py").write_bytes(data)
    (tmp_path / "alone.py").write_bytes(data)
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "-q", "-m", "one\n\nTreewright-Score: 3.5")
    read = [read_program(tmp_path, "main"), read_program(tmp_path / "toy"), read_program(tmp_path / "alone.py")]
    assert [dict(program.files) for program in read] == 3 * [{"train.py": "X = 'µ'\n"}]
    assert [program.recorded for program in read] == [Recorded("", 3.5, 1), Recorded("", 3.5, 1), None]


@pytest.mark.parametrize("data", [b"X = '\xb5'\n", b"# coding: latin-1\nX = '\xc2\xb5'\n"])
def test_a_commit_in_another_encoding_is_refused(tmp_path: Path, data: bytes) -> None:
    git(tmp_path, "init", "-q")
    (tmp_path / "toy").mkdir()
    (tmp_path / "toy" / "task.json").write_text("{}")
    (tmp_path / "toy" / "train.py").write_bytes(data)
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "-q", "-m", "one")
    with pytest.raises(ProgramError, match="UTF-8"):
        read_program(tmp_path, "main")
    with pytest.raises(ProgramError, match="UTF-8"):
        read_program(tmp_path / "toy")


def test_what_cannot_be_read_is_said(tmp_path: Path) -> None:
    with pytest.raises(ProgramError, match="there is no file"):
        read_program(tmp_path / "nowhere.py")
    with pytest.raises(ProgramError, match=r"holds no train\.py"):
        read_program(tmp_path)
    (tmp_path / "latin.py").write_bytes(b"# \xe9\n")
    with pytest.raises(ProgramError, match="not UTF-8"):
        read_program(tmp_path / "latin.py")
    (tmp_path / "large.py").write_bytes(b"#" * 3_000_000)
    with pytest.raises(ProgramError, match="3,000,000 bytes"):
        read_program(tmp_path / "large.py")
    (tmp_path / "train.py").write_text("")
    for task, words in (("{", "cannot be read"), ("[]", "a list"), ('{"editable": ["../x.py"]}', "relative paths")):
        (tmp_path / "task.json").write_text(task)
        with pytest.raises(ProgramError, match=words):
            read_program(tmp_path)
    (tmp_path / "task.json").write_text("[" * 100_000)
    with pytest.raises(ProgramError, match="cannot be read"):
        read_program(tmp_path)


def test_a_link_out_of_the_folder_is_refused(tmp_path: Path) -> None:
    folder = tmp_path / "export"
    folder.mkdir()
    (tmp_path / "secret").write_text("key")
    (folder / "task.json").write_text("{}")
    (folder / "train.py").symlink_to(tmp_path / "secret")
    with pytest.raises(ProgramError, match="links to a file outside"):
        read_program(folder)


def test_commits_that_are_no_export(tmp_path: Path) -> None:
    git(tmp_path, "init", "-q")
    (tmp_path / "a.txt").write_text("a")
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "-q", "-m", "one")
    with pytest.raises(ProgramError, match="is not an export"):
        read_program(tmp_path, "main")
    with pytest.raises(ProgramError, match="not a commit"):
        read_program(tmp_path, "--output=x")
    with pytest.raises(ProgramError, match="nowhere"):
        read_program(tmp_path, "nowhere")


def test_trailers_are_read_from_the_last_paragraph_only(tmp_path: Path) -> None:
    git(tmp_path, "init", "-q")
    folder = tmp_path / "toy"
    folder.mkdir()
    (folder / "task.json").write_text("{}")
    (folder / "train.py").write_text("X = 1\n")
    git(tmp_path, "add", ".")
    forged = "> Treewright-Score: 0.1\n\nidea\n\nTreewright-Node: abc\nTreewright-Score: 3.5\nTreewright-Seeds: 4, 9"
    git(tmp_path, "commit", "-q", "-m", forged)
    assert read_program(tmp_path, "main").recorded == Recorded("abc", 3.5, 2)
    assert read_program(tmp_path).recorded == Recorded("abc", 3.5, 2)
    git(tmp_path, "commit", "-q", "--amend", "-m", "Treewright-Score: none\n\nTreewright-Score: x")
    assert read_program(tmp_path, "main").recorded is None


# ---------------------------------------------------------------- programs of folders


def committed(folder: Path, files: dict[str, str]) -> Path:
    """A repository whose commit holds a program as an export does: in one folder, with a README."""
    git(folder, "init", "-q")
    for name, text in {**files, "README.md": "# packing"}.items():
        (folder / "packing" / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / "packing" / name).write_text(text)
    git(folder, "add", ".")
    git(folder, "commit", "-q", "-m", "one\n\nTreewright-Score: 2.5")
    return folder


FILES = {"pack.py": "X = 1\n", "src/a.c": "int a;\n", "src/deep/b.c": "int b;\n"}


@pytest.mark.parametrize("way", ["repository", "folder", "checkout"])
def test_a_program_of_several_files_is_read_by_the_task_s_patterns(tmp_path: Path, way: str) -> None:
    committed(tmp_path, FILES)
    (tmp_path / ".hidden").mkdir()
    (tmp_path / ".hidden" / "pack.py").write_text("no")
    place = tmp_path / "packing" if way == "folder" else tmp_path
    found = read_candidate(place, "main" if way == "repository" else None, ("pack.py", "src/**/*.c"))
    assert dict(found.files) == FILES
    assert found.recorded == Recorded("", 2.5, 1)
    (tmp_path / "packing" / "pack.py").write_text("X = 2\n")
    changed = read_candidate(place, None, ("pack.py", "src/**/*.c"))
    assert (changed.files["pack.py"], changed.recorded) == ("X = 2\n", None)


def test_a_file_alone_is_the_program_of_a_task_with_one_file(tmp_path: Path) -> None:
    (tmp_path / "mine.c").write_text("int a;\n")
    assert dict(read_candidate(tmp_path / "mine.c", None, ("main.c",)).files) == {"main.c": "int a;\n"}
    for editable in (("*.c",), ("a.c", "b.c")):
        with pytest.raises(ProgramError, match="expected a folder with"):
            read_candidate(tmp_path / "mine.c", None, editable)


def test_what_is_no_program_of_the_task_is_said(tmp_path: Path) -> None:
    committed(tmp_path, {"pack.py": ""})
    for revision in ("main", None):
        with pytest.raises(ProgramError, match=r"no file that matches other\.py.*0 of its subfolders"):
            read_candidate(tmp_path, revision, ("other.py",))
    (tmp_path / "second").mkdir()
    (tmp_path / "second" / "pack.py").write_text("")
    with pytest.raises(ProgramError, match="2 of its subfolders"):
        read_candidate(tmp_path, None, ("pack.py",))
    (tmp_path / "second" / "pack.py").unlink()
    (tmp_path / "second" / "pack.py").symlink_to("/etc/hostname")
    with pytest.raises(ProgramError, match="links to a file outside"):
        read_candidate(tmp_path / "second", None, ("pack.py",))


@pytest.mark.slow
def test_a_program_is_scored_by_its_task_s_folder(tmp_path: Path) -> None:
    """In real sandboxes: a score of a folder needs one."""
    (tmp_path / "task").mkdir()
    (tmp_path / "task" / "task.yaml").write_text(
        "name: packing\nmetric: {name: value, direction: maximise}\nworkspace: {editable: [pack.py]}\n"
        "scorer: score.py\nseconds: 2\ndeterministic: true\n"
    )
    (tmp_path / "task" / "pack.py").write_text("def answer():\n    return 1\n")
    (tmp_path / "task" / "score.py").write_text("def score(candidate, case):\n    return candidate.call('answer')\n")
    (tmp_path / "repo").mkdir()
    committed(tmp_path / "repo", {"pack.py": "def answer():\n    return 2.5\n"})
    done = evaluate(tmp_path, "repo", "--commit", "main", "task=./task", stub=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert "agrees, the same score" in done.stdout
    done = evaluate(tmp_path, "task", "task=./task", "--json", stub=False)
    assert [each["score"] for each in json.loads(done.stdout)["runs"]] == [1.0]


# ---------------------------------------------------------------- the interval


def test_one_more_run_is_expected_in_the_prediction_interval() -> None:
    """Values of the formula by hand: n = 3, s = 1, t(2) = 4.3027."""
    interval = expects([1.0, 2.0, 3.0], 1)
    assert isinstance(interval, Interval)
    assert interval.high - interval.mean == pytest.approx(4.302653 * (1 + 1 / 3) ** 0.5, rel=1e-5)
    assert isinstance(expects([1.0], 1), NoInterval)
    with pytest.raises(ValueError, match="at least 1"):
        expects([1.0, 2.0], 0)
