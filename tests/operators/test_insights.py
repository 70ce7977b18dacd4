"""Insights: counted in the tree and, for the other comparable runs, by SQL; in the sentences of the report."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pytest
from archived import a_run, stored
from example_counts import examples
from garden import CONDITIONS, Garden
from hypothesis import given, settings
from hypothesis import strategies as st
from scripts import edit, metered

from archive.records import Conditions, Direction
from archive.report.lessons import tally
from archive.storage.store import Archive
from archive.tree import Tree
from operators.rewrite.improve import Improve
from operators.rewrite.prompt.insights import Insights, KindCounts, _kind, facts_of_other_runs, facts_of_tree

SOURCE = "RATE = 0.001\n"


def planted(gains: list[tuple[str, str | None, float | None]], conditions: Conditions = CONDITIONS) -> Garden:
    """(operator, aim, gain or None for a crash) of children of one root."""
    garden = Garden()
    root = garden.plant(SOURCE)
    garden.score(root, 3.0, conditions=conditions)
    for i, (operator, aim, gain) in enumerate(gains):
        node = garden.grow(SOURCE + f"x = {i}\n", (root.node_id,), operator, f"idea {i} of {operator}", aim=aim)
        if gain is None:
            garden.fail(node, conditions=conditions)
        else:
            garden.score(node, 3.0 - gain, conditions=conditions)
    return garden


@pytest.fixture
def archive(tmp_path: Path) -> Any:
    with Archive.open(tmp_path / "a.duckdb") as archive:
        yield archive


def lines(archive: Archive, sigma: float | None = 0.01) -> tuple[str, ...]:
    """The lines of a new run."""
    return Insights().lines(Tree("new", "minimise", CONDITIONS), archive.query, sigma)


def lines_of_view(archive: Archive, runs: list[str]) -> list[str]:
    """The lines about kinds of change with three cases or more, from the view ``change_kind_stats``."""
    rows = archive.query(
        "SELECT operator, aim, sum(improved), sum(tried) AS tried, sum(failed), max(best_gain) FROM change_kind_stats "
        "WHERE list_contains(?, run) GROUP BY operator, aim HAVING sum(tried) >= 3 "
        "ORDER BY sum(improved) / sum(tried) DESC, tried DESC, operator, aim",
        [runs],
    )
    return [_kind((operator, aim), KindCounts(*counts)) for operator, aim, *counts in rows]


def test_kinds_are_counted_over_all_comparable_runs(archive: Archive) -> None:
    ours: list[tuple[str, str | None, float | None]] = [
        ("improve", "schedule", 0.2), ("improve", "schedule", -0.1), ("tune", None, 0.001), ("tune", None, -0.1),
    ]  # fmt: skip
    stored(archive, planted(ours), a_run("night"))
    assert not any("schedule):" in line and "children" in line for line in lines(archive)), "two cases are too few"
    stored(archive, planted([("improve", "schedule", None), ("tune", None, -0.2)]), a_run("evening"))
    elsewhere = replace(CONDITIONS, hardware="another machine")
    stored(archive, planted([("improve", "speed", 1.0)] * 5, elsewhere), a_run("elsewhere"))
    found = lines(archive)
    assert f"- {tally('improve (schedule)', 1, 3, 1)} The best of them gained 0.2." in found
    assert f"- {tally('tune', 1, 3, 0)} The best of them gained 0.001." in found
    assert [line for line in found if "children" in line] == lines_of_view(archive, ["night", "evening"])
    assert "- better by 0.2: improve (schedule): idea 0 of improve" in found
    assert "- evaluations without a score: 1 crashed" in found
    assert not any("speed" in line for line in found), "made on other hardware"
    assert not any(line.startswith("- better by 0.001") for line in found), "that is noise"


def test_what_is_told_first_gained_most_often(archive: Archive) -> None:
    gains: list[tuple[str, str | None, float | None]] = [("improve", "speed", 0.2)] * 3
    gains += [("improve", "numerics", g) for g in (0.1, -0.1, -0.1)] + [("draft", None, -1.0)] * 3
    stored(archive, planted(gains), a_run("night"))
    kinds = [line.split(":")[0] for line in lines(archive) if "children" in line]
    assert kinds == ["- improve (speed)", "- improve (numerics)", "- draft"]


def test_steps_that_an_ablation_took_out_are_no_kind_of_change(archive: Archive) -> None:
    stored(archive, planted([("tune", None, 0.2)] * 3), a_run("night"))
    stored(archive, planted([("ablate", None, -0.2)] * 3), replace(a_run("ablation"), policy="ablation"))
    assert [line.split(":")[0] for line in lines(archive) if "children" in line] == ["- tune"]


def test_no_score_of_another_split_and_no_cheat_is_a_lesson(archive: Archive) -> None:
    garden = planted([("improve", "speed", 0.25)] * 3)
    for node in garden.tree.nodes:
        garden.score(node, 0.7771, purpose="confirm", seed=7)
        garden.score(node, 0.7772, purpose="report", seed=8)
    cheat = garden.tree.nodes[1]
    garden.fail(cheat, "invalid", violation=True, purpose="report", reason="7.7773", log="7.7774")
    stored(archive, garden, a_run("night"))
    text = "\n".join(lines(archive))
    assert ".777" not in text
    assert "2 of 3 children" in text, "the cheat's gain does not count"
    assert "idea 0 of improve" not in text


def test_they_reach_the_prompt_as_data_and_are_optional(archive: Archive) -> None:
    garden = planted([("improve", "speed", 0.25)] * 3)
    stored(archive, garden, a_run("night"))
    root = garden.tree.root
    others, alone = (f'<data kind="lessons">\n- improve (speed): {n} of {n} children' for n in (6, 3))
    for made, query, part in (
        (garden, archive.query, others),
        (garden, None, alone),
        (planted([]), None, "- nothing yet"),
    ):
        meter, model = metered([edit("RATE = 0.001", "RATE = 0.002")])
        made.ask(Improve(meter), root, query=query)
        assert part in model.prompts[0].text


def test_a_writer_that_needs_the_memory_goes_first(archive: Archive) -> None:
    """Nothing is learned of the other runs for the time until the run has grown: the next proposal asks again."""
    stored(archive, planted([("improve", "speed", 0.25)] * 3), a_run("night"))
    garden, insights = planted([("tune", None, 0.125)] * 3), Insights()

    def interrupted(sql: str, parameters: Any) -> list[tuple[Any, ...]]:
        raise duckdb.InterruptException("interrupted")

    def told(query: Any) -> list[str]:
        lines = insights.lines(garden.tree, query, None)
        return [line.split(":")[0] for line in lines if "children" in line]

    assert told(interrupted) == ["- tune"]
    garden.score(garden.tree.nodes[0], 3.0, seed=1)
    assert told(archive.query) == ["- improve (speed)", "- tune"]
    garden.score(garden.tree.nodes[0], 3.0, seed=2)
    assert told(interrupted) == ["- improve (speed)", "- tune"], "the other runs are asked for once"


@pytest.mark.parametrize(("size", "more"), [(10, 1), (1000, 20)])
def test_they_are_counted_again_when_the_run_has_grown(size: int, more: int) -> None:
    garden = planted([("tune", None, 0.125)] * size)
    insights = Insights()
    first = insights.lines(garden.tree, None, None)
    for seed in range(1, more + 1):
        assert insights.lines(garden.tree, None, None) == first, "a large run does not learn from each evaluation"
        garden.fail(garden.grow(f"y = {seed}\n", (garden.tree.root,)))
    assert f"{more} crashed" in insights.lines(garden.tree, None, None)[-1]


def grown(direction: Direction, seed: int) -> Garden:
    """A tree of everything that a search may record; scores are exact in binary: no mean depends on their order."""
    rng = np.random.default_rng(seed)
    garden = Garden(direction)
    garden.plant(SOURCE)
    for number in range(int(rng.integers(1, 30))):
        parents = [str(name) for name in rng.choice([node.node_id for node in garden.tree.nodes], 2)]
        count = int(rng.integers(1, 3))
        operator, aim = str(rng.choice(["tune", "improve"])), [None, "speed", "loss"][int(rng.integers(3))]
        garden.grow(f"x = {number}\n", tuple(dict.fromkeys(parents[:count])), operator, f"idea {number}", aim=aim)
    for node in garden.tree.nodes:
        for number in range(1, int(rng.integers(1, 4))):
            purpose = "screen" if rng.random() < 0.8 else "report"
            conditions = CONDITIONS if rng.random() < 0.9 else replace(CONDITIONS, hardware="another machine")
            garden.score(node, int(rng.integers(16)) / 8, purpose, number, conditions=conditions)  # type: ignore[arg-type]
        if rng.random() < 0.25:
            outcome = str(rng.choice(["crashed", "invalid", "timed_out", "lost"]))
            garden.fail(node, outcome, violation=outcome == "invalid" and rng.random() < 0.5)  # type: ignore[arg-type]
    garden.score(garden.tree.nodes[-1], 1.0, "confirm", 99)  # the last one in the archive: its conditions are present
    return garden


@pytest.mark.slow
@settings(max_examples=examples(5), deadline=None)
@given(direction=st.sampled_from(["minimise", "maximise"]), seed=st.integers(0, 2**32))
def test_the_tree_and_the_views_count_alike(direction: Direction, seed: int) -> None:
    """For any tree; also when it is rebuilt from its rows, as a resumed search does."""
    garden, run = grown(direction, seed), replace(a_run("night"), direction=direction)
    with Archive.in_memory() as archive:
        stored(archive, garden, run)
        counted = facts_of_tree(garden.tree)
        assert facts_of_other_runs(garden.tree, archive.query) == counted
        assert facts_of_tree(archive.tree(run, CONDITIONS)) == counted
