"""Scorers under test: a task folder made of a text, and a candidate that runs in this process."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from prepare.program import ProgramTask, Workspace
from prepare.scorer import Completed
from prepare.task import Metric
from prepare.values import pack, unpack
from train.program.sandboxes import ServiceError
from train.sandbox.abort import Aborted

SEED = "def answer(x):\n    return x\n"


def task_of(folder: Path, scorer: str, **more: Any) -> ProgramTask:
    """Write a task's folder with this ``score.py``."""
    folder.mkdir(exist_ok=True)
    (folder / "main.py").write_text(more.pop("seed", SEED))
    (folder / "score.py").write_text(scorer)
    values = {"metric": Metric("value", "maximise"), "workspace": Workspace(("main.py",)), "seconds": 5.0} | more
    return ProgramTask("toy", str(folder), scorer="score.py", **values)


class InProcess:
    """A candidate that is a mapping of functions, in place of its sandbox."""

    def __init__(self, functions: Mapping[str, Callable[..., Any]], files: Mapping[str, bytes] | None = None) -> None:
        self.functions = functions
        self.files = files or {}
        self.restarts = 0

    @property
    def current(self) -> InProcess:
        return self

    def load(self, function: str) -> None:
        pass

    def call(
        self,
        function: str,
        arguments: bytes,
        *,
        seconds: float | None,
        services: Callable[[str, bytes], bytes] | None,
        names: Sequence[str],
    ) -> bytes:
        given = unpack(arguments)

        def service(name: str) -> Callable[..., Any]:
            assert services is not None

            def asked(*args: Any) -> Any:
                try:
                    return unpack(services(name, pack({"args": list(args), "kwargs": {}})))
                except ServiceError as refused:
                    raise RuntimeError(str(refused)) from None

            return asked

        served = {name: service(name) for name in names}
        try:
            value = self.functions[function](*given["args"], **given["kwargs"], **served)
        except RuntimeError as error:
            raise Aborted("crashed", f"RuntimeError: {error}") from None
        return value if isinstance(value, bytes) else pack(value)

    def run(self, argv: Sequence[str], stdin: bytes, *, seconds: float | None) -> Completed:
        return Completed(0, " ".join(argv).encode() + stdin, b"")

    def read(self, path: str) -> bytes | None:
        return self.files.get(path)

    def restart(self) -> None:
        self.restarts += 1

    @contextmanager
    def fresh(self, baseline: bool) -> Iterator[InProcess]:
        yield self


def crash(*_: object) -> None:
    raise Aborted("crashed", "ValueError: too small")
