"""What a candidate may do in its sandbox, and what ends its evaluation. Sandboxes are launched, as the subject."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import psutil
import pytest
from sandboxed_programs import Start, ask

from prepare.values import pack, unpack
from train.program.sandboxes import ServiceError
from train.progress import Progress
from train.sandbox.abort import Aborted

GOOD = """
import os
import helper
def pack(n, scale=1): return {"n": n * scale, "data": b"bytes"}
def again(n, ask=None): return [ask(i, twice=True) for i in range(n)]
def refused(ask):
    try:
        ask(1)
    except RuntimeError as error:
        return str(error)
def child():
    import subprocess, sys
    code = "import numpy; print(1)"
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout
def write():
    with open("out/fünf sechs.txt", "w") as file: return file.write("sieben")
"""
FILES = {
    "helper.py": "X = 1",
    "tools/deep one.py": "from tools import near\ndef f(x): return near.g(x)",
    "tools/near.py": "def g(x): return -x",
    "out/übrig.txt": "Übrig",
}


def test_functions_commands_files_and_services_in_each_tier(start_any: Start, progress: Progress) -> None:
    with start_any(GOOD, FILES) as sandbox:
        assert ask(sandbox, "pack", 2, names=()) == {"n": 2, "data": b"bytes"}
        assert ask(sandbox, "tools/deep one.py:f", 4) == -4
        told = ask(sandbox, "again", 2, services=lambda name, given: pack([name, unpack(given)]), names=["ask"])
        assert told[1] == ["ask", {"args": [1], "kwargs": {"twice": True}}]
        done = sandbox.run(["sh", "-c", "cat; cat out/übrig.txt; echo no >&2; exit 3"], b"stdin ")
        assert (done.status, done.stdout, done.stderr) == (3, "stdin Übrig".encode(), b"no\n")
        assert sandbox.run(["python", "-c", "import numpy, sys; print(sys.version_info[0])"]).stdout == b"3\n"
        idle, busy = (sandbox.run(["sh", "-c", f"python -c '{code}'; true"]) for code in ("", "sum(range(10**7))"))
        assert 0 < idle.seconds < busy.seconds < 3
        assert ask(sandbox, "child") == "1\n"
        assert ask(sandbox, "write") == 6
        assert sandbox.read("out/fünf sechs.txt") == b"sieben"
        assert sandbox.read("out") is sandbox.read("missing") is sandbox.read("../x") is None
        assert 0 < sandbox.seconds < 3
    assert progress.seconds > 0
    assert progress.cpu_seconds > 0


def test_a_sandbox_starts_without_the_modules_that_are_slow_to_import(start: Start) -> None:
    """Each of these takes as long as the interpreter. It launches a sandbox: what its worker imports is the subject."""
    with start("import sys\ndef pack(): return sorted(sys.modules)") as sandbox:
        loaded = set(ask(sandbox, "pack"))
    slow = {"collections", "ctypes", "enum", "functools", "importlib", "json", "re", "signal", "socket", "typing"}
    assert "compiled_worker" in loaded
    assert not loaded & slow


def test_the_order_of_a_set_is_the_same_in_every_sandbox(start_any: Start) -> None:
    code = "def pack(n): return list({str(i) for i in range(n)})"
    orders = []
    for _ in range(2):
        with start_any(code) as sandbox:
            orders.append(ask(sandbox, "pack", 50))
    assert orders[0] == orders[1]


def test_a_service_that_refuses_raises_in_the_candidate(start: Start) -> None:
    def refuse(name: str, arguments: bytes) -> bytes:
        raise ServiceError("no calls are left")

    with start(GOOD, FILES) as sandbox:
        assert ask(sandbox, "refused", services=refuse, names=["ask"]) == "no calls are left"


@pytest.mark.parametrize(
    ("code", "outcome", "reason"),
    [
        ("def pack(n): return {1, 2}", "invalid", "pack returned a set: .*expected JSON values, arrays or bytes"),
        ("def pack(n): return 'x' * 200_000", "invalid", "pack returned a value of 200,.* at most 100,000"),
        ("def pack(n): raise KeyError(n)", "crashed", "pack.py: KeyError: 7"),
        ("def pakc(n): pass", "crashed", "pack.py: AttributeError: pack.py defines no function 'pack'"),
        ("def pack(:", "crashed", "pack.py: SyntaxError"),
        ("def pack(n): exit(0)", "crashed", "exited without a result"),
        ("import os\ndef pack(n): os.kill(os.getpid(), 9)", "crashed", "SIGKILL"),
        ("def pack(n):\n    while True: pass", "timed_out", r"pack\(\) did not end within 0.3 s of CPU time"),
        ("def pack(n):\n    while True: print('flood' * 1000)", "timed_out", r"pack\(\) did not end"),
        ("def pack(n): return len(bytearray(10**9))", "out_of_memory", "memory"),
        ("def pack(n): send(b'garbage' * 99)", "invalid", "no message of the session protocol"),
        ('def pack(n): send(frame(b\'{"type": "returned"}\'))', "invalid", "nothing asked for"),
        ("def pack(n): send(frame(b'{}', 1 << 40))", "invalid", "pack gave more than 100,000"),
    ],
)
def test_what_goes_wrong_ends_with_an_outcome_and_a_reason(start: Start, code: str, outcome: str, reason: str) -> None:
    with start(FRAMES + code) as sandbox, pytest.raises(Aborted, match=reason) as caught:
        ask(sandbox, "pack", 7, seconds=0.3 if outcome == "timed_out" else None)
    assert caught.value.outcome == outcome


FRAMES = """
import os, stat, struct
def send(data): os.write(next(n for n in range(3, 99) if is_socket(n)), data)
def is_socket(n):
    try: return stat.S_ISSOCK(os.fstat(n).st_mode)
    except OSError: return False
