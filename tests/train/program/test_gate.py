"""The gate of programs: names, sizes, blocks, syntax."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from prepare.program import ProgramLimits, ProgramTask, Workspace
from prepare.task import Metric
from train.program.gate import MOST_FILES, refuse

SEED = {"src/main.c": "int main(void) { return 0; }\n", "conf.json": '{"rate": 1}\n', "tool.py": "x = 1\n"}
TASK = ProgramTask(
    name="t",
    folder="/nowhere",
    metric=Metric("score", "maximise"),
    workspace=Workspace(("src/**/*", "*.json", "*.yaml", "*.toml", "*.py")),
    seconds=1.0,
    scorer="score.py",
    limits=ProgramLimits(source_kb=1),
)


def refused(files: dict[str, str], **changes: Any) -> str:
    return refuse(replace(TASK, **changes), SEED, files) or ""


@pytest.mark.parametrize(
    "files",
    [
        SEED,
        {"src/new/deep/er.c": "x"},
        {"src/main.c": "int main(void) {"},  # no parser for C
        {"src/ü ö.c": "x", "a.yaml": "a: [1, 2]\n", "b.toml": "a = 1\n", "c.json": "[]"},
        {"src/data.txt": "y" * 1000},
    ],
)
def test_accepted(files: dict[str, str]) -> None:
    assert refused(files) == ""


@pytest.mark.parametrize(
    ("files", "reason"),
    [
        ({}, "0 files"),
        ({f"src/{n}": "" for n in range(MOST_FILES + 1)}, "1001 files"),
        ({"other.c": "x"}, "not among the files that may change"),
        ({"score.cfg": "x"}, "not among"),
        ({"/etc/a.json": "{}"}, "file name"),
        ({"src/../a.json": "{}"}, "file name"),
        ({"src/./a": "x"}, "file name"),
        ({"src//a": "x"}, "file name"),
        ({"src/": "x"}, "file name"),
        ({"src/a\nb": "x"}, "file name"),
        ({"src/a\u202eb": "x"}, "file name"),
        ({"src/a\\b": "x"}, "file name"),
        ({"src/a ": "x"}, "file name"),
        ({"src/\ud800": "x"}, "file name"),
        ({"src/" + "ü" * 200: "x"}, "file name"),
        ({"src/" + "a/" * 600 + "b": "x"}, "file name"),
        ({"src/A": "x", "src/a": "y"}, "one file where case does not matter"),
        ({"src/é": "x", "src/e\u0301": "y"}, "one file"),
        ({"src/A": "x", "src/a/b": "y"}, "is a file, and a folder"),
        ({"src/main.c": "\ud800"}, "half of a character"),
        ({"src/a": "x" * 600, "src/b": "ä" * 201}, "1,002 bytes; 1,000 are allowed"),
        ({"tool.py": "x = (\n"}, "tool.py line 1"),
        ({"tool.py": "x = 1\0"}, "tool.py"),
        ({"tool.py": "# coding: latin-1\n"}, "encoding"),
        ({"conf.json": '{"rate": 1,}'}, "conf.json does not parse"),
        ({"new.json": "{"}, "new.json does not parse"),
        ({"a.yaml": "a: [1"}, "a.yaml does not parse"),
        ({"a.yaml": '"\\UFFFFFFFF"'}, "a.yaml does not parse"),
        ({"a.toml": "a = "}, "a.toml does not parse"),
        ({"a.json": "[" * 900}, "a.json does not parse"),
    ],
)
def test_refused(files: dict[str, str], reason: str) -> None:
    assert reason in refused(files)


def test_a_data_file_may_stay_as_broken_as_the_seed() -> None:
    seed = {"conf.json": "// comment\n{}"}
    assert refuse(TASK, seed, {"conf.json": "// another\n{}"}) is None
    assert refuse(TASK, seed, {"other.json": "// another\n{}"}) is not None


def test_text_outside_of_blocks_stays() -> None:
    seed = {"src/a.c": "int a;\n// EVOLVE-BLOCK-START\nint b;\n// EVOLVE-BLOCK-END\nint c;\n", "src/b.c": "int d;\n"}
    task = replace(TASK, evolve_blocks=True)
    inside = {**seed, "src/a.c": seed["src/a.c"].replace("b;", "b, bb;\nint e;")}
    assert refuse(task, seed, inside) is None
    outside = {**seed, "src/a.c": seed["src/a.c"].replace("int c", "int  c")}
    assert "differs from the seed outside of its blocks, in line 2 after block 1" in (refuse(task, seed, outside) or "")
    assert "src/b.c is missing" in (refuse(task, seed, {"src/a.c": seed["src/a.c"]}) or "")
    assert "src/n.c is new" in (refuse(task, seed, {**seed, "src/n.c": "x"}) or "")
    assert refuse(replace(task, evolve_blocks=False), seed, outside) is None
