"""What stays in the file until somebody looks, seen by other threads: operators read the tree in their own."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest
from archive_sample import a_family, request_for, scored

from archive.records import CaseScore, CurvePoint, sha256
from archive.storage.evaluation_rows import _KEPT
from archive.storage.lazy import StoredFiles
from archive.storage.sources import _Cache
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


@pytest.mark.slow
def test_what_is_loaded_on_access_waits_for_no_thread_that_writes(tmp_path: Path) -> None:
    """An operator that holds ``tree.lock`` reads a curve, while the search, in a transaction, waits for that lock."""
    with Archive.open(tmp_path / "a.duckdb") as archive:
        _, nodes = a_family(archive)
        cases = (CaseScore("a", 1.0), CaseScore("b", 2.0))
        first = archive.record(scored(request_for(nodes[0], 100), 3.0, curve=CURVE, cases=cases))
        for seed in range(101, 101 + 2 * _KEPT):  # so that the rows of the first are in the file alone
            archive.record(scored(request_for(nodes[0], seed), 3.0, curve=CURVE, cases=cases))
        archive._sources._cache = _Cache(1)
        texts = StoredFiles({"train.py": sha256(nodes[0].candidate.files["train.py"])}, archive.source)
        with archive.transaction(later=True):
            archive.record(scored(request_for(nodes[0], 77), 3.0))
        seen: list[object] = []
        with archive.transaction():
            archive.record(scored(request_for(nodes[0], 78), 3.0))
            for look in (lambda: first.curve[1], lambda: first.cases[0], lambda: texts["train.py"]):
                reader = threading.Thread(target=lambda look=look: seen.append(look()), daemon=True)
                reader.start()
                reader.join(30.0)
                assert not reader.is_alive(), "it waits for the end of a transaction"
        assert seen == [CURVE[1], cases[0], nodes[0].candidate.files["train.py"]]


def test_a_text_that_no_cache_holds_is_there_before_it_is_committed(tmp_path: Path) -> None:
    with Archive.open(tmp_path / "a.duckdb") as archive:
        archive._sources._cache = _Cache(1)
        with archive.transaction(later=True):
            shas = [archive._sources.add(text) for text in ("one", "two", "three")]
        assert [archive.source(sha) for sha in shas] == ["one", "two", "three"]
        archive.flush()
        assert [archive.source(sha) for sha in shas] == ["one", "two", "three"]
