"""What code decides on is a column; rows of before schema 6 get its value from the sentence that decided it then."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any, Literal

import duckdb
import pytest
from archive_sample import START, Diary, a_curve, a_family, a_run, failed, request_for, scored
from test_schema import OLDER

from archive.__main__ import main
from archive.cli import commands
from archive.cli.compare import by_key
from archive.cli.summary import summary_facts
from archive.query.query import open_reader
from archive.records import Decision, Event, VerdictCode
from archive.report.facts import gather
from archive.storage.codes import SINCE
from archive.storage.merge import merge
from archive.storage.store import Archive

NONE_BETTER = (
    "no improvement beyond noise: no node has a better screening mean than the root (3.5 bpb), so nothing was spent on "
    "a claim"
)
VERDICTS = [
    ("champion", "3.41 -> 3.08 bpb (gain 0.33)", "improvement"),
    ("no_champion", "no improvement beyond noise: 3.41 -> 3.40 bpb", "within_noise"),
    ("no_champion", NONE_BETTER, "none_better"),
    ("no_champion", "no claim: no finalist is left that the budget can pay for; 3fa9c1d2 is out", "no_finalist"),
    ("no_champion", "no claim: one side has a single score", "no_interval"),
    ("no_champion", "no claim: the root has no score under the present conditions", "root_unscored"),
    ("leader", "best mean screening score so far: 3.0 in 1 run", None),
]
CAP = "for searching are used (budget.{}): the cap of {}: spent; a call may take more; raise llm.max_dollars to go on"
ENDS = [
    ("The search stopped: 25 proposals in a row came to nothing: tune (25).", "stopped", None),
    ("The target of 3 is reached by the leader.", "target", None),
    ("The evaluations for searching are used.", "evaluations", None),
    ("The hours for searching are used.", "hours", None),
    ("The device hours for searching are used.", "device_hours", None),
    ("The dollars " + CAP.format("dollars=1.5", "$1.50"), "llm_budget", {"tokens": None, "dollars": 1.5}),
    ("The tokens " + CAP.format("tokens=12000", "12,000 tokens"), "llm_budget", {"tokens": 12000, "dollars": None}),
    (
        "The tokens or dollars " + CAP.format("tokens=9000, budget.dollars=2", "9,000 tokens"),
        "llm_budget",
        {"tokens": 9000, "dollars": 2.0},
    ),
    ("The dollars " + CAP.format("dollars=1.5", "$0.50"), "llm_closed", None),
    ("The dollars for searching are used (budget.dollars=1.5): the key was refused", "llm_closed", None),
]
WIDENED = [
    ("5 proposals in a row came to nothing after node {}: any scored node may be a parent now", "refusals"),
    ("4 candidates have not improved on {} by more than noise: 50% of the choices are made", "standstill"),
]


def prose(path: Path) -> tuple[str, str]:
    """Put rows with the sentences of schema 5 into a file of any older schema: (a node, its step that was left out)."""
    with duckdb.connect(str(path)) as raw:
        ((node, step),) = raw.execute(
            "SELECT c.node_id, p.parent_id FROM nodes c JOIN parents p USING (node_id) WHERE c.run = 'night' "
            "AND c.idea = 'deeper'"
        ).fetchall()
        at = "make_timestamp(1_800_000_000_000_000)"  # the same for all: the order is that of the rows
        for kind, reason, _ in VERDICTS:
            raw.execute(f"INSERT INTO decisions VALUES ('night', ?, ?, ?, '{{}}', {at})", [kind, node, reason])
        for message, *_ in ENDS:
            raw.execute(f"INSERT INTO events VALUES ('night', 'searched', ?, NULL, {at})", [message])
        for message, _ in WIDENED:
            raw.execute(f"INSERT INTO events VALUES ('night', 'widened', ?, NULL, {at})", [message.format(node[:8])])
        config = json.dumps({"operators": {"ablate": {"node": node}}})
        raw.execute(
            "INSERT INTO runs SELECT * REPLACE ('ablation' AS run, 'id' AS run_id, 'ablation' AS policy, ? AS config) "
            "FROM runs WHERE run = 'night'",
            [config],
        )
        for number, idea in enumerate(["the whole", f"without {step[:8]}: wider"]):
            raw.execute(
                "INSERT INTO nodes BY NAME SELECT * REPLACE (? AS node_id, 'ablation' AS run, ? AS number, "
                "? AS operator, ? AS idea) FROM nodes WHERE node_id = ?",
                [f"abl{number}", number, ("seed", "ablate")[number], idea, node],
            )
            raw.execute(
                "INSERT INTO evaluations BY NAME SELECT * REPLACE (? AS node_id, 'ablation' AS run, ? AS score) "
                "FROM evaluations WHERE node_id = ? LIMIT 1",
                [f"abl{number}", 3.0 + number, step],
            )
        raw.execute(
            "INSERT INTO llm_calls BY NAME SELECT * REPLACE (99 AS move, 'cut off at the limit of tokens' AS reason) "
            "FROM llm_calls LIMIT 1"
        )
    return node, step


FIRST, *BETWEEN, LAST = OLDER[: SINCE - 1]


@pytest.fixture(
    params=[FIRST, *(pytest.param(path, marks=pytest.mark.nightly) for path in BETWEEN), LAST],
    ids=lambda path: path.name.split(".")[0],
)
def older(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[Path, str, str]:
    path = tmp_path / "old.duckdb"
    path.write_bytes(gzip.decompress(request.param.read_bytes()))
    return path, *prose(path)


def answers(path: Path) -> dict[str, Any]:
    """What a reader finds in the columns that decide."""
    ask = open_reader(path).query
    return {
        "verdicts": ask("SELECT kind, reason, code FROM decisions ORDER BY arrival").rows[2:],
        "ends": [
            (message, code, None if detail is None else json.loads(detail))
            for message, code, detail in ask(
                "SELECT message, code, detail FROM events WHERE kind = 'searched' ORDER BY arrival"
            ).rows
        ],
        "widened": [code for (code,) in ask("SELECT code FROM events WHERE kind = 'widened' ORDER BY arrival").rows],
        "others": ask("SELECT DISTINCT code FROM events WHERE kind NOT IN ('searched', 'widened')").rows,
        "ablations": ask("SELECT node_id, step, worth FROM ablations").rows,
        "cut off": ask("SELECT move, cut_off FROM llm_calls WHERE cut_off ORDER BY move").rows,
    }


def expected(node: str, step: str) -> dict[str, Any]:
    return {
        "verdicts": VERDICTS,
        "ends": ENDS,
        "widened": [code for _, code in WIDENED],
        "others": [(None,)],
        "ablations": [(node, step, 1.0)],
        "cut off": [(99, True)],
    }


@pytest.mark.slow
def test_a_reader_of_an_older_file_and_the_migrated_file_have_the_codes_of_the_old_sentences(
    older: tuple[Path, str, str],
) -> None:
    path, node, step = older
    assert answers(path) == expected(node, step)
    with Archive.open(path) as archive:
        assert [event.node_id for event in archive.events("night", "widened")] == [node, node]
        assert (archive.answer("night", 99, 0) or pytest.fail("no call")).cut_off
    assert answers(path) == expected(node, step)


@pytest.mark.slow
def test_a_merge_brings_the_codes_of_an_older_file(older: tuple[Path, str, str], tmp_path: Path) -> None:
    path, node, step = older
    list(merge(tmp_path / "all.duckdb", [path]))
    assert answers(tmp_path / "all.duckdb") == expected(node, step)


def test_a_claim_without_a_better_node_counts_as_no_gain_whatever_its_words(tmp_path: Path) -> None:
    path = tmp_path / "a.duckdb"
    with Archive.open(path) as archive:
        diary = Diary(archive, a_run())
        root = diary.screened(diary.child(operator="seed"), 3.0).node_id
        archive.decide(Decision("night", "no_champion", root, "in other words", {}, START, "none_better"))
    result = by_key(open_reader(path), None)
    assert dict(zip(result.columns, result.rows[0], strict=True))["gain"] == 0.0
    with Archive.open(path) as archive:
        archive.decide(Decision("night", "no_champion", root, NONE_BETTER, {}, START, "no_finalist"))
    result = by_key(open_reader(path), None)
    assert dict(zip(result.columns, result.rows[0], strict=True))["gain"] is None


def a_root_and_a_better_child(archive: Archive) -> tuple[str, str]:
    """Record two scored nodes of one run; return their ids."""
    diary = Diary(archive, a_run())
    root = diary.screened(diary.child(operator="seed"), 3.0)
    return root.node_id, diary.screened(diary.child(root), 2.0).node_id


def test_the_last_verdict_is_the_last_one_written_whatever_the_clock_said(tmp_path: Path) -> None:
    path = tmp_path / "a.duckdb"
    with Archive.open(path) as archive:
        root, child = a_root_and_a_better_child(archive)
        figures = {"gain": 0.5, "low": 0.25, "high": 0.75}
        archive.decide(Decision("night", "no_champion", root, "why", {}, START + 500, "within_noise"))
    with Archive.open(path) as archive:
        archive.decide(Decision("night", "champion", child, "why", figures, START, "improvement"))
        archive.note(Event("night", "searched", "why", START, code="target"))
        arrivals = archive.query("SELECT arrival FROM decisions UNION ALL SELECT arrival FROM events")
        evaluated = archive.query("SELECT max(arrival) FROM evaluations")[0][0]
        assert [arrival - evaluated for (arrival,) in arrivals] == [1, 2, 3]
    result = by_key(open_reader(path), None)
    found = dict(zip(result.columns, result.rows[0], strict=True))
    assert (found["gain"], found["low"], found["high"]) == (0.5, 0.25, 0.75)


def test_the_old_names_answer_as_the_new_ones_do(tmp_path: Path) -> None:
    with Archive.open(tmp_path / "a.duckdb") as archive:
        diary, nodes = a_family(archive)
        diary.record(failed(request_for(nodes[2], 60), "invalid", violation=True))
        diary.record(scored(request_for(nodes[3], 9), 3.0, curve=a_curve(4)))
        ids = f"['{nodes[4].node_id}']"
        for old, new in (
            ("kinds", "change_kind_stats"),
            ("findings", "violations"),
            ("rung", "early_correlation"),
            (f"kin({ids})", f"ancestry({ids})"),
        ):
            rows = archive.query(f"FROM {new}")
            assert rows, new
            assert archive.query(f"FROM {old}") == rows


@pytest.mark.slow
@pytest.mark.parametrize("last", ["champion", "no_champion"])
def test_all_commands_tell_the_same_last_verdict(
    tmp_path: Path, last: Literal["champion", "no_champion"], capsys: pytest.CaptureFixture[str]
) -> None:
    """Two claims, the second stamped an hour before the first, as after a step of the clock."""
    path = tmp_path / "a.duckdb"
    with Archive.open(path) as archive:
        _, child = a_root_and_a_better_child(archive)
        figures = {"gain": 0.5, "low": 0.25, "high": 0.75}
        kinds: tuple[Literal["champion", "no_champion"], ...] = ("no_champion", "champion")
        first = kinds[last == "no_champion"]
        for kind, at in ((first, START + 3600), (last, START)):
            code: VerdictCode = "improvement" if kind == "champion" else "within_noise"
            archive.decide(Decision("night", kind, child, f"the {kind} claim", figures, at, code))
    reader, is_champion = open_reader(path), last == "champion"
    with reader.held():
        summary, report = summary_facts(reader, None), gather(reader, None)
        facts, compared = commands.runs(reader), by_key(reader, None)
    assert summary["verdict"]["kind"] == report["verdict"]["kind"] == last
    assert (summary["champion"] is not None) == is_champion
    assert (dict(zip(facts.columns, facts.rows[0], strict=True))["champion"] == child) == is_champion
    assert dict(zip(compared.columns, compared.rows[0], strict=True))["champions"] == is_champion
    words = ["export", "--branch", "best", "--repo", str(tmp_path / "repo"), "--archive", str(path)]
    assert main(words) == 0
    assert ("is champion no longer" in capsys.readouterr().out) == (not is_champion)
