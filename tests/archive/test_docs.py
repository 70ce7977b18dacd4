"""docs/sql.md: every statement on it runs on a real archive and answers something, and nothing is left out of it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest
from archive_sample import (
    HOUSE,
    START,
    Diary,
    a_call,
    a_curve,
    a_family,
    a_request,
    an_ablation,
    answered,
    failed,
    request_for,
    scored,
    trained,
)

from archive.cli.parser import COMMANDS
from archive.query.query import ArchiveReader, open_reader
from archive.records import CaseScore, Decision, Event, Propose, Replicate, WindowScores
from archive.research_ideas import ResearchIdea
from archive.storage.store import Archive

PAGE = (HOUSE / "docs" / "sql.md").read_text(encoding="utf-8")
SECTIONS = re.findall(r"^### ([^\n]+)$(.*?)```sql\n(.+?)\n```", PAGE, re.MULTILINE | re.DOTALL)
DOCUMENTED = {name for title, _, _ in SECTIONS for name in re.sub(r"\(.*?\)", "", title).split(", ")}


@pytest.fixture(scope="module")
def reader(tmp_path_factory: pytest.TempPathFactory) -> ArchiveReader:
    """A search in small, with something in every table and view."""
    path = tmp_path_factory.mktemp("docs") / "a.duckdb"
    with Archive.open(path, clock=lambda: START) as archive:
        diary, nodes = a_family(archive)
        _model_and_curves(archive, diary)
        diary.record(failed(request_for(nodes[2], 60), "invalid", violation=True))
        last = diary.tree.nodes[-1]
        an_ablation(archive, last, [3.0, 3.1], **{f"_{last.node_id}": [3.4, 3.5]})
        cases = (
            CaseScore("n=26", 3.05, {"circles": 26.0}, "circle 3 overlaps 7"),
            CaseScore("n=32", 3.1, ending="right"),
        )
        diary.record(scored(request_for(nodes[1], 62), 3.075, cases=cases, certificate='{"circles": []}'))
        archive.secret("positions")
        archive.register("sleep", "{}", "", {"night": 0})
        archive.suggest(ResearchIdea("a", "A", "more is better", "try", "more", "none", 5, 5, "undecided", "archive"))
        windows = WindowScores.of("set-1", np.array([3.0, 3.2]))
        reporting = diary.choose(Replicate(nodes[1].node_id, "report"))
        request = replace(request_for(nodes[1], 61, "report"), move=reporting.number)
        archive.seal(trained(request))
        archive.begin_judgement(request.run, request.move)
        archive.keep_answers(answered(request, 0))
        diary.record(scored(request, 3.1, windows=windows))
        archive.decide(Decision("night", "leader", nodes[1].node_id, "best mean", {}, START))
        archive.note(Event("night", "cheating", "found cheating", START, nodes[2].node_id))
    return open_reader(path)


def _model_and_curves(archive: Archive, diary: Diary) -> None:
    root = diary.tree.nodes[0]
    for number in range(3):
        record = diary.choose(Propose("improve", (root.node_id,)))
        archive.record_request(a_request(move=record.number))
        archive.record_call(a_call(move=record.number, request=f"r{record.number}", asked="m"))
        node = diary.add(record, f"Y = {number}\n")
        diary.record(scored(request_for(node, 9), 3.3 - 0.1 * number, curve=a_curve(4, 0.1 * number)))


def views_and_macros(reader: ArchiveReader) -> Iterator[str]:
    yield from (name for (name,) in reader.query("SELECT view_name FROM duckdb_views() WHERE NOT internal").rows)
    yield from (
        name
        for (name,) in reader.query(
            "SELECT function_name FROM duckdb_functions() WHERE NOT internal AND database_name = 'archive'"
        ).rows
    )


def test_everything_that_can_be_asked_is_documented(reader: ArchiveReader) -> None:
    there = set(views_and_macros(reader))
    assert {"leaderboard", "lineage", "children", "early_correlation", "full_id"} <= there
    tables = {name for (name,) in reader.query("SELECT table_name FROM duckdb_tables()").rows}
    assert there | tables == DOCUMENTED
    for command in COMMANDS:
        assert re.search(rf"`[^`]*\b{command}\b", PAGE), f"docs/sql.md does not mention the short form {command}"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("title", "statement"), [(title, sql) for title, _, sql in SECTIONS], ids=lambda text: text[:20]
)
def test_every_documented_statement_answers_something(reader: ArchiveReader, title: str, statement: str) -> None:
    node = reader.query("SELECT node_id FROM nodes WHERE operator = 'improve' ORDER BY number DESC").rows[0][0]
    if "children" in title:
        node = reader.query("SELECT node_id FROM nodes WHERE number = 0 AND run = 'night'").rows[0][0]
    result = reader.query(statement.replace("3fa9", node))
    assert result.rows, title


def test_no_section_is_without_a_statement() -> None:
    assert len(SECTIONS) == PAGE.count("```sql") == PAGE.count("\n### ")
