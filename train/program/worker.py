"""The worker inside a candidate's sandbox: write its files, call its functions, run its commands, read its files.

    python -P -s -S worker.py FD LIBRARY SITES CANDIDATE TIER        # which is train/sandbox/start.py

FD is the session's socket; LIBRARY holds the packages ``prepare`` and ``confine``, SITES the installed packages
(folders joined by colons), CANDIDATE an empty folder, TIER the kind of sandbox around it. After the first frame, the
limits, each frame is a request with a number, which its answer repeats: ``file``, ``load``, ``call``, ``run``,
``read``, ``changes``.

This process is trusted until it imports the candidate, which can then change anything in it. So the driver checks
everything that it sends, and the checks made here only serve honest programs, by giving them clear errors. Modules are
imported where they are needed: most evaluations take less time than importing all of them.
"""

from __future__ import annotations

import os
import sys

TYPE_CHECKING = False  # as typing has it, which takes as long to import as an interpreter to start
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from prepare.wire import Channel, Frame

_BLOCK = 1 << 20


class _Unusable(Exception):
    """A result of the candidate that cannot be used; the message says why."""


def _serve(channel: Channel, hello: dict[str, Any], arguments: list[str]) -> None:
    """Answer requests until the driver closes the session."""
    workspace = _Workspace(hello.get("folder") or os.getcwd(), arguments[2], int(hello["output_bytes"]))
    channel.send({"type": "ready"})
    _Session(channel, workspace).run()


class _Session:
    """Requests and answers on the socket."""

    def __init__(self, channel: Channel, workspace: _Workspace) -> None:
        self._channel = channel
        self._workspace = workspace
        self._number = 0

    def run(self) -> None:
        """Answer requests until the driver closes the session."""
        while True:
            try:
                request = self._channel.receive()
            except EOFError:
                return
            self._number = request.message["number"]
            try:
                self._answer(request)
            except _Unusable as problem:
                self._send({"type": "unusable", "reason": str(problem)[:1000]})

    def _send(self, message: dict[str, Any], payload: bytes = b"") -> None:
        self._channel.send({**message, "number": self._number}, payload)

    def _answer(self, request: Frame) -> None:
        """Carry out one request."""
        message, workspace = request.message, self._workspace
        if request.kind == "file":
            workspace.write(message["name"], request.payload, message["executable"])
        elif request.kind == "load":
            workspace.load(message["file"])
            self._send({"type": "loaded"})
        elif request.kind == "call":
            self._call(message, request.payload)
        elif request.kind == "run":
            self._send(*workspace.run(message["argv"], request.payload))
        elif request.kind == "read":
            found = workspace.read(message["name"])
            self._send({"type": "file", "missing": found is None}, found or b"")
        else:
            for name, executable, data in workspace.changes():
                self._send({"type": "file", "name": name, "executable": executable}, data)
            self._send({"type": "end"})

    def _call(self, message: dict[str, Any], payload: bytes) -> None:
        from prepare.values import pack, unpack

        function = self._workspace.function(message["file"], message["function"])
        given = unpack(payload)
        services = {name: self._service(name) for name in message["services"]}
        value = function(*given["args"], **given["kwargs"], **services)
        try:
            packed = pack(value)
        except ValueError as problem:
            raise _Unusable(f"{message['function']} returned {_kind(value)}: {problem}") from None
        if len(packed) > self._workspace.output_bytes:
            raise _Unusable(
                f"{message['function']} returned a value of {len(packed):,} bytes; at most "
                f"{self._workspace.output_bytes:,} are allowed"
            )
        self._send({"type": "returned"}, packed)

    def _service(self, name: str) -> Callable[..., Any]:
        """Return a function that asks the driver to call a service and returns its value."""
        from prepare.values import pack, unpack

        def service(*args: Any, **kwargs: Any) -> Any:
            self._send({"type": "service", "name": name}, pack({"args": list(args), "kwargs": kwargs}))
            answer = self._channel.receive()
            if answer.kind == "refused":
                raise RuntimeError(answer.message["reason"])
            return unpack(answer.payload)

        service.__name__ = service.__qualname__ = name
        return service


