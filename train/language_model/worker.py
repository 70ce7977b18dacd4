"""The worker inside a sandbox: receive data, call the candidate's ``train`` or ``predict``, send the results back.

    python -P -s -S worker.py FD LIBRARY SITES CANDIDATE TIER

FD is the session's socket; LIBRARY holds the packages ``prepare`` and ``confine``, SITES the installed packages
(folders joined by colons), CANDIDATE the program's files, TIER the kind of sandbox around it. The first frame names
the mode: ``rehearse``, ``train``, ``claims`` or ``logits``.

This process is trusted until it imports the candidate, which can then change anything in it. So the evaluator checks
everything that it sends, and the checks made here only serve honest programs, by giving them clear errors.
"""

from __future__ import annotations

import contextlib
import errno
import gc
import importlib.util
import mmap
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NoReturn

NO_PROCESS = (
    "predict may start no process, and open no pipe or socket: leave torch.compile and workers to train(), and let "
    "predict compute in threads"
)


def _serve(channel: Any, hello: dict[str, Any], arguments: list[str]) -> None:
    """Run the mode that the first frame names."""
    torch = _import_torch()
    torch.set_num_threads(int(hello["threads"]))
    channel.send({"type": "ready"})
    _warm_up()
    run = {"rehearse": _rehearse, "train": _train}.get(hello["mode"], _answer)
    run(channel, _load(Path(arguments[3])), {**hello, "tier": arguments[4]})


def _import_torch() -> Any:
    """Import torch without garbage collections, which take a tenth of the time and find nothing."""
    if torch := sys.modules.get("torch"):
        return torch  # by the fork server
    gc.disable()
    import torch

    gc.freeze()
    gc.unfreeze()  # all objects are old now: young collections do not look through them
    gc.enable()
    return torch


def _prepare() -> None:
    """Import what every mode needs. Starts no threads, which a fork would not have."""
    torch = _import_torch()
    torch.optim.AdamW([torch.zeros(1, requires_grad=True)])  # the first optimiser imports modules for a second
    import safetensors.torch  # noqa: F401

    import prepare.scoring
    import prepare.session
    import prepare.smoke_test  # noqa: F401


def _warm_up() -> None:
    """Have torch set up its threads and libraries for a forward and a backward pass, which takes up to 0.1 s once."""
    import torch

    values = torch.ones(64, 64, requires_grad=True)
    torch.autograd.grad((values @ values).softmax(-1).sum(), values)


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
    """Run ``train``, send the state, and try ``predict`` on the shapes that the evaluator sends."""
    import safetensors.torch
    import torch

    from prepare.clock import CpuClock
    from prepare.session import Session, TaskInfo

    info = TaskInfo(**hello["task"])
    clock = CpuClock(hello["clock_cores"]) if hello["clock_cores"] else None

    def begin() -> tuple[torch.Tensor, float]:
        channel.send({"type": "start"})
        reply = channel.receive().message
        size = int(reply["bytes"])
        # Mapped read-only from a sealed memfd: no copy, and no path that could be opened before the clock starts.
        data, *count = channel.fds
        view = mmap.mmap(data, size, prot=mmap.PROT_READ)
        if clock is not None:
            clock.restart(_count_page(count[0]) if count else None)
        return _read_only_tensor(view, info.vocab), float(reply["seconds"])

    def tell(step: int, loss: float) -> None:
        channel.send({"type": "report", "step": step, "loss": loss})

    torch.manual_seed(hello["seed"])
    session = Session(
        task=info, seed=hello["seed"], seconds=hello["seconds"], begin=begin, tell=tell, clock=clock or time.monotonic
    )
    state = module.train(session)
    channel.send({"type": "state"}, safetensors.torch.save(_plain(state)))

    # Ordinary errors in predict show here, on random tokens, where the traceback may be logged.
    order = channel.receive()
    _try_predict(channel, module, order.payload, hello, order.message["shapes"])
    channel.send({"type": "checked"})


def _count_page(descriptor: int) -> memoryview:
    """Map the page on which the evaluator writes its count of training seconds."""
    from prepare.clock import PAGE_BYTES

    return memoryview(mmap.mmap(descriptor, PAGE_BYTES, prot=mmap.PROT_READ))


def _try_predict(channel: Any, module: Any, state: bytes, hello: dict[str, Any], shapes: list[list[int]]) -> None:
    """Run ``predict`` on random tokens. Raises its errors, and TypeError or ValueError for wrong logits.

    Says when the first shape is done, that of scoring, so that the evaluator can compare its computing with what
    scoring allows.
    """
    import safetensors.torch
    import torch

    from prepare.scoring import check_logits
    from prepare.session import TaskInfo

    info = TaskInfo(**hello["task"])
    with _as_judged(hello["tier"], info.device):
        model = module.predict(safetensors.torch.load(state), info)
        for number, (batch, length) in enumerate(shapes):
            tokens = torch.randint(info.vocab, (batch, length), device=info.device)
            with torch.inference_mode():
                check_logits(model(tokens), batch, length, info.vocab)
            if number == 0:
                channel.send({"type": "predicted"})


