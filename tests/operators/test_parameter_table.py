"""The table of parameters, read through SQL, and the effects in it: those of ``explain``."""

from __future__ import annotations

import math
import tomllib
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
from launching import HOUSE

from archive.query.query import open_reader
from archive.records import (
    Candidate,
    Conditions,
    MoveRecord,
    Node,
    Propose,
    Request,
    Resources,
    Run,
    Scored,
    node_id_for,
)
from archive.report.parts import part
from archive.storage.store import Archive
from operators.numeric.parameter_effects import explain_parameters
from operators.numeric.parameter_table import parameter_table

HERE = Conditions("corpus", 10.0, "cpu")
MEASURED: dict[str, Any] = {
    "conditions": HERE, "resources": Resources(1.0), "trust": "audited", "sandbox": "bwrap", "device": "cpu",
    "metrics": {},
}  # fmt: skip
RATES = (0.001, 0.0003, 0.003, 0.01, 0.02, 0.05, 0.1, 0.006, 0.012, 0.0001, 0.009, 0.5)


def source(rate: float, deep: bool) -> str:
    return f"RATE = {rate}  # tune: 1e-4..1 log\nDEEP = {deep}\nSAME = 3\n\n\ndef train(x):\n    return x\n"


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A root and its children; RATE is best at 0.01. The last two are of other code, and the very last has no score."""
    where = tmp_path_factory.mktemp("table") / "a.duckdb"
    run = Run("night", "id", "toy", "bpb", "minimise", "ucb", 7, {"task": {"parameters": {"a": 1}}}, {}, 0.0)
    texts = [source(rate, deep=bool(i % 2)) for i, rate in enumerate(RATES)]
    texts += [source(0.01, True) + "\n\ndef more():\n    pass\n", "RATE = (\n"]
    with Archive.open(where) as archive:
        archive.start_run(run)
        for number, text in enumerate(texts):
            parents = () if number == 0 else (node_id_for("id", 0),)
            archive.choose(MoveRecord("night", number, Propose("seed" if number == 0 else "tune", parents), 1))
            node_id = node_id_for("id", number)
            candidate = Candidate({"train.py": text}, parents, "tune", "idea")
            archive.add(Node(node_id, "night", number, number, candidate, 0.0))
            if number < len(RATES):
                request = Request(node_id, "night", number, candidate.files, 0, "screen")
                score = 3.0 + 0.5 * math.log10(RATES[number] / 0.01) ** 2
                archive.record(Scored(request=request, score=score, started_at=0.0, finished_at=1.0, **MEASURED))
    return where


def table(path: Path, run: str = "night") -> Any:
    return part(open_reader(path), run, "parameters", {"parameters": parameter_table})


def test_the_table_has_the_parameters_that_differ(path: Path) -> None:
    found = table(path)
    assert found["scored"] == len(found["nodes"]) == len(RATES)
    columns = {column["name"]: values for column, values in zip(found["columns"], found["values"], strict=True)}
    assert columns.keys() == {"RATE", "DEEP"}
    assert columns["RATE"] == list(RATES)
    assert columns["DEEP"] == [0, 1] * 6
    assert found["left_out"] == 0


def test_effects_are_those_of_explain(path: Path) -> None:
    found = table(path)["effects"]
    with Archive.open(path) as archive:
        run = archive.run("night")
        assert run is not None
        tree = archive.tree(run, HERE)
        told = explain_parameters(tree, found["node"])
    assert told is not None
    assert found["node"] == node_id_for("id", RATES.index(0.01))
    assert found["programs"] == told.programs == len(RATES)
    assert [(row["name"], row["verdict"]) for row in found["rows"]] == [(e.name, e.verdict) for e in told.effects]
    assert [row["gain"] for row in found["rows"]] == pytest.approx([effect.gain for effect in told.effects])
    assert found["rows"][0]["name"] == "RATE"


def test_an_archive_from_elsewhere_and_few_programs_have_no_effects(tmp_path: Path) -> None:
    run = Run("day", "id", "toy", "bpb", "minimise", "ucb", 7, {"task": {"parameters": {"x.json:a": "0..1"}}}, {}, 0.0)
    with Archive.open(tmp_path / "a.duckdb") as archive:
        archive.start_run(run)
    found = table(tmp_path / "a.duckdb", "day")
    assert (found["nodes"], found["columns"], found["effects"]) == ([], [], None)


def test_the_report_finds_it_by_an_entry_point() -> None:
    project = tomllib.loads((HOUSE / "pyproject.toml").read_text())["project"]
    for place in project["entry-points"]["treewright.report"].values():
        module, name = place.split(":")
        assert callable(getattr(import_module(module), name))
    assert project["entry-points"]["treewright.report"].keys() == {"parameters"}