def _kind(value: Any) -> str:
    """Return the type of a value with an article: ``a set``, ``an object``."""
    name = type(value).__name__
    return f"a{'n' if name[:1].lower() in 'aeiou' else ''} {name}"


class _Workspace:
    """The folder with the candidate's files, in which its functions and commands run."""

    def __init__(self, scratch: str, sites: str, output_bytes: int) -> None:
        self.folder = os.path.join(scratch, "work")
        self.output_bytes = output_bytes
        self._scratch = scratch
        self._sites = sites
        self._written: dict[str, tuple[int, int]] = {}
        """Size and time of change of each file that was sent."""
        os.mkdir(self.folder)
        os.chdir(self.folder)
        sys.path.insert(0, self.folder)
        self._offer_python(os.path.join(scratch, "bin"))

    def write(self, name: str, data: bytes, executable: bool) -> None:
        """Write one of the candidate's files."""
        path = self._inside(name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        mode = 0o755 if executable else 0o644
        with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, mode), "wb") as file:
            file.write(data)
        self._written[name] = _state(path)

    def _offer_python(self, folder: str) -> None:
        """Let commands and children of functions find this interpreter (``sys.executable``) and its packages."""
        os.mkdir(folder)
        for name in ("python", "python3"):
            os.symlink(sys.executable, os.path.join(folder, name))
        os.environ["PATH"] = f"{folder}{os.pathsep}{os.environ.get('PATH', os.defpath)}"
        os.environ["PYTHONPATH"] = self._sites

    def _inside(self, name: str) -> str:
        from prepare.paths import is_below

        if not is_below(name):
            raise ValueError(f"{name!r} is no path below the folder of the candidate's files")
        return os.path.join(self.folder, name)

    # ------------------------------------------------------------ functions

    def load(self, file: str) -> Any:
        """Import one of the files, if it is not imported yet; return the module."""
        path = self._inside(file)
        name = os.path.splitext(file)[0].replace("/", ".")
        module = sys.modules.get(name)
        if module is None or getattr(module, "__file__", None) != path:
            module = _imported(name, path, file)
        return module

    def function(self, file: str, name: str) -> Callable[..., Any]:
        """Return a function of one of the files. Raises AttributeError if there is none."""
        found = getattr(self.load(file), name, None)
        if not callable(found):
            raise AttributeError(f"{file} defines no function {name!r}, which is called")
        return found  # type: ignore[no-any-return]

    # ------------------------------------------------------------ commands

    def run(self, argv: list[str], stdin: bytes) -> tuple[dict[str, Any], bytes]:
        """Run a command to its end; return the answer: its exit status, and what it printed."""
        out, error = _unnamed(self._scratch), _unnamed(self._scratch)
        given = _unnamed(self._scratch)
        _write_all(given, stdin)
        os.lseek(given, 0, os.SEEK_SET)
        environment = {**os.environ, "PYTHONPATH": self._sites}
        duplicates = [(os.POSIX_SPAWN_DUP2, given, 0), (os.POSIX_SPAWN_DUP2, out, 1), (os.POSIX_SPAWN_DUP2, error, 2)]
        try:
            process = os.posix_spawnp(argv[0], argv, environment, file_actions=duplicates)
        except OSError as problem:
            raise _Unusable(f"the command {argv[0]!r} cannot be run: {problem.strerror}") from None
        _, status = os.waitpid(process, 0)
        try:
            printed = [self._printed(argv[0], descriptor) for descriptor in (out, error)]
        finally:
            for descriptor in (given, out, error):
                os.close(descriptor)
        answer = {"type": "completed", "status": os.waitstatus_to_exitcode(status), "stdout": len(printed[0])}
        return answer, b"".join(printed)

    def _printed(self, command: str, descriptor: int) -> bytes:
        size = os.fstat(descriptor).st_size
        if size > self.output_bytes:
            raise _Unusable(f"{command} printed {size:,} bytes; at most {self.output_bytes:,} are allowed")
        return _all_of(descriptor, size)

    # ------------------------------------------------------------ files

    def read(self, name: str) -> bytes | None:
        """Return a file; None if there is no plain file of that name, or if a link leads to it."""
        import stat

        path = os.path.join(os.path.realpath(self.folder), name)
        if os.path.realpath(path) != path:
            return None
        try:
            descriptor = os.open(self._inside(name), os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
        except OSError:
            return None
        try:
            facts = os.fstat(descriptor)
            if not stat.S_ISREG(facts.st_mode):
                return None
            if facts.st_size > self.output_bytes:
                raise _Unusable(f"{name} has {facts.st_size:,} bytes; at most {self.output_bytes:,} are allowed")
            return _all_of(descriptor, facts.st_size)
        finally:
            os.close(descriptor)

    def changes(self) -> list[tuple[str, bool, bytes]]:
        """Return the files that are new or changed since they were sent: name, whether it is executable, contents."""
        found: list[tuple[str, bool, bytes]] = []
        size = 0
        for name in sorted(_files_below(self.folder, "")):
            path = os.path.join(self.folder, name)
            if self._written.get(name) == _state(path):
                continue
            size += os.path.getsize(path)
            if size > self.output_bytes:
                raise _Unusable(f"the build made more than {self.output_bytes:,} bytes of files, which is the limit")
            data = self.read(name)
            if data is not None:
                found.append((name, os.access(path, os.X_OK), data))
        return found


def _imported(name: str, path: str, file: str) -> Any:
    """Import a file of the candidate as the module ``name``, also if a module of that name is loaded already."""
    from _frozen_importlib import ModuleSpec  # as importlib.machinery, whose import takes 0.5 ms
    from _frozen_importlib_external import SourceFileLoader

    if not os.path.isfile(path):
        raise FileNotFoundError(f"there is no file {file}, of which a function is called")
    if "." in name:
        __import__(name.rpartition(".")[0])
    loader = SourceFileLoader(name, path)
    spec = ModuleSpec(name, loader, origin=path)
    spec.has_location = True
    module = type(sys)(name)
    module.__file__, module.__spec__, module.__loader__, module.__package__ = path, spec, loader, spec.parent
    sys.modules[name] = module
    loader.exec_module(module)
    return module


def _state(path: str) -> tuple[int, int]:
    facts = os.lstat(path)
    return facts.st_size, facts.st_ctime_ns


def _files_below(folder: str, prefix: str) -> list[str]:
    """Return the plain files below a folder, relative to it; links are not followed."""
    found: list[str] = []
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.is_dir(follow_symlinks=False):
                found += _files_below(entry.path, f"{prefix}{entry.name}/")
            elif entry.is_file(follow_symlinks=False):
                found.append(prefix + entry.name)
    return found


def _unnamed(folder: str) -> int:
    """Return a descriptor of a file without a name, for reading and writing."""
    path = os.path.join(folder, f".{os.urandom(8).hex()}")
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
    os.unlink(path)
    return descriptor


def _write_all(descriptor: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]


def _all_of(descriptor: int, size: int) -> bytes:
    """Return the first ``size`` bytes of an open file."""
    parts: list[bytes] = []
    os.lseek(descriptor, 0, os.SEEK_SET)
    while size > 0 and (part := os.read(descriptor, min(size, _BLOCK))):
        parts.append(part)
        size -= len(part)
    return b"".join(parts)


def main(arguments: list[str]) -> None:
    """Serve one session, and exit."""
    from worker_process import run_worker  # type: ignore[import-not-found]  # train/sandbox, copied into LIBRARY

    run_worker(arguments, _serve, hidden=[__file__], prepare=_prepare)


def _prepare() -> None:
    """Import what most candidates need, which takes some of them longer than all that they do."""
    import numpy.random  # noqa: F401

    import prepare.paths
    import prepare.values
    import prepare.wire  # noqa: F401
