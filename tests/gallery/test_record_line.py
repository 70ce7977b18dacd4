"""What is said of a champion whose task has a best known value."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from archive.cli.summary import summary_facts, summary_text
from archive.query.query import open_reader
from archive.query.questions import known_in_words
from archive.report.facts import gather
from search.api import Search

KNOWN = {"value": -0.5, "source": "Somebody, 2025", "tolerance": 0.0}
YAML = f"""
name: parabola
metric: {{name: value, direction: maximise, upper: 0}}
workspace: {{editable: [main.py]}}
scorer: score.py
seconds: 2
deterministic: true
known: {json.dumps(KNOWN)}
"""


@pytest.mark.parametrize(
    ("known", "direction", "score", "exact", "words"),
    [
        (
            KNOWN,
            "maximise",
            -0.5,
            True,
            "The champion, -0.5 on val, equals the best known -0.5 (Somebody, 2025), verified exactly",
        ),
        (
            KNOWN,
            "maximise",
            -0.4,
            True,
            "The champion, -0.4 on val, beats the best known -0.5 (Somebody, 2025) by 0.1, verified",
        ),
        (
            KNOWN,
            "minimise",
            -0.4,
            True,
            "The champion, -0.4 on val, is short of the best known -0.5 (Somebody, 2025) by 0.1",
        ),
        (KNOWN, "maximise", -0.4, False, "no record, since the score is not verified exactly"),
        (KNOWN | {"source": "\x1b[31mred"}, "maximise", -0.4, True, "( red)"),
    ],
)
def test_one_line_compares(known: object, direction: str, score: float, exact: bool, words: str) -> None:
    said = known_in_words([(json.dumps(known), direction, score, exact)])
    assert said is not None
    assert words in said


@pytest.mark.parametrize("known", [None, "null", "{}", '{"value": "x", "source": "y"}', "[1]", '{"value": 1}'])
def test_without_a_usable_value_nothing_is_said(known: str | None) -> None:
    assert known_in_words([(known, "maximise", 1.0, True)]) is None
    assert known_in_words([]) is None


@pytest.mark.slow
def test_summary_report_and_end_of_a_search_say_it(tmp_path: Path) -> None:
    """A whole search with sandboxes, since an exact score needs one."""
    folder = tmp_path / "parabola"
    folder.mkdir()
    (folder / "task.yaml").write_text(YAML)
    (folder / "main.py").write_text("X = 3.0  # tune: 0..2\n\n\ndef answer():\n    return X\n")
    (folder / "score.py").write_text("def score(candidate, case):\n    return -((candidate.call('answer') - 1) ** 2)\n")
    with Search(str(folder), operators="numeric", archive=tmp_path / "a.duckdb", run="r", budget=16) as search:
        while (request := search.ask()) is not None:
            search.tell(search.evaluate(request))
        line = "on val, beats the best known -0.5 (Somebody, 2025) by "
        assert line in search.summary()
    reader = open_reader(tmp_path / "a.duckdb")
    assert line in gather(reader)["verdict"]["reason"]
    assert line in summary_text(summary_facts(reader, None), None)
