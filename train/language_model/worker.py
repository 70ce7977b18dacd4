"""What runs inside a sandbox, around the candidate: receive, call ``train`` or ``predict``, send back.

    python -I -S worker.py FD LIBRARY SITES CANDIDATE TIER

FD is the session's socket; LIBRARY holds the packages ``prepare`` and ``confine``, SITES the installed packages
(folders joined by colons), CANDIDATE the program's files, TIER the kind of sandbox around it. The first frame says
what is wanted (``train``, ``claims`` or ``logits``).
This file is trusted when it starts, and at the candidate's mercy as soon as the candidate is imported: nothing that
it sends is believed by the evaluator without a check, and it guards nothing but the comfort of honest programs.
"""

from __future__ import annotations

import contextlib
import faulthandler
import importlib.util
import mmap
import os
import signal
import socket
import sys
import time
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NoReturn


def main(arguments: list[str]) -> NoReturn:
    """Serve one session, then leave at once: no exit handler and no thread of the candidate's may delay the end."""
    status = 1
    try:
        _serve(int(arguments[0]), *arguments[1:5])
        status = 0
    except SystemExit as leaving:
        status = leaving.code if isinstance(leaving.code, int) else int(leaving.code is not None)
        if not isinstance(leaving.code, int | None):
            print(leaving.code, file=sys.stderr)
    except BaseException:  # noqa: BLE001 - told in full, and the status says that it was an error
        traceback.print_exc()
    finally:
        with contextlib.suppress(Exception):  # the candidate may have put anything in place of its streams
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(status & 0xFF)


def _serve(descriptor: int, library: str, sites: str, candidate: str, tier: str) -> None:
    sys.path[:0] = [library]
    sys.path += sites.split(os.pathsep)
    from confine import confine  # type: ignore[import-not-found]  # train/sandbox/confine, staged here

    from prepare.wire import Channel

    channel = Channel(socket.socket(fileno=descriptor))
    hello = channel.receive().message
    confine(hello, tier)
    # Without a sandbox the folders of temporary files are everybody's, and nothing in them is ours to remove.
    hello["scratch"] = [] if tier == "none" else [os.environ["TMPDIR"], *(["/dev/shm"] if tier == "bwrap" else [])]
    faulthandler.enable()  # a segmentation fault, too, leaves a traceback
    import torch

    torch.set_num_threads(int(hello["threads"]))
    channel.send({"type": "ready"})
    if hello["mode"] != "train":
        _answer(channel, _load(Path(candidate)), hello)
    if hello["rehearsal"]:
        _rehearse(channel, Path(candidate), hello)
    _train(channel, _load(Path(candidate)), hello)


