"""The page's overview, tree and curves in a real browser: addresses, folding, overlaid curves, contrast.

A browser is started in each test, as the subject: what the page shows and where.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from archive_sample import Diary, a_curve, a_family, request_for, scored
from browser import chromium

from archive.query.query import open_reader
from archive.records import Node
from archive.report.command import write_report
from archive.storage.store import Archive

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("browser")]


def a_report(folder: Path, lines: int = 3, length: int = 3, curves: bool = True) -> list[Node]:
    """Write ``r.html`` of a root with lines of descendants; returns the nodes, line by line."""
    with Archive.open(folder / "a.duckdb") as archive:
        diary = Diary(archive)
        root = diary.screened(diary.child(operator="seed", idea="the seed program"), 3.5)
        for line in range(lines):
            above = root
            for step in range(length):
                above = diary.child(above, idea=f"line {line}, step {step}")
                seen = a_curve(5, 0.1 + 0.01 * line) if curves else ()
                diary.record(scored(request_for(above, 0), 3.4 - 0.1 * line - 0.01 * step, curve=seen))
        nodes = list(diary.tree.nodes)
    write_report(open_reader(folder / "a.duckdb"), None, folder / "r.html")
    return nodes


def open_view(page: Any, folder: Path, address: str) -> None:
    page.goto(f"file://{folder}/r.html{address}")
    page.wait_for_selector("body[data-ready]", timeout=60_000)


def fits(page: Any) -> bool:
    return bool(page.evaluate("document.documentElement.scrollWidth <= innerWidth"))


def test_an_address_names_the_view_and_the_node(tmp_path: Path) -> None:
    _, first, second, *_ = a_report(tmp_path)
    with chromium() as page:
        open_view(page, tmp_path, f"#node={first.node_id[:6]}")
        page.locator(f"#node[data-shown='{first.node_id}']").wait_for()
        assert page.inner_text("#views [aria-current]") == "Tree"
        page.press("#tree .frame", "ArrowRight")
        page.locator(f"#node[data-shown='{second.node_id}']").wait_for()
        page.click("#views >> text=Curves")
        page.locator("#curves").wait_for()
        assert page.evaluate("location.hash") == f"#node={second.node_id}&view=curves"
        page.go_back()
        page.locator("#tree").wait_for()
        page.go_back()
        page.locator(f"#node[data-shown='{first.node_id}']").wait_for()
        page.go_forward()
        page.locator(f"#node[data-shown='{second.node_id}']").wait_for()
        page.keyboard.press("Escape")
        page.locator("#node", has_text="Click a dot").wait_for()
        assert page.locator("#node a").get_by_text("compare").count() == 1, "of the best candidate"
        assert page.locator("#node[data-shown], #node [data-node]").count() == 0, "which nobody has chosen"
        assert page.said == []


def test_an_address_of_nothing_shows_the_overview(tmp_path: Path) -> None:
    a_report(tmp_path)
    with chromium() as page:
        open_view(page, tmp_path, "#view=<img src=x>&node=nowhere&nodes=a,b")
        page.locator("#progress").wait_for()
        assert page.locator("#main img").count() == 0
        assert page.said == []


def test_subtrees_fold_and_a_lineage_stands_alone(tmp_path: Path) -> None:
    _, first, second, *_ = a_report(tmp_path, lines=3, length=4)
    with chromium() as page:
        open_view(page, tmp_path, f"#view=tree&node={first.node_id}")
        said = page.locator("#tree figcaption")
        assert "13 candidates in 5 generations; 0 failed." in said.inner_text()
        page.press("#tree .frame", "Enter")
        assert said.inner_text().startswith("10 of 13 candidates")
        page.click("text=Unfold chosen")
        assert said.inner_text().startswith("13 candidates")
        page.click("text=Only chosen's lineage")
        said.filter(has_text="5 of 13 candidates").wait_for()
        assert f"focus={first.node_id}" in page.evaluate("location.hash")
        page.click("text=All lineages")
        said.filter(has_text="13 candidates in").wait_for()
        page.click("text=Fold beside the best")
        assert said.inner_text().startswith("7 of 13 candidates")
        page.fill("#find", "line 0, step 1")  # it was folded, and is shown when it is found
        page.locator(f"#node[data-shown='{second.node_id}']").wait_for()
        assert page.inner_text("#tree [role=status]") == "1 found"
        page.click("text=Unfold all")
        for colour, word in (("operator", "tune (12)"), ("outcome", "scored (13)"), ("age", "oldest sixth")):
            page.select_option("#tree select", colour)
            page.locator("#tree .legend", has_text=word).wait_for()
        assert page.said == []


def test_a_large_tree_is_folded_at_first_and_unfolds(tmp_path: Path) -> None:
    a_report(tmp_path, lines=40, length=9, curves=False)
    with chromium() as page:
        open_view(page, tmp_path, "#view=tree")
        said = page.locator("#tree figcaption")
        assert " of 361 candidates" in said.inner_text()
        page.click("text=Unfold all")
        assert said.inner_text().startswith("361 candidates")
        assert page.said == []


def rows_of(page: Any) -> Sequence[str]:
    found: Sequence[str] = page.locator("#curves tbody a").all_inner_texts()
    return found


def test_curves_have_root_and_leader_and_what_is_chosen(tmp_path: Path) -> None:
    root, first, *_, leader = a_report(tmp_path)
    with chromium() as page:
        open_view(page, tmp_path, f"#view=curves&nodes={first.node_id}")
        page.locator("#curves .frame").wait_for()
        assert rows_of(page) == [node.node_id[:8] for node in (root, leader, first)]
        said = page.inner_text("#curves figcaption")
        assert f"{leader.node_id[:8]} (leader) from 4 to 3.52 in 4 s" in said
        assert f"{root.node_id[:8]} (root) none" in said
        page.click("#curves >> text=remove")
        page.locator("#curves tbody tr").nth(2).wait_for(state="detached")
        page.click("text=Add the 5 best")
        page.locator("#curves tbody tr").nth(5).wait_for()
        assert len(page.evaluate("location.hash").split("nodes=")[1].split(",")) == 5
        assert page.said == []


def test_without_curves_the_page_says_so(tmp_path: Path) -> None:
    a_report(tmp_path, curves=False)
    with chromium() as page:
        open_view(page, tmp_path, "#view=curves")
        page.locator("#curves", has_text="None of these candidates reported a curve.").wait_for()
        assert page.said == []


def test_on_a_narrow_screen_the_panel_is_under_the_tap(tmp_path: Path) -> None:
    nodes = a_report(tmp_path)
    with chromium(400, 850) as page:
        for name in ("overview", "tree", "curves"):
            open_view(page, tmp_path, f"#view={name}")
            page.locator("#view .frame").wait_for()
            assert fits(page), name
            assert page.locator("#node").is_hidden()
        open_view(page, tmp_path, "#view=overview")
        page.click("#lessons a >> nth=0")
        page.locator("#node[data-shown]").wait_for()
        lessons, panel = page.locator("#lessons").bounding_box(), page.locator("#node").bounding_box()
        assert 0 <= panel["y"] - (lessons["y"] + lessons["height"]) < 60
        assert page.get_attribute("#node", "data-shown") in {node.node_id for node in nodes}
        assert fits(page)
        assert page.said == []


@pytest.mark.parametrize("width", [1400, pytest.param(400, marks=pytest.mark.nightly)])
def test_the_file_has_the_archives_runs_and_switches(tmp_path: Path, width: int) -> None:
    with Archive.open(tmp_path / "a.duckdb") as archive:
        _, nodes = a_family(archive, name="<b>other</b>")
        a_family(archive)
    write_report(open_reader(tmp_path / "a.duckdb"), "night", tmp_path / "r.html")
    with chromium(width) as page:
        open_view(page, tmp_path, "#view=overview")
        page.click("#runs a")
        page.locator("#title", has_text="Run <b>other</b>").wait_for()
        page.click(f"#lessons a >> text={nodes[3].node_id[:8]}")
        page.locator(f"#node[data-shown='{nodes[3].node_id}']", has_text="deeper").wait_for()
        page.click("#views >> text=Failures")
        page.locator(".group", has_text="1 × crashed").wait_for()
        open_view(page, tmp_path, page.evaluate("location.hash"))  # the link alone shows the same
        page.locator("#title", has_text="Run <b>other</b>").wait_for()
        page.click("#views >> text=Overview")
        page.click("#runs a >> text=night")
        page.locator("#title", has_text="Run night").wait_for()
        assert page.locator("#main b").count() == 0
        assert fits(page)
        assert page.said == []


def test_runs_that_do_not_fit_are_named_with_their_command(tmp_path: Path) -> None:
    with Archive.open(tmp_path / "a.duckdb") as archive:
        a_family(archive)
        a_family(archive, name="<b>other</b>")
    write_report(open_reader(tmp_path / "a.duckdb"), "night", tmp_path / "r.html", alone=True)
    with chromium() as page:
        open_view(page, tmp_path, "")
        assert "Not in this file: <b>other</b>; the command makes a page of each." in page.inner_text("#runs")
        assert "report --run '<b>other</b>' --out _b_other__b_.html" in page.inner_text("#runs")
        assert page.locator("#main b").count() == 0


def test_what_is_folded_is_in_the_address(tmp_path: Path) -> None:
    _, first, second, *_ = a_report(tmp_path, lines=3, length=4)
    with chromium() as page:
        said = page.locator("#tree figcaption")
        open_view(page, tmp_path, f"#view=tree&folds=beside,-{first.node_id}")
        assert said.inner_text().startswith("8 of 13 candidates"), "one child of the first line is not folded"
        page.click("text=Unfold all")
        assert said.inner_text().startswith("13 candidates")
        page.fill("#find", "line 0, step 1")
        page.locator(f"#node[data-shown='{second.node_id}']").wait_for()
        page.click("text=Fold chosen")
        assert said.inner_text().startswith("11 of 13 candidates")
        link = page.evaluate("location.hash")
        assert f"folds=none,{second.node_id}" in link
        page.goto("about:blank")
        open_view(page, tmp_path, link)
        assert said.inner_text().startswith("11 of 13 candidates")
        page.click("text=Unfold chosen")
        assert said.inner_text().startswith("13 candidates")
        assert page.said == []
