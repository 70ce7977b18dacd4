"""The job script of docs/slurm.md, run on this machine with stand-ins for Slurm's commands."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from launching import HOUSE, STUB, environment
from ledger import evaluations
from ray_nodes import MODULES
from underway import until

pytest.importorskip("ray", reason="the package ray is not installed: pip install 'treewright[ray]'")
pytestmark = [pytest.mark.nightly, pytest.mark.xdist_group("ray")]

PATIENCE = 240.0
SRUN = """\
#!/bin/bash
# takes its own options away, and runs the rest here
while [[ $1 == -* ]]; do [[ $1 == -w ]] && shift; shift; done
exec "$@"
"""
SCONTROL = "#!/bin/sh\necho one; echo two\n"


def script(folder: Path, *words: str) -> Path:
    """The script as it stands in the text, but for the lines that a user sets."""
    text = (HOUSE / "docs" / "slurm.md").read_text()
    (body,) = re.findall(r"```bash\n(.*?)```", text, flags=re.DOTALL)
    typed = " ".join(words)
    for pattern, ours in (
        (r"^FOLDER=.*$", f"FOLDER={folder}"),
        (r"^source .*$", f"export PATH={Path(sys.executable).parent}:$PATH"),
        (r'run="night" budget.hours=11 &.*$', f"{typed} &"),
    ):
        body, count = re.subn(pattern, ours, body, flags=re.MULTILINE)
        assert count == 1, pattern
    for name, content in (("srun", SRUN), ("scontrol", SCONTROL), ("job", body)):
        (folder / name).write_text(content)
        (folder / name).chmod(0o755)
    return folder / "job"


def allocation(folder: Path) -> dict[str, str]:
    """The environment of a job."""
    return environment(
        PATH=f"{folder}:{os.environ['PATH']}",
        PYTHONPATH=MODULES,
        SLURM_JOB_ID=str(os.getpid()),
        SLURM_JOB_NODELIST="one,two",
        SLURM_CPUS_PER_TASK="2",
        HOME=str(folder),
        RAY_TMPDIR="/tmp",
    )


@pytest.fixture
def job(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    words = (*STUB, "run=night", "operators=numeric", f"evaluator.diary={tmp_path / 'diary'}", "evaluator.delay=0.3")
    path = script(tmp_path, *words, "budget.evaluations=400")
    with (tmp_path / "output").open("w") as stream:
        process = subprocess.Popen(
            [path], cwd=tmp_path, env=allocation(tmp_path), stdout=stream, stderr=stream, text=True,
            start_new_session=True,
        )  # fmt: skip
    seen: dict[int, psutil.Process] = {}
    try:
        process.family = lambda: family(process.pid, seen)  # type: ignore[attr-defined]
        yield process
    finally:
        family(process.pid, seen)
        for member in seen.values():
            with contextlib.suppress(psutil.Error):
                member.kill()
        process.wait()


def family(pid: int, seen: dict[int, psutil.Process]) -> list[psutil.Process]:
    """The job and all below it that was ever seen, as far as it lives."""
    with contextlib.suppress(psutil.Error):
        parent = psutil.Process(pid)
        seen.update((each.pid, each) for each in (parent, *parent.children(recursive=True)))
    return [each for each in seen.values() if each.is_running() and each.status() != psutil.STATUS_ZOMBIE]


def test_a_search_runs_in_an_allocation_and_is_ended_in_good_order(tmp_path: Path, job: subprocess.Popen[str]) -> None:
    output, archive = tmp_path / "output", tmp_path / "treewright.duckdb"
    until(lambda: "[ 12/400]" in output.read_text() or job.poll() is not None, PATIENCE)
    assert job.poll() is None, output.read_text()
    assert re.search(r"^Ray cluster \S+: 4 on ", output.read_text(), flags=re.MULTILINE), "two nodes of two cores"
    job.family()  # type: ignore[attr-defined]
    job.send_signal(signal.SIGINT)  # as Slurm does before the end
    until(lambda: job.poll() is not None, PATIENCE)
    assert "Stopped. All finished evaluations are in the archive" in output.read_text()
    assert len(evaluations(archive)) >= 12
    until(lambda: job.family() == [], PATIENCE)  # type: ignore[attr-defined]


def test_a_node_on_which_ray_does_not_start_ends_the_job(tmp_path: Path) -> None:
    path = script(tmp_path, "true")
    (tmp_path / "srun").write_text('#!/bin/sh\ncase "$*" in *hostname*) echo 127.0.0.1;; *) exit 3;; esac\n')
    done = subprocess.run(
        [path], cwd=tmp_path, env=allocation(tmp_path), capture_output=True, text=True, timeout=PATIENCE
    )
    assert done.returncode == 1
    assert "Ray did not start on every node." in done.stderr
