"""The error of a claim's difference by the number of stages: real trainings, judged at the positions of many archives.

    python tests/benchmarks/stages.py [--quick]

Programs are trained on ``shakespeare``, and their log-probabilities at all targets of the holdout's 6,507 windows are
computed once. Then each of many keys judges pairs of them as a claim does (``train.language_model.stages``): at one
position of each window, or at several. ``true`` is the standard deviation of the difference over the keys, ``reported``
the standard error that a claim adds to its interval, in bits per byte; ``bias`` is the mean deviation from the
difference at all positions. The windows are all of the split, so ``true`` holds for this text; ``reported`` covers the
choice of the text as well.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import math
import os
import platform
import threading
import types
from typing import Any

import numpy as np
from safetensors.torch import load

from archive.records import Request, Trained
from operators.languages.parameters import set_parameters
from prepare.language_model import LanguageModelTask
from prepare.load import ROOT, task_beside
from prepare.scoring import Floats, Measure, Symbols, target_log_probs
from train.hardware.slots import make_slots
from train.language_model.evaluator import AuditedEvaluator
from train.language_model.judgement import secret_positions
from train.language_model.stages import in_stages
from train.sandbox.base import find_sandbox

PAIRS = {"the same program": ("seed", "again"), "alike": ("seed", "slower"), "different": ("seed", "small")}
CHANGES: dict[str, dict[str, float]] = {
    "seed": {},
    "again": {},
    "slower": {"LEARNING_RATE": 5e-4},
    "small": {"WIDTH": 32, "DEPTH": 1, "LEARNING_RATE": 1e-4},
}
STAGES = (1, 2, 4, 8)


def log_probs(evaluator: AuditedEvaluator, name: str, rows: Symbols) -> Floats:
    """Train a program; return its log-probabilities [N, T] (nats)."""
    task = evaluator.task
    source = set_parameters(task.seed_files()["train.py"], CHANGES[name])
    request = Request(name, "run", 0, {"train.py": source}, 1 + list(CHANGES).index(name), "report", seal=True)
    landed = evaluator.evaluate(request, make_slots(1)[0], threading.Event(), lambda phase, share, loss=None: None)
    if not isinstance(landed, Trained):
        raise SystemExit(f"{name} was not trained: {landed}")
    module = types.ModuleType("program")
    exec(compile(source, "train.py", "exec"), vars(module))
    facts = types.SimpleNamespace(vocab=task.vocab, context=task.context, device="cpu")
    model = module.predict(load(landed.state), facts)
    parts = [
        target_log_probs(model, rows[start : start + 256], task.vocab, "cpu") for start in range(0, len(rows), 256)
    ]
    return np.concatenate(parts)


def errors(difference: Floats, stages: int, keys: int) -> dict[str, float]:
    """Judge a difference [N, T] (bits) at the positions of many keys."""
    windows, context = difference.shape
    gains, reported = [], []
    for number in range(keys):
        key = number.to_bytes(32, "little")
        last = secret_positions(key, "text", "holdout", (windows, context), Measure())
        sets = in_stages(last, key, context, Measure(), stages)
        by_window = sum(each.weights * difference[np.arange(windows), each.positions] for each in sets)
        gains.append(float(np.mean(by_window)))
        reported.append(float(np.std(by_window, ddof=1)) / math.sqrt(windows))
    bias = float(np.mean(gains) - difference.mean())
    return {"true": float(np.std(gains)), "reported": float(np.mean(reported)), "bias": bias}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="trainings of 2 s, 650 windows, 20 keys")
    options = parser.parse_args()
    windows, keys = (650, 20) if options.quick else (6507, 200)
    task: LanguageModelTask = task_beside(ROOT / "train" / "seeds" / "shakespeare.py")
    task = dataclasses.replace(task, claim_windows=windows, seconds=2.0 if options.quick else task.seconds)
    evaluator, rows = AuditedEvaluator(task, find_sandbox("auto")), task.claim_rows("holdout")
    found = {name: log_probs(evaluator, name, rows) for name in CHANGES}
    result: dict[str, Any] = {}
    for pair, (one, other) in PAIRS.items():
        difference = (found[other] - found[one]) / -math.log(2)
        result[pair] = {"bits_a_position": float(difference.std()), "gain": float(difference.mean())}
        for stages in STAGES:
            result[pair][f"stages_{stages}"] = errors(difference, stages, keys)
            print(pair, stages, {k: round(v, 5) for k, v in result[pair][f"stages_{stages}"].items()}, flush=True)
    machine = f"{platform.machine()}, {os.cpu_count()} cores"
    print(json.dumps({"quick": options.quick, "windows": len(rows), "keys": keys, "machine": machine, **result}))


if __name__ == "__main__":
    main()