@contextlib.contextmanager
def _as_judged(tier: str, device: str) -> Iterator[None]:
    """Refuse what the sandboxes that judge refuse, and explain it. Processes from before are left."""
    if tier == "none":
        yield
        return
    from confine import confine_as_judged  # type: ignore[import-not-found]  # as in worker_process

    confine_as_judged(device)
    try:
        yield
    except Exception as error:
        if _is_refused(error):
            raise PermissionError(errno.EPERM, NO_PROCESS) from error
        raise


def _is_refused(error: BaseException | None) -> bool:
    """Return whether a refused system call is among the causes of an error."""
    while error is not None:
        if isinstance(error, PermissionError) and error.errno == errno.EPERM:
            return True
        error = error.__cause__ or error.__context__
    return False


# ---------------------------------------------------------------- rehearsal


def _rehearse(channel: Any, module: Any, hello: dict[str, Any]) -> None:
    """Train on synthetic text, return a state and predict once. Raises errors that the training would meet, too.

    An error inside ``train`` may be due to the few steps of a rehearsal (nothing averaged, no best state yet), so it is
    ignored and left to the training, unless it is a name that does not exist.
    """
    import safetensors.torch
    import torch

    torch.manual_seed(hello["seed"])
    state = _short_training(module, hello)
    if state is not None and state != {}:
        plain = _plain(state)
        payload = safetensors.torch.save(plain)
        elements = sum(tensor.numel() for tensor in plain.values())
        channel.send({"type": "returned", "elements": elements, "bytes": len(payload)})
        _try_predict(channel, module, payload, hello, hello["rehearsal"]["shapes"])
    channel.send({"type": "rehearsed"})


def _short_training(module: Any, hello: dict[str, Any]) -> Any:
    """Run ``train`` on synthetic text; return its state, None if it was interrupted or failed."""
    from prepare.session import TaskInfo
    from prepare.smoke_test import RehearsalSession, Unfinished, time_limit

    plan, info = hello["rehearsal"], TaskInfo(**hello["task"])
    try:
        with time_limit(plan["seconds"]) as set_alarm:
            session = RehearsalSession(
                task=info,
                seed=hello["seed"],
                seconds=hello["seconds"],
                rehearsal_seconds=plan["seconds"],
                data=lambda: _synthetic_data(hello["seed"], plan["bytes"], info),
                started=set_alarm,
            )
            return module.train(session)
    except Unfinished:
        return None
    except Exception as error:
        if _is_missing_name(error):
            raise
        return None


def _synthetic_data(seed: int, size: int, info: Any) -> Any:
    """Return about ``size`` bytes of synthetic data, in the format of the real data and read-only."""
    import tempfile

    from prepare.smoke_test import synthetic_rows, synthetic_text

    tokens = info.vocab > 256
    data = synthetic_rows(seed, size, info.context) if tokens else synthetic_text(seed, size, info.vocab)
    with tempfile.TemporaryFile() as file:
        file.write(data.tobytes())
        file.flush()
        return _read_only_tensor(mmap.mmap(file.fileno(), data.nbytes, prot=mmap.PROT_READ), info.vocab)


def _is_missing_name(error: Exception) -> bool:
    """Return whether the error is a name, import or attribute that does not exist, whatever the length of a run."""
    if isinstance(error, AttributeError):
        return getattr(error, "obj", None) is not None  # an object that is None now may be set after a full training
    return isinstance(error, NameError | ImportError) and not isinstance(error, UnboundLocalError)


# ---------------------------------------------------------------- results


def _read_only_tensor(view: mmap.mmap, vocab: int) -> Any:
    import warnings

    from prepare.session import as_tensor

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch warns that the buffer is read-only, as intended
        return as_tensor(view, vocab)


def _plain(state: Any) -> dict[str, Any]:
    """Return the state as contiguous CPU tensors that share no storage, as safetensors requires. Raises TypeError."""
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
    """Answer batches of rows: with a log-probability for each target (claims), or with logits (audit).

    Runs until the evaluator kills the process.
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
                if "positions" in frame.message:  # one position per row, where all logits are too large
                    logits = logits[torch.arange(len(rows)), torch.tensor(frame.message["positions"])]
                answer = logits.float().cpu().contiguous().numpy().tobytes()
        channel.send({"type": hello["mode"]}, answer)


if __name__ == "__main__":
    sys.path[:0] = [sys.argv[2]]
    from worker_process import run_worker  # type: ignore[import-not-found]  # train/sandbox, copied into LIBRARY

    run_worker(sys.argv[1:], _serve, prepare=_prepare)
