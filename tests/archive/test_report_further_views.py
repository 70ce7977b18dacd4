"""The views of the page in a real browser, wide and narrow: they filter, compare and save; texts stay texts."""

from __future__ import annotations

import csv
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from archive_sample import Diary, a_call, a_curve, a_run, failed, request_for, scored
from browser import chromium
from test_report_browser import served

from archive.query.query import open_reader
from archive.query.server import SqlServer
from archive.records import CaseScore, Propose
from archive.report.command import write_report
from archive.report.facts import gather
from archive.report.page import VIEWS, RunData, offline_page
from archive.storage.store import Archive
from operators.numeric.parameter_table import parameter_table

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("browser")]

SCRIPT = "</script><script>document.title='owned'</script><img src=x onerror=\"document.title='owned'\">"
FORMULA = '=HYPERLINK("http://x","y")'
MANY_CASES = 50
SEED = '''"""A sample."""
import math

RATE = 0.001  # tune: 1e-4..1 log
WIDTH = 64


def train(data):
    """Say
    nothing."""
    return [math.exp(x) for x in data] + ["a # b"]
'''


@pytest.fixture(scope="module")
def page_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A report of forty tuned candidates on fifty cases, of failures, refusals, and a model's calls."""
    where = tmp_path_factory.mktemp("views")
    rng = random.Random(0)
    with Archive.open(where / "a.duckdb") as archive:
        diary = Diary(archive, a_run())
        root = diary.child(operator="seed", text=SEED, idea="the seed program")
        diary.record(scored(request_for(root, 0), 3.0, cases=_cases(3.0), curve=a_curve(5)))
        last = root
        for number in range(40):
            rate, width = round(10 ** rng.uniform(-4, 0), 5), rng.choice([32, 64, 128, 256])
            text = SEED.replace("0.001", str(rate)).replace("64", str(width))
            text += f"\n\ndef step_{number}():\n    return {number}\n" if number % 9 == 8 else ""
            parent = last if number % 3 else root
            last = diary.child(
                parent, text=text, idea=FORMULA if number == 4 else f"try {number} with a rate of {rate}"
            )
            score = 2.5 + abs(rate - 0.05) + 0.1 * rng.random()
            diary.record(scored(request_for(last, 0), score, cases=_cases(score, rng)))
        for line in range(5):
            odd = diary.child(root, operator="improve", text="X = (\n", idea=SCRIPT)
            diary.record(failed(request_for(odd, 0), reason=f"SyntaxError: line {line}: {SCRIPT}", log=SCRIPT))
            call = a_call(move=odd.move, prompt=f"Improve this: {SCRIPT}", answer=f"{SCRIPT}\n" * 3, model="model-a")
            archive.record_call(call)
        archive.record_call(
            a_call(move=odd.move, turn=1, outcome="failed", reason="time-out", model="model-b", answer="")
        )
        for _ in range(3):
            diary.refuse(diary.choose(Propose("improve", (root.node_id,))), "a duplicate of an earlier candidate")
    write_report(open_reader(where / "a.duckdb"), None, where / "r.html", analyses={"parameters": parameter_table})
    return where / "r.html"


def _cases(score: float, rng: random.Random | None = None) -> tuple[CaseScore, ...]:
    spread = rng or random.Random(1)
    return tuple(CaseScore(f"n={26 + i}", score + 0.3 * spread.random()) for i in range(MANY_CASES))


@pytest.fixture(params=[1400, pytest.param(400, marks=pytest.mark.nightly)])
def page(request: pytest.FixtureRequest, page_file: Path) -> Iterator[Any]:
    with chromium(request.param) as browser:
        yield browser
        assert browser.said == []
        assert "owned" not in browser.title()
        assert browser.locator("#main img, #main script").count() == 0
        assert browser.evaluate("document.documentElement.scrollWidth <= innerWidth"), (
            "the page itself never scrolls sideways"
        )


