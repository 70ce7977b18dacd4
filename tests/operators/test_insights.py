"""Insights from the archive: counted by SQL over all comparable runs, in the sentences of the report."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import duckdb
import pytest
from archived import a_run, stored
from garden import CONDITIONS, Garden
from scripts import edit, metered

from archive.records import Conditions
from archive.report.lessons import tally
from archive.storage.store import Archive
from operators.rewrite.improve import Improve
from operators.rewrite.prompt.insights import Insights, _kind, query_insights

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
    return query_insights(archive.query, "night", CONDITIONS, sigma)


def lines_of_view(archive: Archive, runs: list[str]) -> list[str]:
    """The lines about kinds of change with three cases or more, from the view ``change_kind_stats``."""
    rows = archive.query(
        "SELECT operator, aim, sum(improved), sum(tried) AS tried, sum(failed), max(best_gain) FROM change_kind_stats "
        "WHERE list_contains(?, run) GROUP BY operator, aim HAVING sum(tried) >= 3 "
        "ORDER BY sum(improved) / sum(tried) DESC, tried DESC, operator, aim",
        [runs],
    )
    return [_kind(*row) for row in rows]


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
    for query, part in ((archive.query, '<data kind="lessons">\n- improve (speed): 3 of 3'), (None, "- nothing yet")):
        meter, model = metered([edit("RATE = 0.001", "RATE = 0.002")])
        garden.ask(Improve(meter), root, query=query, run="night")
        assert part in model.prompts[0].text


def test_a_writer_that_needs_the_memory_goes_first() -> None:
    """Nothing is learned of that for the time until the run has grown: the next proposal asks again."""
    lessons = Insights()

    def interrupted(sql: str, parameters: Any) -> list[tuple[Any, ...]]:
        raise duckdb.InterruptException("interrupted")

    def query(sql: str, parameters: Any) -> list[tuple[Any, ...]]:
        return [(None, None, [("crashed", 3)])]

    known = ("- evaluations without a score: 3 crashed",)
    assert lessons.lines(interrupted, "night", CONDITIONS, None, 1000) == ()
    assert lessons.lines(query, "night", CONDITIONS, None, 1000) == known
    assert lessons.lines(interrupted, "night", CONDITIONS, None, 1020) == known


def test_they_are_asked_for_again_when_the_run_has_grown() -> None:
    asked = []

    def query(sql: str, parameters: Any) -> list[tuple[Any, ...]]:
        asked.append(sql)
        return [(None, None, [("crashed", len(asked))])]

    lessons = Insights()

    def told(evaluated: int) -> tuple[str, ...]:
        return lessons.lines(query, "night", CONDITIONS, 0.01, evaluated)

    first = told(10)
    assert told(10) == first
    assert len(asked) == 1
    assert told(11) != first, "a small run learns from each evaluation"
    later = told(1000)
    assert told(1019) == later, "a large one from each fiftieth"
    assert told(1020) != later
