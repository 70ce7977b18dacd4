"""What stays in the file until somebody looks, seen by other threads: operators read the tree in their own."""

from __future__ import annotations

import threading
from pathlib import Path

from archive_sample import a_family, request_for, scored

from archive.records import CurvePoint
from archive.storage.store import Archive

CURVE = (CurvePoint(1, 0.5, 3.0), CurvePoint(2, 1.0, 2.5))


def test_a_curve_is_whole_before_it_is_committed_and_after(tmp_path: Path) -> None:
    """What a thread saw too early was remembered: no points at all, for the rest of the session."""
    seen: list[tuple[CurvePoint, ...]] = []
    with Archive.open(tmp_path / "a.duckdb") as archive:
        _, nodes = a_family(archive)
        with archive.transaction():
            kept = archive.record(scored(request_for(nodes[0], 77), 3.0, curve=CURVE))
            reader = threading.Thread(target=lambda: seen.append(tuple(kept.curve)))
            reader.start()
            reader.join()
        assert seen == [CURVE]
        assert tuple(kept.curve) == CURVE
        found = archive.query("SELECT step, elapsed, loss FROM curves WHERE seed = 77 ORDER BY step")
        assert [CurvePoint(*row) for row in found] == list(CURVE)