def frame(text, size=0): return struct.pack("<4sIQ", b"TW01", len(text), size) + text
"""


@pytest.mark.slow
def test_a_budget_is_one_for_all_calls_and_sandboxes_of_an_evaluation(start: Start) -> None:
    burn = "import time\ndef pack(n):\n    t = time.process_time()\n    while time.process_time() < t + n: pass"
    with start(burn) as sandbox:
        ask(sandbox, "pack", 1.0)
        assert 0.9 < sandbox.seconds < 2.0
        with pytest.raises(Aborted, match=r"all of it together has 3 s"):
            ask(sandbox, "pack", 2.5)


CURIOUS = """
import os, socket
def tried(f, *args):
    try:
        f(*args)
    except OSError as error:
        return type(error).__name__
    return "it worked"
def reach(): return tried(lambda: socket.create_connection(("127.0.0.1", 9), 1))
def look(path): return tried(open, path)
def linked():
    os.symlink("/etc/ld.so.cache", "link")
    os.symlink("/usr", "folder")
"""


def test_network_and_files_of_the_host_are_out_of_reach(start: Start, tmp_path: Path) -> None:
    assert (tmp_path / "score.py").exists()
    with start(CURIOUS) as sandbox:
        assert ask(sandbox, "reach") != "it worked"
        for path in (tmp_path / "score.py", Path(__file__), Path("/etc/passwd")):
            assert ask(sandbox, "look", str(path)) in ("FileNotFoundError", "PermissionError")
        ask(sandbox, "linked")
        assert sandbox.read("link") is sandbox.read("folder/bin/sh") is None


def test_nothing_of_a_candidate_is_left(start_any: Start, tmp_path: Path, progress: Progress) -> None:
    code = "import os, time\ndef pack(n):\n    if os.fork() == 0: time.sleep(99)\n    print('said'); return os.getcwd()"
    children = {process.pid for process in psutil.Process().children(recursive=True)}
    with start_any(code) as sandbox:
        folder = ask(sandbox, "pack", 1)
    left = [p for p in psutil.Process().children(recursive=True) if p.pid not in children]
    assert not left
    assert not os.path.exists(folder)
    assert progress.log.strip() == "said"


@pytest.mark.skipif(shutil.which("gcc") is None, reason="there is no C compiler")
def test_a_program_in_c_is_compiled_and_run(start: Start) -> None:
    with start("", {"main.c": '#include <stdio.h>\nint main(void) { puts("from C"); return 4; }'}) as sandbox:
        built = sandbox.run(["gcc", "-O1", "-o", "main", "main.c"])
        assert built.status == 0, built.stderr.decode()
        done = sandbox.run(["./main"])
        assert (done.status, done.stdout) == (4, b"from C\n")
