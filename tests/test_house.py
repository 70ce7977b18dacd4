"""The house rules, read from the syntax trees: imports point one way, files stay short, nothing is called utils."""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

HOUSE = Path(__file__).resolve().parent.parent
MAY_IMPORT = {
    "search": {"search", "operators", "train", "archive", "prepare", "conf"},
    "operators": {"operators", "archive", "prepare"},
    "train": {"train", "archive", "prepare"},
    "archive": {"archive", "prepare"},
    "prepare": {"prepare"},
    "conf": {"conf", "prepare"},
}
LAYERS = {
    "search": "adopt attack config function_task words < claims settings < policies < run "
    "< display factory observers playing < api study < cli",
    "search.policies": "base tree_cache validation < credit selection < phases population < composition",
    "operators": "base languages sanitize < llm numeric < config rewrite < factory recombine seed_agents",
    "operators.rewrite": "answers prompt < conversation < operator < debug draft improve "
    "< agent hybrid reflexion simplify",
    "train": "faults hardware progress < sandbox < executors language_model program",
    "archive": "errors holm interval llm_calls records research_ideas < difference noise steering < bootstrap tree "
    "< storage < query < export paper report < cli",
    "prepare": "best_known blocks bubblewrap clock command_line globs json_text model_limits output overrides paths "
    "presets renamed scorer scoring session source syntax < values wire "
    "< data items known metric_lines smoke_test < config files task < language_model program < task_folders < compose "
    "< load < standalone",
}
"""Modules and sub-packages of a package: each may import those of the layers before it, and none of its own layer."""
ENTRY_POINTS = {"__init__", "__main__"}
PLAYING = HOUSE / "conf" / "task" / "self"
"""Tasks that improve this project: their scorers play searches, in processes of their own."""
SEED_MAY_IMPORT = sys.stdlib_module_names | {"prepare", "torch", "numpy"}
SANDBOX_MAY_IMPORT = sys.stdlib_module_names | {
    "prepare", "confine", "worker_process", "torch", "safetensors", "numpy",
}  # fmt: skip
MOST_LINES = 500


def imported(text: str, package: str = "") -> Iterator[str]:
    """Dotted names of all imports at any depth, also of ``import_module("name")``; relative ones below ``package``."""
    for node in ast.walk(ast.parse(text)):
        match node:
            case ast.Import(names=names):
                yield from (alias.name for alias in names)
            case ast.ImportFrom(module=module, names=names, level=level):
                parts = package.split(".")[: len(package.split(".")) - level + 1] if level else []
                base = ".".join([*parts, module] if module else parts)
                yield from (f"{base}.{alias.name}" for alias in names)
            case ast.Call(
                func=ast.Name(id=name) | ast.Attribute(attr=name), args=[ast.Constant(value=str(target)), *_]
            ):
                if name in ("import_module", "__import__"):
                    yield target


def strangers(text: str, room: str) -> set[str]:
    """Our rooms that this module of ``room`` imports and may not. A relative import cannot leave its room."""
    return ({name.partition(".")[0] for name in imported(text, room)} & MAY_IMPORT.keys()) - MAY_IMPORT[room]


def seeds_imported(text: str, package: str) -> set[str]:
    if "seeds" not in text:
        return set()
    return {name for name in imported(text, package) if f"{name}.".startswith("train.seeds.")}


def modules(room: str) -> list[Path]:
    found = sorted((HOUSE / room).rglob("*.py"))
    assert found, f"{room}/ is empty: is the house where this test looks for it?"
    return found


def is_seed(path: Path) -> bool:
    return path.parent == HOUSE / "train" / "seeds"


def all_files() -> list[Path]:
    return [path for room in [*MAY_IMPORT, "tests"] for path in modules(room)]


@pytest.mark.parametrize("room", MAY_IMPORT)
def test_imports_point_one_way(room: str) -> None:
    for path in modules(room):
        wrong = strangers(path.read_text(), "search" if PLAYING in path.parents else room)
        assert not wrong, f"{path} imports {sorted(wrong)}; {room} may import of ours: {sorted(MAY_IMPORT[room])}"


def layered(package: str) -> dict[str, int]:
    """Part of a package -> the number of its layer."""
    return {part: n for n, layer in enumerate(LAYERS[package].split("<")) for part in layer.split()}


def climbing(text: str, package: str, part: str) -> set[str]:
    """Parts of ``package`` that a module of ``part`` imports, though they are not in a layer below."""
    heights = layered(package)
    names = {
        name.removeprefix(f"{package}.").split(".")[0] for name in imported(text) if name.startswith(f"{package}.")
    }
    return {name for name in names & heights.keys() if name != part and heights[name] >= heights[part]}


@pytest.mark.parametrize("package", LAYERS)
def test_parts_of_a_package_import_one_way(package: str) -> None:
    folder = HOUSE / package.replace(".", "/")
    parts = {path.stem for path in folder.iterdir() if path.suffix == ".py" or (path / "__init__.py").is_file()}
    assert parts - ENTRY_POINTS == layered(package).keys(), f"LAYERS says otherwise what {package} consists of"
    for part in layered(package):
        for path in [folder / f"{part}.py"] if (folder / f"{part}.py").is_file() else (folder / part).rglob("*.py"):
            wrong = climbing(path.read_text(), package, part)
            assert not wrong, (
                f"{path} imports {sorted(wrong)}; expected imports of {package} from below: {LAYERS[package]}"
            )


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("from archive.query.select import Result", {"query"}),
        ("import archive.cli.commands\nfrom archive.storage.rows import x", {"cli"}),
        ("from archive.tree import Tree\nfrom archive import records", set()),
    ],
)
def test_this_test_sees_layers(text: str, found: set[str]) -> None:
    assert climbing(text, "archive", "storage") == found