def _load(folder: Path) -> Any:
    """Import the candidate's ``train.py`` as the module ``train``; its other files are importable beside it."""
    sys.path.insert(0, str(folder))
    spec = importlib.util.spec_from_file_location("train", folder / "train.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["train"] = module
    spec.loader.exec_module(module)
    for name in ("train", "predict"):
        if not callable(getattr(module, name, None)):
            raise AttributeError(
                f"train.py defines no function {name!r}; expected train(session) and predict(state, task)"
            )
    return module


def _train(channel: Any, module: Any, hello: dict[str, Any]) -> None:
    import safetensors.torch
    import torch

    from prepare.session import Session, TaskInfo

    info = TaskInfo(**hello["task"])

    def begin() -> tuple[torch.Tensor, float]:
        channel.send({"type": "start"})
        reply = channel.receive().message
        size = int(reply["bytes"])
        # Mapped read-only from a sealed memfd: no copy, and no path that could be opened before the clock runs.
        view = mmap.mmap(channel.fds.pop(), size, prot=mmap.PROT_READ)
        return _read_only_tensor(view, info.vocab), float(reply["seconds"])

    def tell(step: int, loss: float) -> None:
        channel.send({"type": "report", "step": step, "loss": loss})

    torch.manual_seed(hello["seed"])
    session = Session(
        task=info, seed=hello["seed"], seconds=hello["seconds"], begin=begin, tell=tell, clock=time.monotonic
    )
    state = module.train(session)
    channel.send({"type": "state"}, safetensors.torch.save(_plain(state)))

    # An ordinary mistake in predict shows here, on training rows, where its traceback may be read.
    order = channel.receive()
    _try_predict(module, order.payload, info, order.message["shapes"])
    channel.send({"type": "checked"})


def _try_predict(module: Any, state: bytes, info: Any, shapes: list[list[int]]) -> None:
    """Raises what ``predict`` raises, or what is wrong with its logits."""
    import safetensors.torch
    import torch

    from prepare.scoring import check_logits

    model = module.predict(safetensors.torch.load(state), info)
    with torch.inference_mode():
        for batch, length in shapes:
            tokens = torch.randint(info.vocab, (batch, length), device=info.device)
            check_logits(model(tokens), batch, length, info.vocab)


# ---------------------------------------------------------------- rehearsal


def _rehearse(channel: Any, folder: Path, hello: dict[str, Any]) -> None:
    """The whole program once, on a made-up text, then all of it away again. Raises what no training would mend.

    What goes wrong inside ``train`` may be due to the few steps of a rehearsal (nothing averaged, no best state yet),
    so it is left to the training itself to go wrong, unless it is a name that does not exist.
    """
    import torch

    with _undone(folder, int(hello["threads"]), hello["scratch"]):
        torch.manual_seed(hello["seed"])
        passed = _run_through(channel, _load(folder), hello)  # of what it holds nothing is left when it returns
    sys.stdout.flush()
    sys.stderr.flush()
    channel.send({"type": "rehearsed", "passed": passed})
    channel.receive()  # until what was printed so far is forgotten: the traceback of a quick end would go with it


def _run_through(channel: Any, module: Any, hello: dict[str, Any]) -> bool:
    """Train, return and predict once; whether nothing went wrong."""
    import safetensors.torch

    from prepare.session import TaskInfo
    from prepare.smoke_test import RehearsalSession, Unfinished, broken_off_after

    plan, info = hello["rehearsal"], TaskInfo(**hello["task"])
    try:
        with broken_off_after(plan["seconds"]) as set_alarm:
            session = RehearsalSession(
                task=info,
                seed=hello["seed"],
                seconds=hello["seconds"],
                rehearsal_seconds=plan["seconds"],
                data=lambda: _made_up_data(hello["seed"], plan["bytes"], info),
                started=set_alarm,
            )
            state = module.train(session)
    except Unfinished:
        return True  # as far as it went
    except Exception as error:
        if _is_a_wrong_name(error):
            raise
        return False
    if state is None or (isinstance(state, dict) and not state):
        return False
    plain = _plain(state)
    payload = safetensors.torch.save(plain)
    elements = sum(tensor.numel() for tensor in plain.values())
    channel.send({"type": "returned", "elements": elements, "bytes": len(payload)})
    _try_predict(module, payload, info, plan["shapes"])
    return True


def _made_up_data(seed: int, size: int, info: Any) -> Any:
    """About ``size`` bytes, of the kind of the real data, and read-only like them."""
    import tempfile

    from prepare.smoke_test import made_up_rows, made_up_text

    tokens = info.vocab > 256
    data = made_up_rows(seed, size, info.context) if tokens else made_up_text(seed, size, info.vocab)
    with tempfile.TemporaryFile() as file:
        file.write(data.tobytes())
        file.flush()
        return _read_only_tensor(mmap.mmap(file.fileno(), data.nbytes, prot=mmap.PROT_READ), info.vocab)


def _is_a_wrong_name(error: Exception) -> bool:
    if isinstance(error, AttributeError):
        return getattr(error, "obj", None) is not None  # what is None now may be there after a real training
    return isinstance(error, NameError | ImportError) and not isinstance(error, UnboundLocalError)


@contextlib.contextmanager
def _undone(folder: Path, threads: int, scratch: list[str]) -> Iterator[None]:
    """Leave no trace of what happens inside: modules, generators, processes, settings, files in ``scratch``.

    As far as that can be done. What is compiled is kept, since it depends on the program and not on the text.
    """
    import gc
    import random

    import numpy as np
    import torch

    generators = random.getstate(), np.random.get_state()
    environment, path, here, dtype = dict(os.environ), list(sys.path), Path.cwd(), torch.get_default_dtype()
    before = set(_entries(scratch))
    try:
        yield
    finally:
        for name, module in list(sys.modules.items()):
            if str(getattr(module, "__file__", None) or "").startswith(f"{folder}{os.sep}"):
                del sys.modules[name]
        gc.collect()  # loaders that nobody holds any more end their processes
        _end_children()
        sys.path[:] = path
        os.environ.clear()
        os.environ.update(environment)
        os.chdir(here)
        _remove(set(_entries(scratch)) - before)
        random.setstate(generators[0])
        np.random.set_state(generators[1])
        torch.set_default_dtype(dtype)
        torch.set_default_device(None)
        torch.set_num_threads(threads)
        if "torch._dynamo" in sys.modules:
            torch._dynamo.reset()
        torch.cuda.empty_cache()  # nothing, where no device is in use


_KEPT_FILES = ("torchinductor_", "triton", "pymp-", "sem.")
"""Compiled code; and what multiprocessing remembers the name of."""


def _entries(folders: list[str]) -> Iterator[str]:
    for folder in folders:
        yield from (entry.path for entry in os.scandir(folder) if not entry.name.startswith(_KEPT_FILES))


def _remove(paths: set[str]) -> None:
    """A table that was computed from the made-up text, and kept in a file, would pass for one of the real text."""
    import shutil

    for path in paths:
        if os.path.isdir(path) and not os.path.islink(path):
            _open_up(path)  # what is closed, even to its owner, can be neither walked nor removed
            for folder, folders, _ in os.walk(path):
                for name in folders:
                    _open_up(os.path.join(folder, name))
            shutil.rmtree(path, ignore_errors=True)
        else:
            with contextlib.suppress(OSError):
                os.unlink(path)


def _open_up(folder: str) -> None:
    with contextlib.suppress(OSError):
        if not os.path.islink(folder):
            os.chmod(folder, 0o700)


def _end_children() -> None:
    """End the processes that the rehearsal left: they would go on using cores and places of the limit."""
    import multiprocessing
    from multiprocessing import forkserver, resource_tracker

    if (compiling := sys.modules.get("torch._inductor.async_compile")) is not None:
        compiling.shutdown_compile_workers()  # not killed: the next compilation would wait for them
    for child in multiprocessing.active_children():
        child.kill()
        child.join(1.0)
    # These serve the real training, too, and do nothing by themselves.
    modules: list[Any] = [resource_tracker, forkserver]  # the names are their own, and not in their type stubs
    servers = (modules[0]._resource_tracker._pid, modules[1]._forkserver._forkserver_pid)
    for number in _children():
        if number not in servers:
            with contextlib.suppress(OSError):
                os.kill(number, signal.SIGKILL)
                os.waitpid(number, 0)


def _children() -> list[int]:
    """Numbers of the processes that this one has started; none where there is no /proc."""
    found = []
    for status in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):  # it has just ended
            if int(status.read_text().rpartition(")")[2].split()[1]) == os.getpid():
                found.append(int(status.parent.name))
    return found


