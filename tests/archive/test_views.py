"""The views: what they answer on a small family, in both directions, and what they must never show."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pytest
from archive_sample import ELSEWHERE, HERE, Diary, a_call, a_family, a_run, failed, request_for, scored
from scipy.stats import spearmanr

from archive.cli.commands import leaderboard
from archive.query.query import open_reader
from archive.records import CurvePoint, Decision, Node, Propose, Resources
from archive.storage import schema
from archive.storage.store import Archive


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
        (1, root, "scored", 3.4, 3.4), (2, root, "scored", 3.6, 3.5), (3, good, "scored", 3.2, 3.2),
        (4, bad, "scored", 3.9, 3.2), (5, broken, "crashed", None, 3.2), (6, best, "scored", 3.0, 3.0),
        (7, best, "scored", 3.1, 3.05),
    ])  # fmt: skip
    hours = [h for (h,) in archive.query("SELECT hours FROM progress WHERE outcome = 'scored'")]
    assert hours == sorted(hours)


def grow(archive: Archive, direction: Any) -> tuple[Diary, list[float]]:
    """Replicates that worsen a mean, cheats that take their heirs with them; and the best known at each moment."""
    diary = Diary(archive, a_run("night", direction))
    rng = np.random.default_rng(5)
    diary.screened(diary.child(operator="seed"), 3.0)
    known = [3.0]
    for step in range(120):
        nodes = diary.tree.nodes
        node = nodes[int(rng.integers(len(nodes)))] if rng.random() < 0.4 else diary.child(*rng.choice(nodes, 1))
        if rng.random() < 0.2:
            diary.record(failed(request_for(node, 500 + step), "invalid", violation=bool(rng.random() < 0.7)))
        elif rng.random() < 0.1:
            diary.record(failed(request_for(node, 500 + step)))
        else:
            diary.record(scored(request_for(node, 500 + step), round(float(rng.normal(3, 0.5)), 1)))
        known.append(float(diary.tree.means[diary.tree.index[str(diary.tree.leader())]]))
    assert diary.tree.suspects.sum() > 10
    return diary, known


@pytest.mark.slow
@pytest.mark.parametrize("direction", ["minimise", "maximise"])
def test_progress_is_what_the_tree_knew_at_every_moment(archive: Archive, direction: Any) -> None:
    diary, known = grow(archive, direction)
    assert archive.query("SELECT best FROM progress") == near([(best,) for best in known])
    suspects = {node.node_id: str(diary.tree.suspicion(node.node_id)) for node in diary.tree.nodes}
    assert dict(archive.query("SELECT node_id, because FROM suspects")) == {
        node_id: why for node_id, why in suspects.items() if diary.tree.suspect(node_id)
    }


@pytest.mark.slow
@pytest.mark.parametrize("direction", ["minimise", "maximise"])
def test_short_ways_to_an_answer_agree_with_the_long_ones(archive: Archive, direction: Any) -> None:
    """The family of a node knows what the whole archive knows of it; the first places are those of the whole table."""
    diary, _ = grow(archive, direction)
    whole = (
        "SELECT score, runs, deviation, because FROM nodes LEFT JOIN scores USING (node_id) "
        "LEFT JOIN suspects USING (node_id) WHERE node_id = ?"
    )
    family = "SELECT score, nullif(runs, 0), deviation, suspect FROM ancestry([?]) ORDER BY number DESC LIMIT 1"
    for node in diary.tree.nodes[::3]:
        assert archive.query(family, [node.node_id]) == near(archive.query(whole, [node.node_id]))
    columns = ("place", "node_id", "score", "runs", "gain_on_root", "operator", "idea", "suspect")
    table = archive.query(f"SELECT {', '.join(columns)} FROM leaderboard")
    assert len({row[0] for row in table}) < len([row for row in table if row[0]]), "some share a place"
    archive.close()
    reader = open_reader(archive.path)
    for limit in (5, 20, 1000):
        assert leaderboard(reader, "night", limit).rows == near(table[:limit])
    best = reader.query("SELECT leader, leader_score, leader_gain FROM run_summary").rows
    assert best == near([(table[0][1], table[0][2], table[0][4])])


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


def cheating_family(archive: Archive) -> tuple[Diary, list[Node]]:
    """``a_family`` in which the good child is found cheating in a run of the claim: it, its children, the crossover."""
    diary, nodes = a_family(archive)
    diary.record(failed(request_for(nodes[1], 60, "confirm"), "invalid", violation=True, reason="7.777"))
    return diary, nodes


def test_suspects_are_last_in_the_leaderboard_and_gain_nothing(archive: Archive) -> None:
    _, nodes = cheating_family(archive)
    root, good, bad, broken, best = ids(nodes)
    own = "found cheating (in a run of the claim)"
    heir = f"descends from {good[:8]}, {own}"
    assert archive.query("SELECT node_id, origin, because FROM suspects ORDER BY because DESC, node_id") == [
        (good, good, own), *sorted((node_id, good, heir) for node_id in (broken, best))
    ]  # fmt: skip
    rows = archive.query("SELECT place, node_id, suspect FROM leaderboard")
    assert rows == [(1, root, None), (2, bad, None), (None, best, heir), (None, good, own)]
    rows = archive.query("SELECT node_id, gain, suspect FROM lineage(?)", [best])
    assert rows == near([(root, None, None), (good, None, own), (bad, -0.4, None), (best, None, heir)])
    rows = archive.query("SELECT node_id, gain, suspect FROM children(?)", [root])
    assert rows == near([(good, None, own), (bad, -0.4, None)])
    assert archive.query("SELECT node_id FROM gains") == [(bad,)]
    assert archive.query("SELECT sum(suspect), sum(improved) FROM operator_stats") == [(3, 0)]
    assert archive.query("SELECT suspects, leader, leader_gain FROM run_summary") == [(3, root, 0.0)]
    assert [row[0] for row in archive.query("SELECT suspect FROM ideas")] == [None, own, None, heir, heir]


def test_a_champion_that_is_suspect_is_none(archive: Archive) -> None:
    diary, nodes = a_family(archive)
    archive.decide(Decision("night", "champion", nodes[4].node_id, "why", {}, 5.0))
    assert archive.query("SELECT champion FROM run_summary") == [(nodes[4].node_id,)]
    diary.record(failed(request_for(nodes[2], 60), "invalid", violation=True))
    assert archive.query("SELECT champion FROM run_summary") == [(None,)]


def test_model_stats_say_what_came_of_what_was_asked(archive: Archive) -> None:
    diary, nodes = a_family(archive)
    record = diary.choose(Propose("improve", (nodes[0].node_id,)))
    diary.screened(diary.add(record, "X = 9\n"), 3.0)
    for turn, outcome in enumerate(("failed", "answered")):
        archive.record_call(a_call(move=record.number, turn=turn, outcome=outcome, seconds=1.0 + turn))
    archive.record_call(a_call(move=99, model="n", dollars=None))
    rows = archive.query(
        "SELECT model, calls, answered, failed, seconds, nodes, scored, improved, best_gain, tokens_in, dollars, "
        "unpriced_calls FROM model_stats"
    )
    assert rows == near([
        ("m", 2, 1, 1, 1.5, 1, 1, 1, 0.5, 20, 0.5, 0), ("n", 1, 1, 0, 1.5, 0, 0, 0, None, 10, None, 1)
    ])  # fmt: skip
    assert archive.query("SELECT models, outcome, gain FROM ideas WHERE idea = 'idea 5'") == near(
        [("m", "scored", 0.5)]
    )


def test_throughput_has_a_row_for_every_training(archive: Archive) -> None:
    diary, nodes = a_family(archive)
    used = Resources(8.0, {"train": 8.0, "score": 2.0}, 15.0, 300.0, 400, 7.0, "cgroup2", machine_speed=20.5)
    diary.record(scored(request_for(nodes[0], 70), 3.0, resources=used))
    rows = archive.query(
        "SELECT steps_per_second, cores, peak_memory_mb, memory_by, peak_device_mb, machine_speed FROM throughput "
        "WHERE seed = 70"
    )
    assert rows == near([(50.0, 1.5, 300.0, "cgroup2", 7.0, 20.5)])
    assert archive.query("SELECT count(*) FROM throughput") == archive.query("SELECT count(*) FROM evaluations")


@pytest.mark.parametrize("direction", ["minimise", "maximise"])
def test_rung_is_the_rank_correlation_of_early_losses_with_final_scores(archive: Archive, direction: Any) -> None:
    diary = Diary(archive, a_run("night", direction))
    rng = np.random.default_rng(2)
    root = diary.child(operator="seed")
    early, final = [], []
    for seed in range(30):
        loss = float(rng.integers(1, 8))  # with ties
        score = loss + float(rng.normal(0, 2)) if direction == "minimise" else -loss + float(rng.normal(0, 2))
        points = [CurvePoint(1, 0.1, 99.0), CurvePoint(2, 2.9, loss), CurvePoint(3, 3.1, 0.0), CurvePoint(4, 9.0, -1.0)]
        diary.record(scored(request_for(root, seed), score, curve=points))
        early.append(loss)
        final.append(score if direction == "minimise" else -score)
    late = [CurvePoint(1, 5.0, 0.0)]
    diary.record(scored(request_for(root, 100), 3.0, curve=late))  # reported nothing by then
    diary.record(scored(request_for(root, 101), 3.0, curve=[CurvePoint(1, 0.1, float("nan"))]))
    diary.record(scored(request_for(root, 102, "report"), 3.0, curve=points))
    found = archive.query("SELECT n, correlation FROM early_correlation")
    assert found == near([(30, float(spearmanr(early, final)[0]))])


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


def test_a_later_claim_that_found_none_supersedes_a_champion_whatever_the_clock_said(archive: Archive) -> None:
    _, nodes = a_family(archive)
    champion = nodes[4].node_id
    for kind, at, expected in [
        ("champion", 500.0, champion), ("no_champion", 5.0, None), ("leader", 900.0, None), ("champion", 1.0, champion),
    ]:  # fmt: skip
        archive.decide(Decision("night", kind, champion, "why", {}, at))  # type: ignore[arg-type]
        assert archive.query("SELECT champion FROM run_summary") == [(expected,)]


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


def test_views_are_those_of_the_version_that_opened_last_and_readable_by_plain_duckdb(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, define_views: Callable[..., None]
) -> None:
    path = tmp_path / "a.duckdb"
    with Archive.open(path) as archive:
        a_family(archive)
    with duckdb.connect(str(path)) as raw:
        raw.execute("CREATE OR REPLACE VIEW leaderboard AS SELECT 'old' AS age")
    monkeypatch.setattr(schema, "_put_views", define_views)
    Archive.open(path).close()
    with duckdb.connect(str(path), read_only=True) as raw:
        assert len(raw.execute("SELECT place FROM leaderboard").fetchall()) == 4
        best = raw.execute("SELECT node_id FROM leaderboard WHERE place = 1").fetchall()[0][0]
        assert len(raw.execute("FROM lineage(?)", [best]).fetchall()) == 4
