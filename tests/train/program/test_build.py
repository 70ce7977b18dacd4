"""A candidate is built in a sandbox of its own, once for the same files. Sandboxes are launched, as the subject."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from sandboxed_programs import make_task, starter

from train.progress import Progress
from train.sandbox.abort import Aborted
from train.sandbox.base import Sandbox

BUILD = "mkdir -p out && cp main.txt out/copy.txt && printf '#!/bin/sh\\necho ran' > out/run && chmod +x out/run"


def test_built_files_lie_beside_the_candidates_and_are_built_once(tmp_path: Path, best_sandbox: Sandbox) -> None:
    progress = Progress()
    for start in starter(make_task(tmp_path, build=BUILD), best_sandbox, progress):
        for _ in range(2):
            with start("X = 1", {"main.txt": "text"}) as sandbox:
                assert sandbox.read("out/copy.txt") == b"text"
                assert sandbox.run(["out/run"]).stdout == b"ran\n"
            built = progress.phases.pop("build", None)
        assert built is None, "the second evaluation built the same files again"


def test_a_build_that_fails_or_makes_too_much_is_the_candidates_end(tmp_path: Path, best_sandbox: Sandbox) -> None:
    progress = Progress()
    for start in starter(make_task(tmp_path, build="sh make.sh"), best_sandbox, progress):
        with pytest.raises(Aborted, match=r"the build failed with exit status 2: x.c:1: error: no y$") as caught:
            start("", {"make.sh": "echo x.c:1: error: no y >&2; echo done >&2; exit 2"})
        assert caught.value.outcome == "crashed"
        assert "done" in progress.log
        with pytest.raises(Aborted, match="more than 100,000 bytes") as caught:
            start("", {"make.sh": "head -c 200000 /dev/zero > large"})
        assert caught.value.outcome == "invalid"


@pytest.mark.skipif(shutil.which("gcc") is None, reason="there is no C compiler")
def test_a_compiler_builds_a_program(tmp_path: Path, best_sandbox: Sandbox) -> None:
    for start in starter(make_task(tmp_path, build="gcc -o main main.c"), best_sandbox, Progress()):
        with start("", {"main.c": "int main(void) { return 4; }"}) as sandbox:
            assert sandbox.run(["./main"]).status == 4
        with pytest.raises(Aborted, match=r"main.c:1:.*error"):
            start("", {"main.c": "int main(void) { return missing; }"})