# ---------------------------------------------------------------- what comes out


def _read_only_tensor(view: mmap.mmap, vocab: int) -> Any:
    import warnings

    from prepare.session import as_tensor

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch warns that the buffer is read-only, which is the point
        return as_tensor(view, vocab)


def _plain(state: Any) -> dict[str, Any]:
    """The state as contiguous CPU tensors that share no storage, as safetensors wants them."""
    import torch

    if not isinstance(state, dict) or not state:
        raise TypeError(f"train(session) returned {type(state).__name__}; expected a non-empty dict of name -> tensor")
    plain = {}
    for name, tensor in state.items():
        if not isinstance(name, str) or not isinstance(tensor, torch.Tensor):
            raise TypeError(f"train(session) returned {type(tensor).__name__} under {name!r}; expected str -> tensor")
        plain[name] = tensor.detach().cpu().contiguous().clone()
    return plain


def _answer(channel: Any, module: Any, hello: dict[str, Any]) -> NoReturn:
    """Answer batches of rows: with a log-probability for each target (claims), or with all logits (for an audit).

    There is no last one: the evaluator ends the process when it has what it wants.
    """
    import numpy as np
    import safetensors.torch
    import torch

    from prepare.scoring import check_logits, storage, target_log_probs
    from prepare.session import TaskInfo

    info = TaskInfo(**hello["task"])
    model = module.predict(safetensors.torch.load(channel.receive().payload), info)
    while True:
        frame = channel.receive()
        rows = np.frombuffer(frame.payload, storage(info.vocab)).reshape(frame.message["shape"])
        if hello["mode"] == "claims":
            answer = target_log_probs(model, rows, info.vocab, info.device).tobytes()
        else:
            tokens = torch.from_numpy(rows.astype(np.int64)).to(info.device)
            with torch.inference_mode():
                logits = model(tokens)
                check_logits(logits, rows.shape[0], rows.shape[1], info.vocab)
                if "positions" in frame.message:  # one of each row, where all logits are too many
                    logits = logits[torch.arange(len(rows)), torch.tensor(frame.message["positions"])]
                answer = logits.float().cpu().contiguous().numpy().tobytes()
        channel.send({"type": hello["mode"]}, answer)


if __name__ == "__main__":
    main(sys.argv[1:])
