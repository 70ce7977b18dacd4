"""Inside the sandbox of a coding agent: a short run of its program, without any data of the task.

    python smoke.py '{"files": ["train.py"], "rehearsal": {...} or null}'

A program that trains a language model is rehearsed on synthetic text for a few seconds; of any other the Python files
are imported. Imports only the standard library and ``prepare``.
"""

from __future__ import annotations

import importlib.util
import json
import sys
import time
import traceback
from pathlib import Path
from typing import Any


def main(settings: dict[str, Any]) -> None:
    sys.path.insert(0, str(Path.cwd()))
    modules = {name: _imported(name) for name in settings["files"]}
    if (plan := settings["rehearsal"]) is not None:
        began = time.monotonic()
        print(f"smoke test: {_rehearse(next(iter(modules.values())), plan)} ({time.monotonic() - began:.1f} s)")
    else:
        print(f"smoke test: {', '.join(modules) or 'no Python file'} can be imported")


def _imported(name: str) -> Any:
    spec = importlib.util.spec_from_file_location(Path(name).stem, Path(name).absolute())
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[Path(name).stem] = module
    spec.loader.exec_module(module)
    return module


def _rehearse(module: Any, plan: dict[str, Any]) -> str:
    """Run ``train`` with an accelerated clock and ``predict`` once; return what came of it."""
    import torch

    from prepare.session import TaskInfo
    from prepare.smoke_test import RehearsalSession, Unfinished, time_limit

    info = TaskInfo(vocab=plan["vocab"], context=plan["context"], device="cpu")
    torch.set_num_threads(1)
    torch.manual_seed(0)
    try:
        with time_limit(plan["seconds"]) as set_alarm:
            session = RehearsalSession(
                task=info, seed=0, seconds=plan["budget"], rehearsal_seconds=plan["seconds"],
                data=lambda: _data(info), started=set_alarm,
            )  # fmt: skip
            state = module.train(session)
    except Unfinished:
        return f"train had not returned after {3 * plan['seconds']:g} s; does it check session.remaining()?"
    logits = module.predict(state, info)(torch.zeros(2, info.context, dtype=torch.int64))
    return f"train and predict ran; logits {list(logits.shape)}"


def _data(info: Any) -> Any:
    import numpy as np
    import torch

    from prepare.smoke_test import TEXT_BYTES, synthetic_rows, synthetic_text

    if info.vocab > 256:
        return torch.from_numpy(synthetic_rows(0, TEXT_BYTES, info.context).astype(np.int16).reshape(-1))
    return torch.from_numpy(synthetic_text(0, TEXT_BYTES, info.vocab))


if __name__ == "__main__":
    try:
        main(json.loads(sys.argv[1]))
    except BaseException:  # noqa: BLE001 - whatever a program raises is shown, and is the end
        traceback.print_exc()
        sys.exit("smoke test: failed")
