"""An evaluator as others build them: it trusts the candidate. The attacks must work here, or they would prove nothing.

    python naive.py FOLDER SEED SECONDS MODE PROGRAM...

MODE ``apart``: each program runs in a forked process, which trains, scores itself and prints ``val_bpb: x``.
MODE ``launched``: the same, in a new interpreter.
MODE ``inside``: each program is imported into this long-lived process, which scores it.

All the trust in one place: ``work/`` is shared by all runs, and keeps data, checkpoints and caches; the validation
text lies in it; the checkpoint is a pickle; the candidate's process has the evaluator's environment and reports
its own time; the program may choose its own batch of evaluation, its bytes per token and a loss of its own.
"""

from __future__ import annotations

import contextlib
import importlib.util
import inspect
import io
import json
import os
import re
import shutil
import subprocess
import sys
import time
import traceback
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import torch

from prepare import scoring
from prepare.session import Session, TaskInfo

INFO = TaskInfo(vocab=256, context=32, device="cpu")
ROWS, BATCH = 32, 16
LATE = 1.5  # times the budget


class Refused(Exception):
    """Even a naive evaluator looks at the time that the candidate says it took."""


def evaluate(program: Path, seed: int, seconds: float) -> float:
    """Train and score one program in this process, in bits per byte. What is believed here is the attacks' way in."""
    module = load(program)
    session = Session(task=INFO, seed=seed, seconds=seconds, begin=lambda: begin(seconds), tell=tell, clock=time.time)
    torch.manual_seed(seed)
    state = module.train(session)
    if session.elapsed() > LATE * seconds:
        raise Refused(f"training took {session.elapsed():.1f} s")
    torch.save(state, "checkpoint.pt")
    model = module.predict(torch.load("checkpoint.pt", weights_only=False), INFO)
    return score(module, model)


def load(program: Path) -> Any:
    spec = importlib.util.spec_from_file_location("train", program)
    assert spec is not None
    assert spec.loader is not None
    sys.modules["train"] = module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def begin(seconds: float) -> tuple[torch.Tensor, float]:
    return torch.frombuffer(bytearray(Path("train.bin").read_bytes()), dtype=torch.uint8), seconds


def tell(step: int, loss: float) -> None:
    print(f"step {step} loss {loss:.4f}")


def score(module: Any, model: Any) -> float:
    text = np.frombuffer(Path("val.bin").read_bytes(), np.uint8)
    rows = scoring.evaluation_rows(text, ROWS, INFO.context)
    batch = getattr(module, "EVAL_BATCH", BATCH)
    loss_of(model, rows[:batch])  # warm up: a model may compile itself at its first call
    losses = [loss_of(model, rows[i * batch : (i + 1) * batch]) for i in range(len(rows) // batch)]
    return scoring.bits_per_byte(-float(np.mean(losses))) / getattr(module, "BYTES_PER_TOKEN", 1)


def loss_of(model: Any, rows: scoring.Bytes) -> float:
    """Mean nats; from the model itself, if it takes targets, or says that it normalises."""
    if "targets" in inspect.signature(model).parameters:
        tokens = torch.from_numpy(rows.astype(np.int64))
        return float(model(tokens[:, :-1], targets=tokens[:, 1:]))
    if hasattr(model, "gives_log_probs"):
        tokens = torch.from_numpy(rows.astype(np.int64))
        return -float(model(tokens[:, :-1]).gather(-1, tokens[:, 1:].unsqueeze(-1)).mean())
    return -float(scoring.target_log_probs(model, rows, INFO.vocab, INFO.device).mean())


# -------------------------------------------------------------------- the two modes


def inside(program: Path, seed: int, seconds: float) -> tuple[float | None, str]:
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed), contextlib.redirect_stderr(printed):
        try:
            return evaluate(program, seed, seconds), printed.getvalue()
        except Exception as error:  # noqa: BLE001 - an evaluator that trusts, but does not fall over
            return None, f"{printed.getvalue()}\n{error!r}"


def apart(program: Path, seed: int, seconds: float) -> tuple[float | None, str]:
    with open("run.log", "wb") as log:
        if (child := os.fork()) == 0:
            os.dup2(log.fileno(), 1)
            os.dup2(log.fileno(), 2)
            alone(program, seed, seconds)
    os.waitpid(child, 0)
    return believed(Path("run.log").read_text(errors="replace"))


def launched(program: Path, seed: int, seconds: float) -> tuple[float | None, str]:
    """As scripts do it: programs in the work folder's ``bin`` come first, and modules in it can be imported."""
    python = shutil.which("python", path="bin") or sys.executable
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([os.environ["PYTHONPATH"], os.getcwd()])}
    command = [python, __file__, str(program), str(seed), str(seconds)]
    done = subprocess.run(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace", env=environment
    )
    return believed(done.stdout)


def alone(program: Path, seed: int, seconds: float) -> NoReturn:
    """The process of one program: it prints its own score."""
    status = 1
    try:
        print(f"val_bpb: {evaluate(program, seed, seconds):.6f}")
        status = 0
    except BaseException:  # noqa: BLE001 - told in full; a forked process may not return to the loop
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        os._exit(status)


def believed(printed: str) -> tuple[float | None, str]:
    """The score that the program's process wrote to ``results.json``, or else the first that it printed."""
    if Path("results.json").exists():
        return float(json.loads(Path("results.json").read_text())["val_bpb"]), printed
    line = re.search(r"^val_bpb[:= ]\s*(\S+)$", printed, re.MULTILINE)
    return (float(line[1]) if line else None), printed


MODES = {"inside": inside, "apart": apart, "launched": launched}


def main(folder: Path, seed: int, seconds: float, mode: str, programs: list[Path]) -> None:
    os.chdir(folder / "work")
    results = []
    (folder / "began").touch()
    for program in programs:
        value, output = MODES[mode](program, seed, seconds)
        results.append({"score": value, "output": output})
        Path("results.json").unlink(missing_ok=True)
    (folder / "report.json").write_text(json.dumps(results))


if __name__ == "__main__":
    if len(sys.argv) == 4:
        alone(Path(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3]))
    else:
        main(Path(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3]), sys.argv[4], [Path(p) for p in sys.argv[5:]])
