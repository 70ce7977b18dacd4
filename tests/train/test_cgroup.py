"""Memory groups: found where they are, limited, emptied, removed; those of the dead swept, nobody else's touched."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from train.sandbox import cgroup as module
from train.sandbox import owner
from train.sandbox.cgroup import MemoryGroup, MemoryGroups, find_groups


@pytest.fixture(scope="module")
def real() -> MemoryGroups:
    groups = find_groups()
    if groups is None:
        pytest.skip("no memory group can be made here: needs a writable cgroup")
    return groups


def inside(group: MemoryGroup, *words: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen([*group.entered(), *words], stdout=subprocess.PIPE)


def test_a_process_is_in_its_group_before_it_runs(real: MemoryGroups) -> None:
    group = real.create(100)
    process = inside(group, "/bin/cat", "/proc/self/cgroup")
    said = process.communicate(timeout=250)[0].decode()
    assert group.folder.name in said
    assert group.remove()
    assert not group.folder.exists()
    assert group.remove(), "twice is harmless"


def test_the_limit_holds_and_the_kill_is_counted(real: MemoryGroups) -> None:
    group = real.create(100)
    try:
        assert group.oom_kills() == 0
        assert not group.reached_limit()
        process = inside(group, sys.executable, "-I", "-S", "-c", "hoard = b'1' * 200_000_000; print('done')")
        assert process.communicate(timeout=250)[0] == b""
        assert group.oom_kills() >= 1
        assert group.reached_limit()
        assert group.used_bytes() < 100_000_000
    finally:
        group.kill()
        assert group.remove()


def test_killing_reaches_all_of_it_also_what_forks_all_the_time(real: MemoryGroups) -> None:
    group = real.create(500)
    code = """
import os, time
for _ in range(20):
    if os.fork() == 0: os.setsid()
print("up", flush=True) if not os.getsid(0) == os.getpid() else None
while True:
    if os.fork(): os._exit(0)   # each lives for a moment only, and has a new number
"""
    process = inside(group, sys.executable, "-I", "-S", "-c", code.replace("range(20)", "range(3)"))
    assert process.stdout is not None
    assert process.stdout.readline() == b"up\n"
    assert group.kill(timeout=30.0)
    assert group.processes() == []
    assert group.remove()
    process.wait()
    process.stdout.close()


def test_groups_of_the_dead_are_swept_and_those_of_the_living_are_not(real: MemoryGroups) -> None:
    """A process that makes a group, puts a daemon in it, and is killed; the next one cleans up after it."""
    code = f"""
import os, subprocess, sys
sys.path.insert(0, {str(Path(__file__).parents[2])!r})
from train.sandbox.cgroup import *
from pathlib import Path, PosixPath
group = {real!r}.create(100)
daemon = subprocess.Popen([*group.entered(), "/bin/sleep", "1000"],
                          start_new_session=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
while not group.processes(): pass
print(group.folder, daemon.pid, flush=True)
os.kill(os.getpid(), 9)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=250, check=False)
    folder, daemon = done.stdout.split()
    living = real.create(100)
    try:
        real.remove_stale()
        assert not Path(folder).exists()
        assert real.cpu_base is None or not (real.cpu_base / Path(folder).name).exists()
        assert not _lives(int(daemon))
        assert living.folder.exists(), "its process is alive: this one"
    finally:
        living.remove()


def _lives(process: int) -> bool:
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_only_groups_of_the_dead_go(tmp_path: Path) -> None:
    groups = MemoryGroups(tmp_path / "own", 1)
    groups.base.mkdir()
    place, dead = owner.tag().split("-")[0], 2**22 + 1
    kept = [
        "treewright-driver",
        f"treewright-{place}0-{dead}-5-ab",  # of another container: its numbers mean nothing here
        f"treewright-{place}-x{dead}-5-ab",
        "system-1-2-3",
        f"treewright-{owner.tag()}-ab",
    ]
    for name in (*kept, f"treewright-{place}-{dead}-5-ab", f"treewright-{place}-{os.getpid()}-5-ab"):
        (groups.base / name).mkdir()
    groups.remove_stale()
    assert sorted(each.name for each in groups.base.iterdir()) == sorted(kept)


MOUNTS = """\
31 23 0:28 / /sys/fs/cgroup rw,relatime - tmpfs tmpfs rw,mode=755
35 31 0:32 {root} /sys/fs/cgroup/memory rw,relatime - cgroup cgroup rw,memory
34 31 0:31 / /sys/fs/cgroup/cpuset rw,relatime shared:4 - cgroup cgroup rw,cpuset
41 31 0:38 / /sys/fs/cgroup/unified rw,relatime shared:9 - cgroup2 cgroup2 rw
"""


