"""Cost of a right answer in the report: unit, Pareto front, and the plot with its text in a real browser."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest
from archive_sample import Diary, a_family, a_run, request_for, scored
from browser import chromium
from hypothesis import given
from hypothesis import strategies as st

from archive.query.query import open_reader
from archive.records import CaseScore
from archive.report.command import write_report
from archive.report.costs import costs, pareto_front
from archive.report.facts import gather
from archive.storage.store import Archive

SCRIPT = "</script><script>document.title='owned'</script><img src=x onerror=\"document.title='owned'\">"
ITEMS = 20


def item(number: int, right: bool, tokens: float, dollars: float | None) -> CaseScore:
    used = {"calls": 1.0, "tokens": tokens} | ({} if dollars is None else {"dollars": dollars})
    return CaseScore(str(number), float(right), used, ending="right" if right else "wrong")


def agents(path: Path, found: Sequence[tuple[int, float, float | None]]) -> Diary:
    """An archive with an agent for each (right answers, tokens an item, dollars an item)."""
    with Archive.open(path) as archive:
        diary = Diary(archive, a_run(direction="maximise"))
        for right, tokens, dollars in found:
            parents = diary.tree.nodes[:1]
            node = diary.child(*parents, operator="draft" if parents else "seed", idea=SCRIPT)
            cases = tuple(item(n, n < right, tokens, dollars) for n in range(ITEMS))
            diary.record(scored(request_for(node, 1), right / ITEMS, cases=cases))
    return diary


def test_the_front_is_what_no_agent_beats_on_both(tmp_path: Path) -> None:
    agents(tmp_path / "a.duckdb", [(10, 50, 0.0), (16, 80, 0.0), (15, 90, 0.0), (18, 900, 0.0), (0, 70, 0.0)])
    found = gather(open_reader(tmp_path / "a.duckdb"))["costs"]
    assert (found["unit"], found["none_right"]) == ("tokens", 1)
    assert [row["cost"] for row in found["rows"]] == [100, 100, 120, 1000]
    assert [row["front"] for row in found["rows"]] == [False, True, False, True]
    assert found["rows"][1] == {"node": 1, "share": 0.8, "items": 20, "cost": 100, "front": True}


@pytest.mark.parametrize(("last", "unit"), [(0.5, "dollars"), (None, "tokens")])
def test_dollars_are_shown_where_every_price_is_known(tmp_path: Path, last: float | None, unit: str) -> None:
    agents(tmp_path / "a.duckdb", [(10, 50, 0.25), (20, 80, last)])
    found = gather(open_reader(tmp_path / "a.duckdb"))["costs"]
    assert found["unit"] == unit
    assert [row["cost"] for row in found["rows"]] == [0.5, 0.5] if unit == "dollars" else [100, 80]


def test_a_suspect_agent_is_on_no_front(tmp_path: Path) -> None:
    diary = agents(tmp_path / "a.duckdb", [(10, 50, 0.0), (20, 50, 0.0)])
    place = {node.node_id: i for i, node in enumerate(diary.tree.nodes)}
    found = costs(open_reader(tmp_path / "a.duckdb"), "night", place, [None, "it read the answers"])
    assert [(row["node"], row["front"]) for row in found["rows"]] == [(0, True)]


def test_a_run_without_agents_has_no_costs(tmp_path: Path) -> None:
    with Archive.open(tmp_path / "a.duckdb") as archive:
        a_family(archive)
    assert gather(open_reader(tmp_path / "a.duckdb"))["costs"] == {"unit": "tokens", "rows": [], "none_right": 0}


@given(st.lists(st.tuples(st.sampled_from([0.2, 0.5, 0.9]), st.sampled_from([0.0, 1.0, 2.0, 9.0]))))
def test_a_front_dominates_the_rest_and_nothing_of_itself(points: list[tuple[float, float]]) -> None:
    front = pareto_front(points)

    def beaten(i: int, by: set[int]) -> bool:
        return any(points[k][0] >= points[i][0] and points[k][1] <= points[i][1] for k in by - {i})

    assert not any(beaten(i, front) for i in front)
    assert all(beaten(i, front) for i in range(len(points)) if i not in front)


@pytest.mark.slow
@pytest.mark.xdist_group("browser")
@pytest.mark.parametrize("width", [1400, pytest.param(400, marks=pytest.mark.nightly)])
def test_the_plot_is_also_told_in_words(tmp_path: Path, width: int) -> None:
    """A browser is started, as the subject: the canvas, its description and the table of the front."""
    diary = agents(tmp_path / "a.duckdb", [(10, 50, 0.0), (16, 96, 0.0), (15, 90, 0.0), (18, 900, 0.0)])
    write_report(open_reader(tmp_path / "a.duckdb"), None, tmp_path / "r.html")
    ids = [node.node_id[:8] for node in diary.tree.nodes]
    with chromium(width) as page:
        page.goto(f"file://{tmp_path}/r.html")
        page.wait_for_selector("body[data-ready]", timeout=60_000)
        said = page.inner_text("#agents figcaption")
        assert f"{ids[0]} has 50% right at 100; {ids[1]} has 80% right at 120; {ids[3]} has 90% right at 1,000" in said
        described = page.get_attribute("#agents .frame", "aria-describedby")
        assert described == page.get_attribute("#agents figcaption", "id")
        assert page.locator("#front a").all_inner_texts() == [ids[0], ids[1], ids[3]]
        assert page.locator("#agents img, #agents script").count() == 0
        box = page.locator("#agents .frame").bounding_box()  # the plot ends 52, 18, 24 and 44 before the edges
        place = {"x": 52 + (box["width"] - 78) * 0.102, "y": 18 + (box["height"] - 64) * 0.5}
        page.locator("#agents .frame").click(position=place)
        page.locator("#node", has_text=ids[0]).wait_for()
        page.click("#front a >> nth=2")
        page.locator("#node", has_text=ids[3]).wait_for()
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
        assert (page.said, "owned" in page.title()) == ([], False)
