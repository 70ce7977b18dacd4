"""Scores by case and certificates: written with their evaluation, read back, merged, shown."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from archive_sample import HERE, Diary, a_run, failed, request_for, scored

from archive.__main__ import main
from archive.query.query import open_reader
from archive.query.verify import verify
from archive.records import CaseScore
from archive.report.details import details
from archive.storage.merge import merge
from archive.storage.store import Archive

CASES = (CaseScore("n=26", 2.5, {"circles": 26.0}, "circle 3 \ud800 overlaps 7"), CaseScore("n=32", 2.9))
READ = (CaseScore("n=26", 2.5, {"circles": 26.0}, "circle 3 \ufffd overlaps 7"), CASES[1])
CERTIFICATE = '{"circles": [[0.5, 0.5, "ü"]]}'


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A root on two cases, a child that is better on one of them and has a certificate, and an infeasible child."""
    path = tmp_path / "a.duckdb"
    with Archive.open(path) as archive:
        diary = Diary(archive, a_run())
        root = diary.child(operator="seed")
        diary.record(scored(request_for(root, 0), 3.0, cases=(CaseScore("n=26", 3.0), CaseScore("n=32", 3.0))))
        child = diary.child(root)
        diary.record(scored(request_for(child, 0), 2.7, cases=CASES, certificate=CERTIFICATE, trust="verified"))
        broken = diary.child(root)
        diary.record(failed(request_for(broken, 0), "infeasible", metrics={"violations": 2.0}, cases=CASES[:1]))
    return path


def test_cases_come_back_with_their_evaluation_and_certificates_stay_in_the_file(path: Path) -> None:
    with Archive.open(path) as archive:
        tree = archive.tree(a_run(), HERE)
        child, broken = tree.nodes[1].node_id, tree.nodes[2].node_id
        assert (tuple(tree.evaluations[child][0].cases), tree.evaluations[child][0].certificate) == (READ, None)
        assert tuple(tree.evaluations[broken][0].cases) == READ[:1]
        assert tree.evaluations[broken][0].metrics == {"violations": 2.0}
    assert not verify(open_reader(path)).rows


def test_cases_are_whole_before_they_are_committed() -> None:
    with Archive.in_memory() as archive:
        diary = Diary(archive, a_run())
        with archive.transaction():
            root = diary.child(operator="seed")
            kept = diary.record(scored(request_for(root, 0), 3.0, cases=CASES))
            assert tuple(kept.cases) == READ
        assert tuple(kept.cases) == READ


def test_the_view_compares_each_case_with_the_best_and_the_root(path: Path) -> None:
    found = open_reader(path).query("SELECT case_name, value, best, gain_on_root FROM cases WHERE value < 3").rows
    assert [(name, value, best, round(gain, 6)) for name, value, best, gain in found] == [
        ("n=26", 2.5, 2.5, 0.5),
        ("n=32", 2.9, 2.9, 0.1),
    ]


def test_an_infeasible_node_neither_leads_nor_is_a_parent_but_may_be_debugged(path: Path) -> None:
    with Archive.open(path) as archive:
        tree = archive.tree(a_run(), HERE)
        broken = tree.nodes[2]
        assert tree.suspect(broken.node_id)
        assert not tree.barred(broken.node_id)
        assert str(tree.suspicion(broken.node_id)) == "infeasible in one of its runs (it infeasible)"
        tree.record(scored(request_for(broken, 1), 1.0))  # feasible with another seed: it counts for nothing
        assert tree.leader() == tree.nodes[1].node_id
        assert tree.barred(broken.node_id)
    assert open_reader(path).query("SELECT outcome FROM failures").rows == [("infeasible",)]


@pytest.mark.slow
def test_merged_archives_have_cases_and_certificates_once(path: Path, tmp_path: Path) -> None:
    for _ in range(2):
        list(merge(tmp_path / "b.duckdb", [path]))
    reader = open_reader(tmp_path / "b.duckdb")
    assert not verify(reader).rows
    assert reader.query("SELECT count(*) FROM case_scores").rows == [(5,)]
    found = reader.query("SELECT text FROM evaluations JOIN sources ON sha = certificate_sha").rows
    assert found == [(CERTIFICATE,)]


def test_show_lists_the_worst_cases_and_certificate_prints_json(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root, child = (row[0] for row in open_reader(path).query("SELECT node_id FROM nodes ORDER BY number LIMIT 2").rows)
    assert main(["show", child, "--archive", str(path)]) == 0
    shown = capsys.readouterr().out
    assert shown.index("n=32: 2.9") < shown.index("n=26: 2.5")
    assert "circle 3 \ufffd overlaps 7" in shown
    assert main(["certificate", child, "--archive", str(path)]) == 0
    assert json.loads(capsys.readouterr().out) == json.loads(CERTIFICATE)
    assert main(["certificate", root, "--archive", str(path)]) == 1
    assert "no certificate" in capsys.readouterr().err


def test_the_report_has_cases_and_certificates_as_plain_text(path: Path) -> None:
    reader = open_reader(path)
    ids = [row[0] for row in reader.query("SELECT node_id FROM nodes ORDER BY number").rows]
    root, child, broken = details(reader, ids, [[], [0], [0]])
    assert [(row["case"], row["value"], row["best"]) for row in child["cases"]] == [
        ("n=26", 2.5, 2.5),
        ("n=32", 2.9, 2.9),
    ]
    assert child["cases"][0]["feedback"] == "circle 3 \ufffd overlaps 7"
    assert json.loads(child["certificate"]) == json.loads(CERTIFICATE)
    assert (root["certificate"], broken["cases"]) == ("", [])
