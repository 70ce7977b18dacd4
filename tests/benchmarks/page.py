"""What the report page of a large run costs: to make, to open and to click.

    python tests/benchmarks/page.py [--quick] [--nodes 10000]

    report_s, report_cpu_s, report_mb    `archive report` of a run of 10,000 nodes, process start included
    first_paint_ms     from the start of the navigation to the first contentful paint (the header), the slower view
    overview_ms, tree_ms   to the view with its charts; with tree_ms the subtrees beside the best lineage are folded
    unfold_ms          from the click on "Unfold all" to the frame with all nodes
    click_ms           the slowest of some clicks on dots of the progress plot and on nodes of the tree in headless
                       Chromium, from the event to the frame that has the panel of the node; click_median_ms: the median
    first_click_ms     the slower of the first click of each view, which also makes room for the panel

The last line is one JSON object. Where other work shares the cores, `chrt -r 1 python tests/benchmarks/page.py` (as
root) has this one go first, as on a quiet machine.
"""

from __future__ import annotations

import argparse
import json
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from preload import WIDE, preload

HOUSE = Path(__file__).resolve().parents[2]
PLACES = ((0.2, 0.3), (0.35, 0.5), (0.5, 0.4), (0.62, 0.6), (0.7, 0.35), (0.8, 0.5), (0.55, 0.7), (0.45, 0.25))
"""Of clicks, as shares of the plot's width and height."""
WATCH = """
window.landed = []; let began = 0, shown = null;
document.addEventListener("click", (event) => { began = event.timeStamp; }, true);
const ready = setInterval(() => {
  const panel = document.getElementById("node");
  if (!panel) return;
  clearInterval(ready);
  new MutationObserver(() => {
    if (panel.dataset.shown === shown || !panel.dataset.shown) return;
    shown = panel.dataset.shown;
    requestAnimationFrame(() => setTimeout(() => landed.push(performance.now() - began)));
  }).observe(panel, { attributes: true, attributeFilter: ["data-shown"] });
}, 1);
"""
"""Script that measures from a click to the end of the frame that has the whole panel."""
FRAMES = "new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))"


def make(path: Path, out: Path) -> dict[str, float]:
    """Write the page, and return how long that took and its size."""
    words = [sys.executable, "-m", "archive", "--archive", str(path), "report", "--run", WIDE.run, "--out", str(out)]
    before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    subprocess.run(words, cwd=HOUSE, check=True, stdout=subprocess.DEVNULL)
    wall, after = time.perf_counter() - start, resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return {"report_s": wall, "report_cpu_s": cpu, "report_mb": out.stat().st_size / 1e6}


def look(out: Path, clicks: int) -> dict[str, float]:
    """Open the page in Chromium and click on it; {} where there is none."""
    binary = shutil.which("chromium") or shutil.which("chromium-browser")
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        return {}
    if binary is None:
        return {}
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=binary, args=["--no-sandbox"])
        try:
            views = {name: view(browser, f"file://{out}#view={name}", name, clicks) for name in ("overview", "tree")}
        finally:
            browser.close()
    later = [each for found in views.values() for each in found["clicks"][1:]]
    return {
        "first_paint_ms": max(found["paint"] for found in views.values()),
        "overview_ms": views["overview"]["ready"],
        "tree_ms": views["tree"]["ready"],
        "unfold_ms": views["tree"]["unfold"],
        "first_click_ms": max(found["clicks"][0] for found in views.values()),
        "click_ms": max(later),
        "click_median_ms": statistics.median(later),
    }


def view(browser: Any, address: str, name: str, clicks: int) -> dict[str, Any]:
    """Return the times of one view: first paint, ready, unfolded (of the tree), and each click that met a node."""
    tab = browser.new_page(viewport={"width": 1400, "height": 1200})
    tab.add_init_script(WATCH)
    tab.goto(address)
    tab.wait_for_selector("body[data-ready]", timeout=120_000)
    tab.evaluate(FRAMES)
    ready = tab.evaluate("performance.now()")
    tab.wait_for_function("performance.getEntriesByName('first-contentful-paint').length")  # the entry comes later
    paint = tab.evaluate("performance.getEntriesByName('first-contentful-paint')[0].startTime")
    unfold = 0.0
    if name == "tree":
        unfold = tab.evaluate(
            f"""async () => {{ const began = performance.now();
            [...document.querySelectorAll("button")].find((one) => one.textContent === "Unfold all").click();
            await {FRAMES}; return performance.now() - began; }}"""
        )
    frame = tab.locator("#progress .frame" if name == "overview" else "#tree .frame")
    for across, down in PLACES[:clicks]:
        box = frame.bounding_box()
        frame.click(position={"x": box["width"] * across, "y": box["height"] * down})
        tab.wait_for_timeout(400)
    found = tab.evaluate("landed")
    tab.close()
    return {"paint": paint, "ready": ready, "unfold": unfold, "clicks": found}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="2,000 nodes and fewer clicks: under a minute")
    parser.add_argument("--nodes", type=int, default=10_000, help="nodes of the run (%(default)s)")
    options = parser.parse_args()
    nodes, clicks = (2_000, 4) if options.quick else (options.nodes, len(PLACES))
    with tempfile.TemporaryDirectory(prefix="treewright-bench-") as name:
        path, out = Path(name) / "page.duckdb", Path(name) / "report.html"
        preload(path, nodes)
        figures = make(path, out)
        print(f"  {nodes:,} nodes: {figures['report_s']:.1f} s, {figures['report_mb']:.1f} MB", flush=True)
        figures |= look(out, clicks)
    print(
        json.dumps({**{key: round(value, 4) for key, value in figures.items()}, "nodes": nodes, "quick": options.quick})
    )


if __name__ == "__main__":
    main()
