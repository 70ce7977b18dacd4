"""The views: what they answer on a small family, in both directions, and what they must never show."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import duckdb
import pytest
from archive_sample import ELSEWHERE, HERE, Diary, a_call, a_family, a_run, failed, request_for, scored

from archive.records import Decision, Node, Propose
from archive.store import Archive


@pytest.fixture
def archive(tmp_path: Path) -> Iterator[Archive]:
    with Archive.open(tmp_path / "a.duckdb") as opened:
        yield opened


def ids(nodes: list[Node]) -> list[str]:
    return [node.node_id for node in nodes]


def near(rows: list[tuple[Any, ...]]) -> list[tuple[Any, ...]]:
    return [tuple(pytest.approx(value) if isinstance(value, float) else value for value in row) for row in rows]


@pytest.mark.parametrize("direction", ["minimise", "maximise"])
def test_leaderboard_ranks_the_best_first_whatever_the_direction(archive: Archive, direction: Any) -> None:
    _, nodes = a_family(archive, direction)
    root, good, bad, _, best = ids(nodes)
    sign = 1 if direction == "minimise" else -1
    rows = archive.query("SELECT place, node_id, score, runs, gain_on_root, idea FROM leaderboard")
    assert rows == near([
        (1, best, sign * 3.05, 2, 0.45, "both"),
        (2, good, sign * 3.2, 1, 0.3, "wider"),
        (3, root, sign * 3.5, 2, 0.0, "the seed program"),
        (4, bad, sign * 3.9, 1, -0.4, "narrower"),
    ])  # fmt: skip


@pytest.mark.parametrize("direction", ["minimise", "maximise"])
def test_lineage_brings_both_parents_of_a_crossover(archive: Archive, direction: Any) -> None:
    _, nodes = a_family(archive, direction)
    root, good, bad, _, best = ids(nodes)
    rows = archive.query("SELECT node_id, parents, runs, gain FROM lineage(?)", [best[:6]])
    assert rows == near([
        (root, None, 2, None), (good, [root], 1, 0.3), (bad, [root], 1, -0.4), (best, [good, bad], 2, 0.15)
    ])  # fmt: skip


def test_children_with_what_became_of_them(archive: Archive) -> None:
    diary, nodes = a_family(archive)
    _, good, _, broken, best = ids(nodes)
    waiting = diary.child(nodes[1]).node_id
    rows = archive.query("SELECT node_id, outcome, score, gain FROM children(?)", [good])
    assert rows == near([(broken, "crashed", None, None), (best, "scored", 3.05, 0.15), (waiting, None, None, None)])


def test_an_id_may_be_given_by_a_start_that_fits_one_node(archive: Archive) -> None:
    _, nodes = a_family(archive)
    for node_id in ids(nodes):
        starts = [node_id[:n] for n in range(1, 17) if sum(other.startswith(node_id[:n]) for other in ids(nodes)) == 1]
        assert archive.query("SELECT full_id(?)", [starts[0]]) == [(node_id,)]
    with pytest.raises(duckdb.Error, match=r"is the start of 5 ids: .*; give more digits"):
        archive.query("SELECT * FROM lineage('')")
    with pytest.raises(duckdb.Error, match="no node has an id that starts with 'zebra'"):
        archive.query("SELECT * FROM children('zebra')")


def test_progress_says_the_best_so_far(archive: Archive) -> None:
    _, nodes = a_family(archive)
    root, good, bad, broken, best = ids(nodes)
    rows = archive.query("SELECT evaluation, node_id, outcome, score, best FROM progress")
    assert rows == near([
        (1, root, "scored", 3.4, 3.5), (2, root, "scored", 3.6, 3.5), (3, good, "scored", 3.2, 3.2),
        (4, bad, "scored", 3.9, 3.2), (5, broken, "crashed", None, 3.2), (6, best, "scored", 3.0, 3.05),
        (7, best, "scored", 3.1, 3.05),
    ])  # fmt: skip
    hours = [h for (h,) in archive.query("SELECT hours FROM progress WHERE outcome = 'scored'")]
    assert hours == sorted(hours)


def test_operator_stats_count_gains_failures_and_refusals(archive: Archive) -> None:
    diary, nodes = a_family(archive)
    archive.record_call(a_call())
    diary.choose(Propose("improve", (nodes[0].node_id,)))  # still being made
    rows = archive.query(
        "SELECT operator, proposals, refused, nodes, scored, failed, improved, best_gain, dollars FROM operator_stats"
    )
    assert rows == near([
        ("crossover", 1, 0, 1, 1, 0, 1, 0.15, None),
        ("improve", 2, 0, 1, 0, 1, 0, None, 0.25),
        ("seed", 1, 0, 1, 1, 0, 0, None, None),
        ("tune", 3, 1, 2, 2, 0, 1, 0.3, None),
    ])  # fmt: skip


def test_spending_adds_up_what_has_a_price_and_counts_what_has_none(archive: Archive) -> None:
    a_family(archive)
    for dollars in (0.25, 0.5, None):
        archive.record_call(a_call(dollars=dollars))
    rows = archive.query(
        "SELECT operator, evaluations, llm_calls, tokens_in, tokens_out, dollars, unpriced_calls FROM spending"
    )
    assert rows == near([
        ("crossover", 2, 0, 0, 0, None, 0), ("improve", 1, 3, 30, 15, 0.75, 1), ("seed", 2, 0, 0, 0, None, 0),
        ("tune", 2, 0, 0, 0, None, 0),
    ])  # fmt: skip


def test_failures_show_the_tail_of_the_log(archive: Archive) -> None:
    diary, nodes = a_family(archive)
    diary.record(failed(request_for(nodes[0], 50), "timed_out", log="x" * 1000 + "the end"))
    rows = archive.query("SELECT node_id, outcome, reason, length(log_tail), right(log_tail, 7) FROM failures")
    assert rows == [
        (nodes[3].node_id, "crashed", "it crashed", 16, ": boom\n"),
        (nodes[0].node_id, "timed_out", "it timed_out", 400, "the end"),
    ]


def test_programs_give_the_text(archive: Archive) -> None:
    _, nodes = a_family(archive)
    assert archive.query("SELECT path, text FROM programs WHERE node_id = ?", [nodes[0].node_id]) == [
        ("train.py", "WIDTH = 64\n")
    ]


def test_run_summary_names_leader_and_champion(archive: Archive) -> None:
    _, nodes = a_family(archive)
    Diary(archive, a_run("empty", "maximise"))
    archive.decide(Decision("night", "champion", nodes[4].node_id, "why", {}, 5.0))
    rows = archive.query("SELECT run, nodes, evaluations, leader, leader_score, champion FROM run_summary")
    assert rows == near([
        ("empty", 0, 0, None, None, None), ("night", 5, 7, nodes[4].node_id, 3.05, nodes[4].node_id)
    ])  # fmt: skip


def test_only_what_was_made_under_the_present_conditions_is_compared(archive: Archive) -> None:
    diary, nodes = a_family(archive)
    diary.record(failed(request_for(nodes[0], 90), "lost", conditions=ELSEWHERE))  # says nothing about the conditions
    assert len(archive.query("FROM leaderboard")) == 4
    diary.record(scored(request_for(nodes[1], 91), 2.0, conditions=ELSEWHERE))
    assert archive.query("SELECT node_id, score, runs FROM leaderboard") == [(nodes[1].node_id, 2.0, 1)]
    assert archive.query("SELECT count(*) FROM progress") == [(1,)]
    diary.record(scored(request_for(nodes[0], 92), 3.5, conditions=HERE))
    assert len(archive.query("FROM leaderboard")) == 4


def test_two_runs_do_not_mix(archive: Archive) -> None:
    _, first = a_family(archive)
    _, second = a_family(archive, "maximise", "day")
    rows = archive.query("SELECT run, place, node_id FROM leaderboard WHERE place = 1")
    assert rows == [("day", 1, second[4].node_id), ("night", 1, first[4].node_id)]


def test_no_view_shows_what_select_or_holdout_said(archive: Archive) -> None:
    """Scores of the claim are 7.777, everywhere; no view or macro may let one through, in whatever column."""
    diary, nodes = a_family(archive)
    for node in nodes:
        for seed, purpose in ((200, "confirm"), (201, "report")):
            diary.record(scored(request_for(node, seed, purpose), 7.777))
        diary.record(failed(request_for(node, 202, "report"), "invalid", reason="val_bpb is 7.777", log="7.777"))
    views = [name for (name,) in archive.query("SELECT view_name FROM duckdb_views() WHERE NOT internal")]
    assert {"leaderboard", "progress", "operator_stats", "spending", "failures", "programs"} <= set(views)
    sources = [*views, *(f"{macro}('{node.node_id}')" for macro in ("lineage", "children") for node in nodes)]
    for source in sources:
        assert "7.77" not in str(archive.query(f"FROM {source}")), source
    assert "7.77" in str(archive.query("FROM evaluations"))
    assert archive.query("SELECT DISTINCT purpose FROM failures ORDER BY 1") == [("report",), ("screen",)]


def test_views_are_those_of_the_version_that_opened_last_and_readable_by_plain_duckdb(tmp_path: Path) -> None:
    path = tmp_path / "a.duckdb"
    with Archive.open(path) as archive:
        a_family(archive)
    with duckdb.connect(str(path)) as raw:
        raw.execute("CREATE OR REPLACE VIEW leaderboard AS SELECT 'old' AS age")
    Archive.open(path).close()
    with duckdb.connect(str(path), read_only=True) as raw:
        assert len(raw.execute("SELECT place FROM leaderboard").fetchall()) == 4
        best = raw.execute("SELECT node_id FROM leaderboard WHERE place = 1").fetchall()[0][0]
        assert len(raw.execute("FROM lineage(?)", [best]).fetchall()) == 4
