"""A disk that is full, for real: a file system of a few megabytes, where this machine lets us mount one."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from archive_sample import HERE, Diary, a_run

from archive.errors import ArchiveFull
from archive.storage.store import Archive


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / "disk"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=3m", "treewright-test", str(folder)]
    try:
        done = subprocess.run(command, capture_output=True, check=False)
    except FileNotFoundError:
        pytest.skip("there is no mount on this machine")
    if done.returncode:
        pytest.skip("only root may mount a file system")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


@pytest.mark.slow
def test_a_full_disk_stops_the_search_and_loses_nothing(small_disk: Path) -> None:
    path = small_disk / "a.duckdb"
    written: list[str] = []
    with Archive.open(path) as archive:
        diary = Diary(archive)

        def write_on() -> None:
            while True:
                node = diary.child(*diary.tree.nodes[:1], text=f"{len(written)} " * 10_000)
                written.append(node.node_id)

        with pytest.raises(ArchiveFull) as caught:
            write_on()
        for words in (str(path), "MB free", "Nothing that was recorded is lost", "resume the search with run=NAME"):
            assert words in str(caught.value)
        with pytest.raises(ArchiveFull):  # and it stays so, whatever is tried
            archive.start_run(a_run("other"))
    assert len(written) > 5
    subprocess.run(["mount", "-o", "remount,size=30m", str(small_disk)], check=True)
    with Archive.open(path) as archive:
        tree = archive.tree(a_run(), HERE)
        assert [node.node_id for node in tree.nodes] == written
        assert tree.nodes[-1].candidate.files["train.py"] == f"{len(written) - 1} " * 10_000
        archive.start_run(a_run("other"))


def test_no_archive_is_made_on_a_full_disk(small_disk: Path) -> None:
    with pytest.raises(OSError, match="No space"):
        (small_disk / "ballast").write_bytes(bytes(4 * 2**20))
    with pytest.raises(ArchiveFull, match="free"):
        Archive.open(small_disk / "a.duckdb")
    assert [p.name for p in small_disk.iterdir()] == ["ballast"]