def show(page: Any, page_file: Path, view: str, more: str = "") -> None:
    page.goto("about:blank")
    page.goto(f"file://{page_file}#view={view}{more}")
    page.wait_for_selector("body[data-ready]", timeout=60_000)
    page.wait_for_selector(f"#view[data-view={view}]")
    named = page.locator("#views [aria-current]").bounding_box()
    assert named["x"] >= 0, "the name of the view is in sight"
    assert named["x"] + named["width"] <= page.viewport_size["width"]


def ready(page: Any, name: str) -> None:
    page.wait_for_selector(f"[data-loaded='{name}']", timeout=60_000)


def test_the_table_sorts_filters_and_saves(page: Any, page_file: Path, tmp_path: Path) -> None:
    show(page, page_file, "table", "&columns=id,score,lines,idea")
    scores = page.locator(".grid tbody tr:not(.space) td:nth-child(2)")
    shown = [float(text) for text in scores.all_inner_texts() if text != "–"]
    assert shown == sorted(shown)
    assert "All 46 candidates" in page.inner_text("[role=status]")
    page.click("[data-column=score]")
    assert page.get_attribute("th:has([data-column=score])", "aria-sort") == "descending"
    assert float(scores.first.inner_text()) == max(shown)
    page.locator("label", has_text="outcome").locator("select").first.select_option("crashed")
    page.locator("[role=status]", has_text="5 of 46 candidates").wait_for()
    page.locator("label", has_text="outcome").locator("select").first.select_option("")
    page.get_by_label("find").fill("hyperlink")
    page.locator("[role=status]", has_text="1 of 46 candidates").wait_for()
    with page.expect_download() as saved:
        page.get_by_role("button", name="Download CSV").click()
    saved.value.save_as(tmp_path / "t.csv")
    head, row = csv.reader((tmp_path / "t.csv").read_text().splitlines())
    assert head == ["id", "score", "lines", "idea"]
    assert row[3] == f"'{FORMULA}", "a spreadsheet reads a text, no formula"
    page.get_by_label("find").fill("")
    page.locator("[role=status]", has_text="All 46 candidates").wait_for()
    page.get_by_text("Columns").click()
    page.get_by_label("operator", exact=True).last.check()
    page.locator("[data-column=operator]").wait_for()
    assert "operator" in page.evaluate("location.hash")


def test_two_candidates_are_compared(page: Any, page_file: Path) -> None:
    show(page, page_file, "compare")
    page.wait_for_selector("[data-compared]")
    assert "The seed program and the best candidate." in page.inner_text("#view"), "until others are chosen"
    page.get_by_role("button", name="remove").last.click()
    page.get_by_role("button", name="Seed program and best").click()
    page.wait_for_selector("[data-compared]")
    assert page.locator("pre.diff .add").count() >= 1
    assert "RATE = 0.001" in page.locator("pre.diff .del").first.inner_text()
    assert page.locator("pre.diff .t-comment").count() >= 1
    assert "By case" in page.inner_text("#view")
    ids = page.evaluate("location.hash").split("nodes=")[1].split(",")
    assert len(ids) == 2
    page.get_by_role("button", name="Swap").click()
    page.wait_for_function(f"location.hash.includes('{ids[1]},{ids[0]}')")
    page.wait_for_selector("[data-compared]")
    assert "RATE = 0.001" in page.locator("pre.diff .add").first.inner_text()
    page.get_by_placeholder("start of an id").fill("zzz")
    page.keyboard.press("Enter")
    page.locator("[role=status]", has_text="no candidate has an id").wait_for()


def test_all_cases_are_shown_when_asked_for(page: Any, page_file: Path) -> None:
    show(page, page_file, "compare")
    rows = page.locator("section:has(h2:text-is('By case')) tbody tr")
    page.get_by_role("button", name="Show all cases").wait_for()
    assert rows.count() == 40
    page.get_by_role("button", name="Show all cases").click()
    page.locator(".scroll.all").wait_for()
    assert rows.count() == MANY_CASES
    assert "Mean screening scores of 50 cases." in page.inner_text("#view")
    assert page.get_by_role("button", name="Show all cases").count() == 0


