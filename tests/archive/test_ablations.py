"""What each step is worth: the view against the search's own statistics, and what the report makes of it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from archive_sample import Diary, a_family, a_run, an_ablation
from browser import chromium

from archive.difference import Difference, welch
from archive.query.query import open_reader
from archive.query.questions import which_run
from archive.records import Node
from archive.report.command import write_report
from archive.report.facts import gather
from archive.storage.store import Archive
from search.cli import ablate

WHOLE = [3.00, 3.04, 2.98]
WORSE, SAME, BETTER, ALONE = [3.5, 3.52, 3.46], [3.01, 2.97, 3.02], [2.5, 2.52, 2.51], [3.3]


def write(path: Path, **without: list[Any]) -> list[Node]:
    """A family of five whose best, the crossover, has had steps taken out; by the names of the scores above."""
    with Archive.open(path) as archive:
        diary, nodes = a_family(archive)
        heir = diary.screened(diary.child(nodes[4], idea="longer"), 3.0)
        last = diary.screened(diary.child(heir, idea="warmer"), 2.9)
        nodes += [heir, last]
        steps = dict(zip(without, [nodes[1], nodes[5], nodes[2], last], strict=False))
        an_ablation(archive, last, WHOLE, **{f"_{steps[name].node_id}": scores for name, scores in without.items()})
    return nodes


def test_worth_error_and_freedom_are_those_of_the_search(tmp_path: Path) -> None:
    nodes = write(tmp_path / "a.duckdb", good=WORSE, heir=SAME, bad=BETTER, alone=ALONE)
    reader = open_reader(tmp_path / "a.duckdb")
    found = reader.query("SELECT step, worth, error, degrees_of_freedom, runs, runs_of_the_whole, idea FROM ablations")
    assert [row[0] for row in found.rows] == [nodes[i].node_id for i in (1, 6, 5, 2)], "what is worth most comes first"
    assert [row[6] for row in found.rows] == ["wider", "warmer", "longer", "narrower"]
    for (_, worth, error, freedom, runs, whole, _), scores in zip(
        found.rows, (WORSE, ALONE, SAME, BETTER), strict=True
    ):
        expected = welch(scores, WHOLE, "minimise")
        assert (runs, whole) == (len(scores), 3)
        if isinstance(expected, Difference):
            assert (worth, error, freedom) == pytest.approx((expected.gain, expected.standard_error, expected.dof))
        else:
            assert worth == pytest.approx(0.29333333)
            assert error is None


@pytest.mark.slow
def test_the_report_says_which_steps_carry_the_gain(tmp_path: Path) -> None:
    nodes = write(tmp_path / "a.duckdb", good=WORSE, heir=SAME, bad=BETTER, alone=ALONE)
    reader = open_reader(tmp_path / "a.duckdb")
    assert which_run(reader, None) == "night", "an ablation is about another run"
    facts = gather(reader)
    (ablation,) = facts["ablations"]
    assert ablation["node"] == facts["nodes"]["id"].index(nodes[6].node_id)
    assert [step["verdict"] for step in ablation["steps"]] == [
        "carries gain", "one run: no interval", "no effect beyond noise", "does harm",
    ]  # fmt: skip
    expected = welch(WORSE, WHOLE, "minimise")
    assert isinstance(expected, Difference)
    assert (ablation["steps"][0]["low"], ablation["steps"][0]["high"]) == pytest.approx((expected.low, expected.high))
    (said,) = [lesson for lesson in facts["lessons"] if "Taken out of" in lesson["text"]]
    assert "1 of 3 steps carry gain beyond noise, the first of them 0.4867" in said["text"]
    assert "; harmful: 1." in said["text"]
    assert said["nodes"] == [1]
    assert not any("run ablate" in lesson["text"] for lesson in facts["lessons"])


@pytest.mark.slow
def test_steps_that_fail_or_never_vary(tmp_path: Path) -> None:
    with Archive.open(tmp_path / "a.duckdb") as archive:
        _, nodes = a_family(archive)
        ids = [f"_{node.node_id}" for node in nodes]
        an_ablation(archive, nodes[4], [3.0, 3.0], **{ids[1]: [None], ids[2]: [3.5, 3.5], ids[0]: []})
    steps = {step["node"]: step for step in gather(open_reader(tmp_path / "a.duckdb"))["ablations"][0]["steps"]}
    assert steps[1]["verdict"] == "the program fails without it (crashed)"
    assert (steps[2]["low"], steps[2]["high"], steps[2]["verdict"]) == (0.5, 0.5, "carries gain")
    assert steps[0]["verdict"] == "not evaluated yet"


def test_parts_of_an_agent_are_shown_by_their_names(tmp_path: Path) -> None:
    with Archive.open(tmp_path / "a.duckdb") as archive:
        _, nodes = a_family(archive)
        steps = {"_call-01": WORSE, f"_{nodes[1].node_id}": SAME, "_role-01": BETTER, "_elsewhere": WORSE}
        an_ablation(archive, nodes[4], WHOLE, **steps)
    facts = gather(open_reader(tmp_path / "a.duckdb"))
    found = [(step["part"], step["node"], step["verdict"], step["idea"]) for step in facts["ablations"][0]["steps"]]
    assert found == [
        ("call-01", None, "carries gain", "what it was"),
        (nodes[1].node_id, 1, "no effect beyond noise", "wider"),
        ("role-01", None, "does harm", "what it was"),
    ]
    (said,) = [lesson for lesson in facts["lessons"] if "Taken out of" in lesson["text"]]
    assert ("1 of 3 steps" in said["text"], said["nodes"]) == (True, [])


@pytest.mark.slow
@pytest.mark.xdist_group("browser")
def test_parts_of_an_agent_in_a_browser(tmp_path: Path) -> None:
    """A browser is started, as the subject: the page has a name in place of a link."""
    with Archive.open(tmp_path / "a.duckdb") as archive:
        _, nodes = a_family(archive)
        an_ablation(archive, nodes[4], WHOLE, **{"_call-01": WORSE, f"_{nodes[1].node_id}": SAME})
    write_report(open_reader(tmp_path / "a.duckdb"), None, tmp_path / "r.html")
    with chromium() as page:
        page.goto(f"file://{tmp_path}/r.html")
        page.wait_for_selector("body[data-ready]", timeout=60_000)
        said = page.inner_text("#ablation")
        assert "call-01" in said
        assert "wider" in said
        assert page.said == []


def test_an_archive_without_an_ablation_says_what_to_run(tmp_path: Path) -> None:
    with Archive.open(tmp_path / "a.duckdb") as archive:
        a_family(archive)
    facts = gather(open_reader(tmp_path / "a.duckdb"))
    assert facts["ablations"] == []
    assert any("run ablate for what each is worth" in lesson["text"] for lesson in facts["lessons"])


def test_ablations_of_an_archive_that_maximises(tmp_path: Path) -> None:
    with Archive.open(tmp_path / "a.duckdb") as archive:
        _, nodes = a_family(archive)
        diary: Diary = an_ablation(archive, nodes[4], [3.0, 3.1], **{f"_{nodes[1].node_id}": [2.5, 2.6]})
        archive._writer._connection.execute(
            "UPDATE runs SET direction = 'maximise' WHERE run = ?", [diary.run.run]
        )  # as a run of such a task is recorded
    assert open_reader(tmp_path / "a.duckdb").query("SELECT worth FROM ablations").rows == [(pytest.approx(0.5),)]


@pytest.mark.slow
@pytest.mark.xdist_group("browser")
def test_the_steps_in_a_browser(tmp_path: Path) -> None:
    nodes = write(tmp_path / "a.duckdb", good=WORSE, heir=SAME)
    write_report(open_reader(tmp_path / "a.duckdb"), None, tmp_path / "r.html")
    with chromium() as page:
        page.goto(f"file://{tmp_path}/r.html")
        page.wait_for_selector("body[data-ready]", timeout=60_000)
        assert page.is_visible("#ablation")
        assert "carries gain" in page.inner_text("#ablation tbody tr:first-child")
        page.click("#ablation tbody tr:first-child a")
        page.wait_for_selector(f"#node[data-shown='{nodes[1].node_id}']", timeout=30_000)
        assert page.said == []


@pytest.mark.parametrize(("llm", "parts"), [({"answers": "scripted"}, ["call-01", "role-01"]), (None, [])])
def test_the_parts_of_an_agent_are_steps_too(tmp_path: Path, llm: Any, parts: list[str]) -> None:
    run = replace(a_run(), config={"task": {"name": "toy", "llm": llm}})
    with Archive.open(tmp_path / "a.duckdb") as archive:
        diary = Diary(archive, run)
        root = diary.screened(diary.child(operator="seed", text="def solve(q, llm):\n    return q\n"), 0.5)
        agent = diary.child(root, text="def solve(q, llm):\n    return llm(q, 'a clerk')\n")
        found = ablate._subject(archive, diary.screened(agent, 0.7).node_id)
    assert [each.node_id for each in found.removals] == [agent.node_id, *parts]
