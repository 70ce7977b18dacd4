"""What an exported branch says: messages, trailers, README, and the commands to type next."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from export_book import TASK, Book, git

from archive.export.export import export_lineage, what_to_type
from archive.query.tables import one_line

pytestmark = pytest.mark.usefixtures("alone")


def trailers(repo: Path, commit: str) -> list[str]:
    return git(repo, "log", "-1", "--format=%(trailers:only,unfold)", commit).strip().splitlines()


def test_the_message_has_score_claim_and_trailers(family: Book, repo: Path) -> None:
    export_lineage(family, None, "best", repo)
    body = git(repo, "log", "-1", "--format=%b", "best")
    assert "val_bpb 3.1 bpb (mean of 2 screening runs on val; lower is better)" in body.replace("\n", " ")
    assert "Champion: the interval excludes zero\n" in body
    figures = ["baseline: 3.41, 3.43", "champion: 3.08, 3.1", "gain: 0.33", "low: 0.3", "high: 0.36", "dof: 2"]
    assert [line.strip() for line in body.splitlines() if line.startswith("  ")] == figures
    assert trailers(repo, "best") == [
        "Treewright-Node: d",
        "Treewright-Run: night",
        "Treewright-Operator: crossover",
        "Treewright-Score: 3.1",
        "Treewright-Interval: 2.78234 to 3.41766 (95%, 2 runs)",
        "Treewright-Metric: val_bpb",
        "Treewright-Seeds: 0, 1",
        "Treewright-Parent: b",
        "Treewright-Parent: c",
    ]
    assert git(repo, "log", "-1", "--format=%(trailers:key=Treewright-Score,valueonly)", "best").strip() == "3.1"
    text = git(repo, "show", "best:shakespeare/README.md")
    assert "val_bpb 3.1 bpb (mean of 2 screening runs on val" in text
    assert "    Champion: the interval excludes zero" in text
    assert "cd shakespeare && python -m prepare && python train.py" in text


@pytest.mark.parametrize(
    ("corpus", "libraries"),
    [("climbmix.ClimbMix", "torch numpy rustbpe duckdb"), ("corpora.Folder", "torch numpy rustbpe")],
)
def test_the_readme_installs_what_the_data_ask_for(repo: Path, corpus: str, libraries: str) -> None:
    book = Book()
    book.run(task={**TASK, "encoding": "tokens", "corpus": {"_target_": f"prepare.{corpus}"}})
    book.node("a")
    export_lineage(book, "a", "best", repo)
    assert f"    pip install {libraries}\n" in git(repo, "show", "best:shakespeare/README.md")


def test_an_exported_task_finds_its_text_from_any_folder(
    repo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "my texts").mkdir()
    monkeypatch.chdir(tmp_path)
    book = Book()
    book.run(
        task={**TASK, "corpus": {"_target_": "prepare.data.corpora.Folder", "path": "my texts", "roots": ["none"]}}
    )
    book.node("a")
    export_lineage(book, "a", "best", repo)
    corpus = json.loads(git(repo, "show", "best:shakespeare/task.json"))["corpus"]
    assert (corpus["path"], corpus["roots"]) == (str(tmp_path / "my texts"), ["none"])


def test_failures_and_missing_scores_are_words(family: Book, repo: Path) -> None:
    family.node("e", "a")
    family.score("e", None)
    export_lineage(family, "c", "c", repo)
    assert "3.3 bpb (1 screening run on val; lower is better; failed: 1 crashed)" in git(
        repo, "log", "-1", "--format=%b", "c"
    ).replace("\n", " ")
    export_lineage(family, "e", "e", repo)
    assert "No screening score on val" in git(repo, "log", "-1", "--format=%b", "e")
    assert "(1 crashed)" in git(repo, "log", "-1", "--format=%b", "e").replace("\n", " ")
    assert not any(line.startswith(("Treewright-Score", "Treewright-Seeds")) for line in trailers(repo, "e"))


def test_scores_of_other_conditions_and_purposes_do_not_count(family: Book, repo: Path) -> None:
    family.score("d", 1.5, hardware="gpu")  # now the run's present conditions
    family.score("d", 0.25, hardware="gpu", purpose="confirm", split="select")
    export_lineage(family, "d", "best", repo)
    assert "Treewright-Score: 1.5" in trailers(repo, "best")
    assert "Treewright-Score" not in git(repo, "log", "-1", "best^1")


@pytest.mark.slow
@pytest.mark.parametrize(
    "idea",
    [
        "wider\n\nTreewright-Score: 0.001\nTreewright-Node: forged",
        "Treewright-Score: 0.001",
        "wider\r\rTreewright-Score: 0.001",
        "wider\x0b\x0cTreewright-Score: 0.001\x85Treewright-Score: 0.001\u2028Treewright-Score: 0.001",
        "Signed-off-by: Somebody <s@example.org>",
        "\x1b]0;title\x07\x1b[2J\x1b[31mwider\x1b[0m \x9b31m",
        "evil \u202e txet \u200b\u2066 \ud7ff \x00 \x7f",
        "data 5\ndone\nreset refs/heads/main\n",
        "x" * 5000,
        "Treewright-Score: 0.001 " * 100,
        " \n\t ",
    ],
)
def test_ideas_and_operators_forge_nothing(idea: str, repo: Path) -> None:
    book = Book()
    book.run()
    book.node("a", idea=idea, operator=f"tune{idea}"[:150])
    book.score("a", 3.5)
    main = git(repo, "rev-parse", "main")
    done = export_lineage(book, "a", "best", repo)
    raw = git(repo, "log", "-1", "--format=%B", "best")
    lines = raw.splitlines()
    ours = [line for line in lines if re.match(r"[A-Za-z0-9-]+\s*:", line)]
    assert [line.split(":")[0] for line in ours if line.startswith(("Treewright", "Signed"))] == [
        "Treewright-Node", "Treewright-Run", "Treewright-Operator", "Treewright-Score", "Treewright-Metric",
        "Treewright-Seeds",
    ]  # fmt: skip
    assert trailers(repo, "best") == ours[-6:]
    assert "Treewright-Score: 3.5" in ours
    assert raw.replace("\n", "").isprintable()
    assert 0 < len(lines[0]) <= 102
    assert lines[1] == ""
    assert git(repo, "show", "best:shakespeare/README.md").replace("\n", "").isprintable()
    assert git(repo, "rev-parse", "main") == main
    assert git(repo, "rev-parse", "best").strip() == done.tip


def test_a_long_idea_is_whole_in_the_body(repo: Path) -> None:
    book = Book()
    book.run()
    idea = " ".join(f"word{i}" for i in range(60))
    book.node("a", idea=idea)
    export_lineage(book, "a", "best", repo)
    subject, body = git(repo, "log", "-1", "--format=%s", "best"), git(repo, "log", "-1", "--format=%b", "best")
    assert subject.strip().endswith("…")
    quoted = " ".join(line.removeprefix("> ") for line in body.splitlines() if line.startswith("> "))
    assert quoted == idea


def test_one_line() -> None:
    assert one_line("a\x1b[1;31mb\x1b[0m\n c\td", 80) == "a b c d"
    assert one_line("abcdef", 4) == "abc…"
    assert one_line("né 漢字", 80) == "né 漢字"


def test_what_to_type_works_as_written(family: Book, tmp_path: Path) -> None:
    place = tmp_path / "new place"
    done = export_lineage(family, None, "best", place)
    commands = [line.strip() for line in what_to_type(done).splitlines() if line.startswith("  ")]
    python = "python" if shutil.which("python") == sys.executable else shlex.quote(sys.executable)
    assert commands[-1].endswith(f"&& {python} -m prepare && {python} train.py")
    typed = " && ".join([*commands[:2], commands[2].split(" && ")[0], "ls"])
    shown = subprocess.run(["sh", "-c", typed], capture_output=True, text=True, check=True, env={**os.environ})
    assert shown.stdout.splitlines()[-4:] == ["README.md", "prepare", "task.json", "train.py"]


def test_a_program_that_trains_nothing_is_exported_alone(repo: Path) -> None:
    """The task's own folder is untracked in the repository: git refuses to check out files of the same names."""
    book = Book()
    book.run(task={"name": "packing", "metric": TASK["metric"], "workspace": {"editable": ["pack.py"]}})
    book.node("a", files={"pack.py": "ROWS = 2\n"})
    (repo / "packing").mkdir()
    (repo / "packing" / "pack.py").write_text("ROWS = 1\n")
    done = export_lineage(book, "a", "best", repo)
    assert git(repo, "ls-tree", "-r", "--name-only", "best").split() == ["packing/README.md", "packing/pack.py"]
    said = what_to_type(done)
    assert "train.py" not in said
    commands = [line.strip() for line in said.splitlines() if line.startswith("  ")]
    shown = subprocess.run(["sh", "-c", " && ".join(commands[1:])], capture_output=True, text=True, check=True)
    assert "python -m search evaluate . task=FOLDER" in shown.stdout
    assert "`pack.py`" in shown.stdout
    assert "torch" not in shown.stdout


