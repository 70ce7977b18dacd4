"""Parts of the page that views ask for: calls with their texts, scores by case, failures and refusals by reason."""

from __future__ import annotations

from pathlib import Path

import pytest
from archive_sample import Diary, a_call, a_run, failed, request_for, scored

from archive.query.query import open_reader
from archive.records import CaseScore, Propose, Replicate
from archive.report.parts import all_parts, installed_analyses, part
from archive.storage.store import Archive

JUDGED = 8
"""The number of the move of the claim."""
SCRIPT = "</script><script>document.title='owned'</script>\x1b[31m"


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A root and a better child on three cases, failures of two kinds, a refusal, and calls of a model."""
    where = tmp_path_factory.mktemp("parts") / "a.duckdb"
    with Archive.open(where) as archive:
        diary = Diary(archive, a_run())
        root = diary.child(operator="seed", text="RATE = 0.1\n")
        diary.record(scored(request_for(root, 0), 3.0, cases=_cases(3.0, 3.0, 3.0)))
        child = diary.child(root, operator="improve")
        diary.record(scored(request_for(child, 0), 2.8, cases=_cases(2.4, 3.0, 3.0)))
        for count in (1, 2, 3):
            broken = diary.child(root, operator="improve")
            diary.record(failed(request_for(broken, 0), reason=f"line {count}: {SCRIPT}"))
        large = diary.child(child, operator="tune")
        diary.record(failed(request_for(large, 0), "invalid", reason="too large"))
        for _ in range(2):
            diary.refuse(diary.choose(Propose("improve", (root.node_id,))), f"a duplicate of {root.node_id} \x1b[1m")
        judged = diary.choose(Replicate(child.node_id, "report"))
        archive.record_call(a_call(move=judged.number, operator="agent", prompt="a holdout item", answer="its answer"))
        archive.record_call(a_call(move=2, prompt="broken prompt", answer=SCRIPT))
        archive.record_call(a_call(move=1, prompt="P" * 70_000 + "end", answer="the answer", dollars=None))
        archive.record_call(a_call(move=3, outcome="refused", reason="cap of 12 dollars", answer=""))
    return where


def _cases(*values: float) -> tuple[CaseScore, ...]:
    return tuple(CaseScore(f"n={20 + i}", value) for i, value in enumerate(values))


def read(path: Path, name: str) -> object:
    return part(open_reader(path), "night", name, {})


def test_calls_of_the_best_lineage_come_first(path: Path) -> None:
    found = read(path, "calls")
    assert found["count"] == 4
    assert found["move"] == [1, JUDGED, 3, 2]
    assert found["outcome"] == ["answered", "answered", "refused", "answered"]
    assert found["dollars"] == [None, 0.25, 0.25, 0.25]
    (row,) = open_reader(path).query("SELECT node_id FROM nodes WHERE move = 1").rows
    assert found["node"][0] == row[0]


def test_prompts_and_answers_are_as_they_were_but_for_control_characters(path: Path) -> None:
    (call,) = read(path, "texts-2")
    assert "\x1b" not in call["answer"]
    assert "<script>document.title='owned'</script>" in call["answer"]
    (long,) = read(path, "texts-1")
    assert "... 10003 more characters ..." in long["prompt"]
    assert long["prompt"].endswith("Pend")
    assert read(path, "texts-77") == []
    (judged,) = read(path, f"texts-{JUDGED}")
    assert judged["prompt"] == judged["answer"] == "not shown: from a run of the claim"


def test_scores_by_case_are_a_table_of_nodes_and_cases(path: Path) -> None:
    found = read(path, "cases")
    assert found["cases"] == ["n=20", "n=21", "n=22"]
    assert found["values"] == [[3.0, 3.0, 3.0], [2.4, 3.0, 3.0]]
    assert (found["all_nodes"], found["all_cases"]) == (2, 3)


def test_the_heat_map_is_bounded_and_keeps_the_lineage(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("archive.report.heatmap._NODES", 1)
    monkeypatch.setattr("archive.report.heatmap._CASES", 1)
    found = read(path, "cases")
    assert found["cases"] == ["n=20"], "the case in which the nodes differ"
    assert len(found["nodes"]) == 1
    assert (found["all_nodes"], found["all_cases"]) == (2, 3)


def test_failures_that_differ_in_numbers_alone_are_one_group(path: Path) -> None:
    found = read(path, "failures")
    assert (found["groups"], found["failures"]) == (2, 4)
    first, second = found["rows"]
    assert (first["outcome"], first["count"], first["candidates"], len(first["nodes"])) == ("crashed", 3, 3, 3)
    assert first["reason"].startswith("line ")
    assert "\x1b" not in first["reason"]
    assert (second["outcome"], second["operators"], second["reason"]) == ("invalid", "tune", "too large")


def test_refusals_have_their_reasons(path: Path) -> None:
    found = read(path, "refusals")
    (refused,) = found["proposals"]["rows"]
    assert (refused["operator"], refused["count"]) == ("improve", 2)
    assert "\x1b" not in refused["reason"]
    (call,) = found["calls"]["rows"]
    assert (call["operator"], call["reason"]) == ("m, improve, refused", "cap of 12 dollars")


def test_all_parts_are_there_and_no_other(path: Path) -> None:
    found = dict(all_parts(open_reader(path), "night", {"mine": lambda reader, run: {"run": run}}))
    assert list(found) == ["calls", "cases", "failures", "refusals", "mine", "texts-1", "texts-8", "texts-3", "texts-2"]
    assert found["mine"] == {"run": "night"}
    for name in ("facts", "texts-", "texts-x", "../facts", "mine", "texts-9999999999"):
        assert read(path, name) is None


def test_all_cases_of_a_node_are_a_part(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    judged = read(path, "cases")["nodes"]
    assert read(path, f"cases-{judged[1]}") == {"names": ["n=20", "n=21", "n=22"], "values": [2.4, 3.0, 3.0]}
    assert read(path, "cases-0") is None
    monkeypatch.setattr("archive.report.parts.SHOWN_CASES", 2)
    named = [name for name, _ in all_parts(open_reader(path), "night", {}) if name.startswith("cases-")]
    assert named == [f"cases-{node_id}" for node_id in judged], "a file has them where the details have not"


def test_a_run_without_anything(tmp_path: Path) -> None:
    with Archive.open(tmp_path / "e.duckdb") as archive:
        Diary(archive).child(operator="seed", text="X = 1\n")
    found = dict(all_parts(open_reader(tmp_path / "e.duckdb"), "night", {}))
    assert found["calls"]["count"] == found["failures"]["failures"] == found["cases"]["all_nodes"] == 0


def test_analyses_are_those_of_this_project_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    from importlib.metadata import EntryPoint, EntryPoints

    points = [
        EntryPoint("parameters", "operators.numeric.parameter_table:parameter_table", "treewright.report"),
        EntryPoint("evil", "os:abort", "treewright.report"),
        EntryPoint("other", "operators.base:Operator", "console_scripts"),
    ]

    class Installed:
        entry_points = EntryPoints(points)

    monkeypatch.setattr("archive.report.parts.distribution", lambda name: Installed())
    assert list(installed_analyses()) == ["parameters"]