@pytest.mark.parametrize(
    ("root", "path", "expected"),
    [
        ("/", "/", "/sys/fs/cgroup/memory"),
        ("/", "/user/me", "/sys/fs/cgroup/memory/user/me"),
        ("/docker/7", "/docker/7", "/sys/fs/cgroup/memory"),
        ("/docker/7", "/docker/7/job", "/sys/fs/cgroup/memory/job"),
    ],
)
def test_our_own_group_is_found_in_what_is_mounted(tmp_path: Path, root: str, path: str, expected: str) -> None:
    (tmp_path / "mountinfo").write_text(MOUNTS.format(root=root))
    (tmp_path / "cgroup").write_text(f"4:memory:{path}\n3:cpuset:/\n0::/u\n")
    assert module._own_groups(tmp_path) == [(1, Path(expected)), (2, Path("/sys/fs/cgroup/unified/u"))]


def test_the_group_that_counts_cpu_time_is_found_beside_it(tmp_path: Path) -> None:
    mounted = "36 31 0:33 / /sys/fs/cgroup/cpu,cpuacct rw,relatime - cgroup cgroup rw,cpu,cpuacct\n"
    (tmp_path / "mountinfo").write_text(MOUNTS.format(root="/") + mounted)
    (tmp_path / "cgroup").write_text("4:memory:/\n2:cpu,cpuacct:/user/me\n0::/u\n")
    assert module._cpu_base(tmp_path) == Path("/sys/fs/cgroup/cpu,cpuacct/user/me")
    (tmp_path / "cgroup").write_text("4:memory:/\n0::/u\n")
    assert module._cpu_base(tmp_path) is None


def test_a_group_outside_what_is_mounted_is_none(tmp_path: Path) -> None:
    (tmp_path / "mountinfo").write_text(MOUNTS.format(root="/docker/7"))
    (tmp_path / "cgroup").write_text("4:memory:/docker/8\n")
    assert module._own_groups(tmp_path) == []
    assert find_groups(tmp_path) is None
    assert find_groups(tmp_path / "missing") is None


def delegated(folder: Path, controllers: str, handed_down: str, processes: list[int]) -> Path:
    """A made-up group of version 2, with the files that matter."""
    folder.mkdir(parents=True)
    (folder / "cgroup.controllers").write_text(controllers)
    (folder / "cgroup.subtree_control").write_text(handed_down)
    (folder / "cgroup.procs").write_text("".join(f"{number}\n" for number in processes))
    return folder


def test_version_2_wants_the_controller_handed_to_us(tmp_path: Path) -> None:
    ready = delegated(tmp_path / "ready", "cpu memory pids", "memory", [])
    assert module._delegated(ready) == ready
    assert module._delegated(delegated(tmp_path / "without", "cpu pids", "", [os.getpid()])) is None
    crowded = delegated(tmp_path / "crowded", "memory", "", [os.getpid(), 1])
    assert module._delegated(crowded) is None, "others are in there: not ours to rearrange"
    alone = delegated(tmp_path / "alone", "memory", "", [os.getpid()])
    assert module._delegated(alone) == alone
    assert (alone / "treewright-driver" / "cgroup.procs").read_text() == "0", "we have moved aside"
    assert (alone / "cgroup.subtree_control").read_text() == "+memory"
    (alone / "cgroup.subtree_control").write_text("memory")
    assert module._delegated(alone / "treewright-driver") == alone, "and find the same place again"


def test_version_2_is_limited_without_swap_and_killed_as_a_whole(tmp_path: Path) -> None:
    group = MemoryGroups(tmp_path, 2).create(100)
    wrote = {name: (group.folder / name).read_text() for name in ("memory.max", "memory.swap.max", "memory.oom.group")}
    assert wrote == {"memory.max": str(100_000_000 // 4096 * 4096), "memory.swap.max": "0", "memory.oom.group": "1"}
    (group.folder / "memory.stat").write_text("anon 1000\nfile 700\nkernel 5\nshmem 30\nfile_mapped 7\n")
    (group.folder / "memory.events").write_text("low 0\nhigh 0\nmax 7\noom 3\noom_kill 2\noom_group_kill 1\n")
    (group.folder / "cpu.stat").write_text("usage_usec 2500000\nuser_usec 2000000\nsystem_usec 500000\n")
    assert (group.used_bytes(), group.oom_kills(), group.reached_limit()) == (1030, 2, True)
    assert group.cpu_seconds() == 2.5
    (group.folder / "memory.events").write_text("low 0\nhigh 0\nmax 0\noom 0\noom_kill 1\n")
    assert (group.oom_kills(), group.reached_limit()) == (1, False), "the whole machine was out of memory"