def test_axes_are_chosen_and_ordered(page: Any, page_file: Path) -> None:
    show(page, page_file, "parameters")
    ready(page, "parameters")
    axes = page.locator(".axes li")
    page.get_by_text("Axes", exact=True).click()
    assert {text.split()[-1] for text in axes.all_inner_texts()} == {"RATE", "WIDTH"}
    first = axes.first.inner_text().split()[-1]
    page.get_by_role("button", name=f"move to the right: {first}").click()
    assert axes.last.inner_text().endswith(first)
    page.get_by_role("button", name="remove WIDTH").click()
    assert page.evaluate("location.hash").endswith("axes=RATE")
    page.locator(".columns select").select_option(label="WIDTH")
    assert [text.split()[-1] for text in axes.all_inner_texts()] == ["RATE", "WIDTH"]
    said = page.locator("figcaption", has_text="The best tenth of the candidates").inner_text()
    assert said.index("RATE") < said.index("WIDTH"), "in their order"
    show(page, page_file, "parameters", "&axes=WIDTH,NONE")
    ready(page, "parameters")
    page.get_by_text("Axes", exact=True).click()
    assert [text.split()[-1] for text in axes.all_inner_texts()] == ["WIDTH"]


AUDIT = """
() => {
  const shade = (text) => (text.match(/[\\d.]+/g) ?? [0, 0, 0, 0]).map(Number);
  const linear = (v) => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4;
  const light = ([r, g, b]) => 0.2126 * linear(r / 255) + 0.7152 * linear(g / 255) + 0.0722 * linear(b / 255);
  const back = (at) => {
    const found = shade(getComputedStyle(at).backgroundColor);
    return found.length < 4 || found[3] > 0 ? found : at.parentElement ? back(at.parentElement) : [255, 255, 255];
  };
  const bad = [], walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  let seen = 0;
  while (walker.nextNode()) {
    const at = walker.currentNode.parentElement;
    if (!walker.currentNode.data.trim() || !at.checkVisibility() || at.closest("script, :disabled")) continue;
    const [low, high] = [light(shade(getComputedStyle(at).color)), light(back(at))].sort((a, b) => a - b);
    seen++;
    if ((high + 0.05) / (low + 0.05) < 4.5) bad.push(walker.currentNode.data.slice(0, 40));
  }
  return { bad, seen };
}
"""
"""Texts in the document whose contrast with what is behind them is below 4.5."""


@pytest.mark.parametrize(
    ("page", "scheme"),
    [
        (1400, "light"),
        (400, "dark"),
        pytest.param(400, "light", marks=pytest.mark.nightly),
        pytest.param(1400, "dark", marks=pytest.mark.nightly),
    ],
    indirect=["page"],
)
def test_every_text_of_every_view_has_the_contrast_of_wcag_aa(page: Any, page_file: Path, scheme: str) -> None:
    page.emulate_media(color_scheme=scheme)
    for view in VIEWS:
        show(page, page_file, view)
        page.wait_for_function("!document.querySelector('#view').innerText.includes('Loading …')")
        if view == "compare":
            page.wait_for_selector("[data-compared]")
        found = page.evaluate(AUDIT)
        assert found["seen"] > 20
        assert found["bad"] == [], view
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), view


def test_parameters_have_their_importance_and_slices(page: Any, page_file: Path) -> None:
    show(page, page_file, "parameters")
    ready(page, "parameters")
    said = page.inner_text("#view")
    assert "Gain by parameter" in page.locator("[role=img]").first.get_attribute("aria-label")
    assert "as python -m search explain does" in said
    assert "The best tenth of the candidates" in said
    page.get_by_label("score against").select_option(label="WIDTH")
    page.locator("figcaption", has_text="with WIDTH from 32 to 256").wait_for()
    assert page.locator("canvas").count() == 3


