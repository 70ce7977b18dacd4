"""Run one program alone in this process, without a sandbox, for development.

    python train/seeds/shakespeare.py [--seconds 10] [--seed 0] [KEY=VALUE ...]

As in a search, the task's preset for this machine's device applies; its constants are set in the running module. On a
CPU the program has one thread, as in a slot, and its training seconds are CPU seconds (``prepare.clock``).
Prints the program's self-reported score on the validation split. Nothing is recorded or compared.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from prepare.clock import CpuClock
from prepare.data.corpora import PreparationError
from prepare.language_model import LanguageModelTask
from prepare.load import TaskError, is_exported, task_beside
from prepare.scoring import Symbols, target_log_probs
from prepare.session import Session, TaskInfo, as_tensor, candidate_seed

if TYPE_CHECKING:
    from torch import Tensor


def main(train: Callable[[Session], dict[str, Any]], predict: Callable[..., Any]) -> None:
    """Train with a local session, score the result and print it. Exits with a plain message if the data is missing."""
    import torch

    program = Path(sys.argv[0])
    options = _options()
    try:
        task = task_beside(program, settings=options.settings)
        seconds = task.seconds if options.seconds is None else options.seconds
        task.prepare()
        rows = task.evaluation_rows("val")
    except (TaskError, PreparationError, ValueError) as error:
        sys.exit(f"error: {error}")
    if not is_exported(program):  # an exported program contains them, possibly tuned
        train.__globals__.update(task.constants)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    info = TaskInfo(vocab=task.vocab, context=task.context, device=device)
    torch.manual_seed(candidate_seed(options.seed))
    if device == "cpu":
        torch.set_num_threads(options.threads)
    session = _session(task, info, options.seed, seconds, options.threads)
    state = train(session)
    trained = session.elapsed()
    began = time.monotonic()
    score = _score(task, predict(state, info), rows, device)
    parameters = sum(tensor.numel() for tensor in state.values())
    print(
        f"\r{task.metric.name} {score:.4f}  ({trained:.1f} s of training, {parameters:,} parameters, "
        f"scored in {time.monotonic() - began:.1f} s, {device}; self-reported)"
    )


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Train this program alone and print its own score.")
    parser.add_argument("--seconds", type=float, help="training seconds (default: the task's)")
    parser.add_argument("--seed", type=int, default=0, help="such as one of the search's (default: 0)")
    parser.add_argument("--threads", type=int, default=1, help="on a CPU (default: 1, as a slot of a search)")
    parser.add_argument("settings", nargs="*", metavar="KEY=VALUE", help="of the task or its data: data=python")
    return parser.parse_intermixed_args()


def _session(task: LanguageModelTask, info: TaskInfo, seed: int, seconds: float, threads: int) -> Session:
    """Return a session that reads the training data in this process and prints reports on a terminal."""

    clock = CpuClock(threads) if task.clock_on(info.device) == "cpu" else None

    def begin() -> tuple[Tensor, float]:
        stream = bytearray(task.training_stream(seed))
        if clock is not None:
            clock.restart()
        return as_tensor(stream, task.vocab), seconds

    def tell(step: int, loss: float) -> None:
        if sys.stdout.isatty():
            print(f"\rstep {step}  loss {loss:.4f}", end="", flush=True)

    ours = candidate_seed(seed)
    return Session(task=info, seed=ours, seconds=seconds, begin=begin, tell=tell, clock=clock or time.monotonic)


def _score(task: LanguageModelTask, model: Callable[[Tensor], Tensor], rows: Symbols, device: str) -> float:
    """Return the bits per byte of the model on evaluation rows [N, T + 1]."""
    batches = [rows[i : i + task.batch] for i in range(0, len(rows), task.batch)]
    log_probs = np.concatenate([target_log_probs(model, batch, task.vocab, device) for batch in batches])
    measure = task.measure(rows)
    return measure.bits_per_byte(float(measure.only_counted(log_probs).mean()))