def test_prepared_data_does_not_depend_on_tasks() -> None:
    """prepare/data imports of ``prepare`` only itself and the dtypes of ``prepare.scoring``."""
    for path in modules("prepare/data"):
        ours = {name for name in imported(path.read_text(), "prepare.data") if name.startswith("prepare.")}
        wrong = sorted(name for name in ours if not name.startswith(("prepare.data.", "prepare.scoring.")))
        assert not wrong, f"{path} imports {wrong}"


def test_nobody_imports_a_seed_program() -> None:
    """A seed program is read as text; and it imports only what a candidate has in its sandbox."""
    seeds = [path for path in modules("train") if is_seed(path)]
    assert seeds
    for path in all_files():
        wrong = seeds_imported(path.read_text(), ".".join(path.relative_to(HOUSE).parent.parts))
        assert not wrong, f"{path} imports the seed program {wrong}"
    for path in seeds:
        roots = {name.partition(".")[0] for name in imported(path.read_text())}
        assert roots <= SEED_MAY_IMPORT, f"{path} imports {sorted(roots - SEED_MAY_IMPORT)}"


def test_the_workers_need_only_what_a_sandbox_has() -> None:
    """They run inside the sandbox, where nothing of ours is mounted but ``prepare`` and what lies beside them."""
    for name in ("language_model/worker.py", "program/worker.py", "sandbox/worker_process.py"):
        roots = {each.partition(".")[0] for each in imported((HOUSE / "train" / name).read_text(), "train.worker")}
        assert roots <= SANDBOX_MAY_IMPORT, f"train/{name} imports {sorted(roots - SANDBOX_MAY_IMPORT)}"
    for path in modules("train/sandbox/confine"):
        roots = {name.partition(".")[0] for name in imported(path.read_text(), "confine")}
        assert roots <= sys.stdlib_module_names | {"confine"}, f"{path} imports more than the standard library"


def test_only_one_module_calls_the_parser() -> None:
    """It fails in threads where it is not called under the lock of ``prepare/syntax.py``."""
    for room in MAY_IMPORT:
        for path in modules(room):
            calls = {"ast.parse(", "ast.literal_eval("} & set(re.findall(r"ast\.\w+\(", path.read_text()))
            assert not calls or path == HOUSE / "prepare" / "syntax.py", f"{path} calls {calls}: use prepare.syntax"


def test_commands_of_the_search_print_in_one_place() -> None:
    """There, what a candidate or a repository said loses its escape sequences."""
    printing = {
        path.name
        for path in (HOUSE / "search" / "cli").glob("*.py")
        if any(isinstance(node, ast.Name) and node.id == "print" for node in ast.walk(ast.parse(path.read_text())))
    }
    assert printing == {"terminal.py"}


def test_files_are_short() -> None:
    lengths = {str(path.relative_to(HOUSE)): len(path.read_text().splitlines()) for path in all_files()}
    long = {path: lines for path, lines in lengths.items() if lines >= MOST_LINES}
    assert not long, f"expected fewer than {MOST_LINES} lines; split by what the parts are for: {long}"


def test_no_two_test_files_have_one_name() -> None:
    """pytest imports them by their base names."""
    names = [path.name for path in modules("tests") if path.name.startswith("test_")]
    twice = {name for name in names if names.count(name) > 1}
    assert not twice, f"rename one of each: {sorted(twice)}"


def test_no_module_is_called_utils() -> None:
    vague = {"utils", "util", "helpers", "misc", "common"}
    wrong = [path for path in all_files() if vague & {path.stem, path.parent.name}]
    assert not wrong, f"name a module after what it is for: {wrong}"


@pytest.mark.parametrize(
    ("text", "room", "found"),
    [
        ("import train.executors.local", "archive", {"train"}),
        ("from operators import base", "archive", {"operators"}),
        ("def f():\n    from search.run.loop import Search", "operators", {"search"}),
        ("if TYPE_CHECKING:\n    import operators.base as base", "train", {"operators"}),
        ("import importlib\nimportlib.import_module('archive.tree')", "prepare", {"archive"}),
        ("__import__('search')", "train", {"search"}),
        ("from . import search\nfrom .base import Operator", "operators", set()),
        ("import archive, prepare, searching", "train", set()),
    ],
)
def test_this_test_sees_rooms(text: str, room: str, found: set[str]) -> None:
    assert strangers(text, room) == found


@pytest.mark.parametrize(
    ("text", "package"),
    [
        ("import train.seeds.shakespeare", "search"),
        ("from train.seeds import shakespeare", "search"),
        ("from train import seeds", "search"),
        ("from . import seeds", "train"),
        ("from .seeds import shakespeare", "train"),
        ("from ..seeds import shakespeare", "train.deep"),
    ],
)
def test_this_test_sees_seeds(text: str, package: str) -> None:
    assert seeds_imported(text, package)
    assert not seeds_imported("from train import local", package)
