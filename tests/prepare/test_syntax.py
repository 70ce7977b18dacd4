"""Parsing in threads: CPython's own parser fails there, see the module."""

from __future__ import annotations

import ast
import gc
import sys
import threading
from collections.abc import Iterator

import pytest

from prepare.syntax import parse

SOURCE = "\n".join(f"def f{n}(a, b={n}):\n    return [a + b * {n} for x in range(a) if x > b]" for n in range(60))


class Finaliser:
    """Python that the garbage collector runs in the middle of a parse; there another thread gets its turn."""

    def __init__(self) -> None:
        self.itself = self

    def __del__(self) -> None:
        for _ in range(20):
            pass


@pytest.fixture
def restless() -> Iterator[None]:
    threshold, interval = gc.get_threshold(), sys.getswitchinterval()
    gc.set_threshold(50)
    sys.setswitchinterval(1e-6)
    yield
    gc.set_threshold(*threshold)
    sys.setswitchinterval(interval)


@pytest.mark.slow
@pytest.mark.usefixtures("restless")
def test_many_threads_may_parse_at_once() -> None:
    expected, wrong = ast.dump(parse(SOURCE)), []

    def work() -> None:
        for _ in range(20):
            for _ in range(50):
                Finaliser()
            try:
                tree = parse(SOURCE)
            except SystemError as error:
                wrong.append(str(error))
        if ast.dump(tree) != expected:  # of the last one: to write a tree takes longer than to parse it
            wrong.append("another tree")

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
