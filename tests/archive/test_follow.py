"""``tail``: what has happened, and what happens while somebody looks; nothing of a claim's scores."""

from __future__ import annotations

from pathlib import Path

from archive_sample import START, a_family, request_for, scored

from archive.cli.commands import follow
from archive.query.query import open_reader
from archive.query.server import SqlServer
from archive.records import Decision, Event
from archive.storage.store import Archive


def test_tail_goes_on_with_what_happens(tmp_path: Path) -> None:
    with Archive.open(tmp_path / "a.duckdb") as archive, SqlServer(archive):
        diary, nodes = a_family(archive)
        archive.note(Event("night", "note", "evil\x1b[2J\nline", START + 5000))
        steps = iter([
            lambda: diary.record(scored(request_for(nodes[0], 70), 3.25)),
            lambda: diary.record(scored(request_for(nodes[0], 71, "report"), 7.777)),
            lambda: archive.decide(Decision("night", "leader", nodes[4].node_id, "best mean", {}, START)),
        ])  # fmt: skip

        def wait() -> bool:
            step = next(steps, None)
            return step is not None and (step() or True)

        lines = list(map(str, follow(open_reader(archive.path), "night", 2, wait)))
    assert len(lines) == 5
    assert "evil" in lines[1]
    assert all(line.isprintable() for line in lines)
    assert "score 3.25" in lines[2]
    assert "report run" in lines[3]
    assert "7.77" not in "".join(lines)
    assert "best mean" in lines[4]