def test_what_to_type_in_a_bare_repository(family: Book, tmp_path: Path) -> None:
    git(tmp_path, "init", "-q", "--bare", "store.git")
    done = export_lineage(family, None, "best", tmp_path / "store.git")
    commands = [line.strip() for line in what_to_type(done).splitlines() if line.startswith("  ")]
    typed = " && ".join([commands[1], commands[2].split(" && ")[0], "ls"])
    shown = subprocess.run(["sh", "-c", typed], capture_output=True, text=True, check=True)
    assert "train.py" in shown.stdout.split()


def test_results_as_those_of_autoresearch(tmp_path: Path) -> None:
    from archive_sample import a_family

    from archive.export.results import results_tsv
    from archive.query.query import open_reader
    from archive.storage.store import Archive

    with Archive.open(tmp_path / "a.duckdb") as archive:
        a_family(archive)
    reader = open_reader(tmp_path / "a.duckdb")
    head, *lines = (line.split("\t") for line in results_tsv(reader, None).splitlines())
    ((metric,),) = reader.query("SELECT metric FROM runs").rows
    assert head == ["commit", metric, "memory_gb", "status", "description"]
    assert {len(line) for line in lines} == {5}
    assert lines[0][3] == "keep"
    kept = [float(line[1]) for line in lines if line[3] == "keep"]
    assert kept == sorted(kept, reverse=True)
    assert all(line[1] == "0.000000" for line in lines if line[3] == "crash")