def test_prompts_and_answers_are_texts(page: Any, page_file: Path) -> None:
    show(page, page_file, "models")
    ready(page, "calls")
    assert "model-a" in page.inner_text("#view")
    assert "a duplicate of an earlier candidate" in page.inner_text("#view")
    assert "time-out" in page.inner_text("#view")
    page.get_by_role("link", name="read").first.click()
    page.locator("pre", has_text="Improve this").first.wait_for()
    assert SCRIPT in page.locator("pre.wrapped").first.inner_text()


def test_cases_are_a_heat_map_with_its_table(page: Any, page_file: Path) -> None:
    show(page, page_file, "cases")
    ready(page, "cases")
    assert "is better than the seed program on the most cases" in page.inner_text("figcaption")
    page.get_by_text("the same as a table").first.click()
    page.locator("details td a").first.wait_for()
    assert page.locator("details th").all_inner_texts()[1:7] == [f"n={26 + i}" for i in range(6)]
    words = page.locator("figure + figcaption, section > figcaption").first.bounding_box()
    assert words["width"] <= page.viewport_size["width"], "the words do not scroll with the map"


def test_failures_are_grouped_with_their_candidates(page: Any, page_file: Path) -> None:
    show(page, page_file, "failures")
    ready(page, "failures")
    assert "5 × crashed" in page.inner_text("#view")
    assert page.locator(".group").count() == 1
    assert page.locator(".group a.id").count() == 5
    page.locator(".group a.id").first.click()
    page.wait_for_selector("#node[data-shown]")
    assert SCRIPT in page.inner_text("#node")


def test_of_ten_thousand_candidates_only_those_in_view_are_in_the_document(tmp_path: Path) -> None:
    count = 10_000
    with Archive.open(tmp_path / "a.duckdb") as archive:
        diary = Diary(archive, a_run())
        diary.screened(diary.child(operator="seed", text=SEED), 3.0)
    facts = gather(open_reader(tmp_path / "a.duckdb"))
    for name, column in facts["nodes"].items():
        column *= count
        if name == "id":
            column[:] = [f"{i:08x}-0000" for i in range(count)]
        if name == "score":
            column[:] = [3.0 - i / count for i in range(count)]
        if name == "parents":
            column[:] = [[i - 1] if i else [] for i in range(count)]
    (tmp_path / "r.html").write_text("".join(offline_page(RunData(facts))))
    with chromium() as page:
        show(page, tmp_path / "r.html", "table")
        assert "All 10,000 candidates" in page.inner_text("[role=status]")
        assert page.locator(".grid tbody tr").count() < 100
        assert page.locator(".grid tbody a").first.inner_text() == f"{count - 1:08x}", "the best comes first"
        page.evaluate("document.querySelector('.grid').scrollTop = 1e9")
        page.locator(f".grid tr[aria-rowindex='{count + 1}']").wait_for()
        assert page.locator(".grid tbody tr").count() < 100
        assert page.said == []


def test_the_live_page_asks_for_the_parts_and_says_what_is_new(tmp_path: Path) -> None:
    path = tmp_path / "a.duckdb"
    with Archive.open(path) as archive, SqlServer(archive):
        diary = Diary(archive, a_run())
        root = diary.screened(diary.child(operator="seed", text=SEED), 3.0)
        archive.record_call(a_call(move=1, prompt="try harder"))
        child = diary.screened(diary.child(root, text=SEED.replace("64", "65")), 2.9, None)
        with served(path) as address, chromium() as page:
            page.goto(f"{address}#view=models&call=1")
            page.locator("pre", has_text="try harder").wait_for()
            page.goto(f"{address}#view=failures")
            page.locator(".group", has_text="it crashed").wait_for()
            diary.screened(child, None)
            page.get_by_role("button", name="Show what is new").click(timeout=60_000)
            page.locator(".group h3", has_text="2 × crashed").wait_for()
            page.goto(f"{address}#view=compare&nodes={root.node_id},{child.node_id}")
            page.locator("pre.diff .add", has_text="WIDTH = 65").wait_for()
            assert [said for said in page.said if "404" not in said] == []
