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
import socket
import sys
import time
import traceback
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
    from confine import confine  # type: ignore[import-not-found]  # train/confine, staged beside this file

    from prepare.wire import Channel

    channel = Channel(socket.socket(fileno=descriptor))
    hello = channel.receive().message
    confine(hello, tier)
    faulthandler.enable()  # a segmentation fault, too, leaves a traceback
    import torch

    torch.set_num_threads(int(hello["threads"]))
    channel.send({"type": "ready"})
    module = _load(Path(candidate))
    if hello["mode"] == "train":
        _train(channel, module, hello)
    else:
        _answer(channel, module, hello)


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

    from prepare.scoring import check_logits
    from prepare.session import Session, TaskInfo

    info = TaskInfo(**hello["task"])

    def begin() -> tuple[torch.Tensor, float]:
        channel.send({"type": "start"})
        reply = channel.receive().message
        size = int(reply["bytes"])
        # Mapped read-only from a sealed memfd: no copy, and no path that could be opened before the clock runs.
        view = mmap.mmap(channel.fds.pop(), size, prot=mmap.PROT_READ)
        return _read_only_tensor(view), float(reply["seconds"])

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
    fresh = safetensors.torch.load(order.payload)
    model = module.predict(fresh, info)
    with torch.inference_mode():
        for batch, length in order.message["shapes"]:
            tokens = torch.randint(info.vocab, (batch, length), device=info.device)
            check_logits(model(tokens), batch, length, info.vocab)
    channel.send({"type": "checked"})


def _read_only_tensor(view: mmap.mmap) -> Any:
    import warnings

    import torch

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch warns that the buffer is read-only, which is the point
        return torch.frombuffer(view, dtype=torch.uint8)


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

    from prepare.scoring import check_logits, target_log_probs
    from prepare.session import TaskInfo

    info = TaskInfo(**hello["task"])
    model = module.predict(safetensors.torch.load(channel.receive().payload), info)
    while True:
        frame = channel.receive()
        rows = np.frombuffer(frame.payload, np.uint8).reshape(frame.message["shape"])
        if hello["mode"] == "claims":
            answer = target_log_probs(model, rows, info.vocab, info.device).tobytes()
        else:
            tokens = torch.from_numpy(rows.astype(np.int64)).to(info.device)
            with torch.inference_mode():
                logits = model(tokens)
                check_logits(logits, rows.shape[0], rows.shape[1], info.vocab)
                answer = logits.float().cpu().contiguous().numpy().tobytes()
        channel.send({"type": hello["mode"]}, answer)


if __name__ == "__main__":
    main(sys.argv[1:])
