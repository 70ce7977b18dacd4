"""Run one program alone, in this process, without a sandbox: for a person who wants to look at it.

    python train/seeds/shakespeare.py [--seconds 10] [--seed 0] [KEY=VALUE ...]

The preset of the task for this machine's device applies, as in a search; its constants are set in the running module.
It prints the program's own score on the validation split. Nothing here is recorded or compared.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from prepare.data.corpora import PreparationError
from prepare.load import TaskError, is_exported, task_beside
from prepare.scoring import target_log_probs
from prepare.session import Session, TaskInfo, as_tensor


def main(train: Callable[[Session], dict[str, Any]], predict: Callable[..., Any]) -> None:
    """Train with a local session, score the result, print. Exits with a plain message when the data is not there."""
    import torch

    program = Path(sys.argv[0])
    try:
        parser = argparse.ArgumentParser(description="Train this program alone and print its own score.")
        parser.add_argument("--seconds", type=float, help="training seconds (those of the task)")
        parser.add_argument("--seed", type=int, default=0)
        parser.add_argument("settings", nargs="*", metavar="KEY=VALUE", help="of the task or its data: data=python")
        options = parser.parse_intermixed_args()
        task = task_beside(program, settings=options.settings)
        seconds = task.seconds if options.seconds is None else options.seconds
        task.prepare()
        rows = task.evaluation_rows("val")
    except (TaskError, PreparationError, ValueError) as error:
        sys.exit(f"error: {error}")
    if not is_exported(program):  # there they are in the program's text, and may have been tuned since
        train.__globals__.update(task.constants)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    info = TaskInfo(vocab=task.vocab, context=task.context, device=device)

    def begin() -> tuple[torch.Tensor, float]:
        stream = bytearray(task.training_stream(options.seed))
        return as_tensor(stream, task.vocab), seconds

    def tell(step: int, loss: float) -> None:
        if sys.stdout.isatty():
            print(f"\rstep {step}  loss {loss:.4f}", end="", flush=True)

    torch.manual_seed(options.seed)
    session = Session(task=info, seed=options.seed, seconds=seconds, begin=begin, tell=tell)
    state = train(session)
    trained = session.elapsed()
    began = time.monotonic()
    model = predict(state, info)
    batches = [rows[i : i + task.batch] for i in range(0, len(rows), task.batch)]
    log_probs = np.concatenate([target_log_probs(model, batch, task.vocab, device) for batch in batches])
    measure = task.measure(rows)
    score = measure.bits_per_byte(float(measure.only_counted(log_probs).mean()))
    parameters = sum(tensor.numel() for tensor in state.values())
    print(
        f"\r{task.metric.name} {score:.4f}  ({trained:.1f} s of training, {parameters:,} parameters, "
        f"scored in {time.monotonic() - began:.1f} s, {device}; self-reported)"
    )
