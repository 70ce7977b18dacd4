"""The task gpt on this machine's GPU: how much of the chip it uses, and what an evaluation costs beside the training.

    python tests/benchmarks/gpu.py [--quick] [--profile] [--seconds 300] [--seeds 1] [--data NAME] [KEY=VALUE ...]

Real evaluations of the seed program, with the real sandboxes and the real audit, under the preset of this device.

    mfu            model FLOP utilisation over the whole budget: FLOPs a token x tokens a second / the chip's dense peak
                   in bf16. FLOPs a token: 6 x (all parameters but the embeddings of tokens and values) + 12 x layers x
                   width x context, as karpathy/nanochat counts (attention as if it were not causal)
    mfu_causal     with half of the attention, which is what a causal kernel computes
    tokens_per_s   tokens trained on, over the training seconds (steps that were reported x tokens of a step)
    startup_s      before the clock: the rehearsal and the start-up, compiling included
    score_audit_s  scoring and audit, their sandboxes' launches not included (see `phases`)
    peak_gb        the most memory in use on the device beyond what was in use before; without a GPU, of the processes
    scores         of the seeds 1, 2, ...; with 2 seeds or more also `sigma`, their deviation, and `repeat`: the first
                   seed again; `repeat_z` is how far that is from its first run, in units of sigma (2.8 is the 5% limit
                   of the difference of two runs)

Without a GPU the preset for a CPU is run, so that every line of this is tried; `mfu` is null and `why` says so.
`--profile` prints where the time of a step goes (torch.profiler, in this process) before the last line.
The text is made up unless it is named: speed does not depend on it, scores do. The last line is one JSON object.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import statistics
import sys
import tempfile
import threading
import types
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from archive.records import Evaluation, Request, Scored
from operators.languages.parameters import read_parameters
from prepare.language_model import LanguageModelTask
from prepare.load import task_named
from prepare.presets import this_machine
from prepare.session import Session, TaskInfo, as_tensor
from search.factory import seed_files
from train.hardware.slots import make_slots
from train.language_model.evaluator import AuditedEvaluator
from train.sandbox.base import find_sandbox

PEAK_TFLOPS = {
    "H200": 989.5,
    "H100 PCIe": 756.0,
    "H100": 989.5,
    "A100": 312.0,
    "B200": 2250.0,
    "L40S": 362.0,
    "L40": 181.0,
    "L4": 121.0,
    "RTX 4090": 165.2,
    "RTX 3090": 71.0,
}
"""Dense bf16 with 32-bit accumulation, from NVIDIA's data sheets; the first name that the device's own contains."""


def peak_tflops(name: str) -> float | None:
    """Of a device, by its name; None for one that is not in the table."""
    return next((peak for known, peak in PEAK_TFLOPS.items() if known in name), None)


def program_of(source: str) -> Any:
    """The seed program as a module, which torch.compile wants to find again by its name."""
    module = sys.modules["seed_program"] = types.ModuleType("seed_program")
    exec(compile(source, "train.py", "exec"), module.__dict__)
    return module


def flops_per_token(source: str, task: LanguageModelTask, attended: float = 1.0) -> float:
    """Forward and backward: ``6 N + 12 L W T``. ``attended``: the share of the attention that is computed."""
    with torch.device("meta"):
        model = program_of(source).GPT(task.vocab)
    embeddings = {id(part.weight) for part in model.modules() if isinstance(part, torch.nn.Embedding)}
    others = sum(parameter.numel() for parameter in model.parameters() if id(parameter) not in embeddings)
    layers, width = len(model.blocks), model.tokens.embedding_dim
    return 6.0 * others + 12.0 * layers * width * task.context * attended


def made_up_texts(folder: Path, megabytes: float) -> Path:
    """Files of made-up words, so that nothing has to be fetched."""
    rng = np.random.default_rng(0)
    words = ["".join(map(chr, rng.integers(97, 123, size=rng.integers(2, 9)))) for _ in range(20_000)]
    chances = 1.0 / np.arange(1, len(words) + 1)
    chances /= chances.sum()
    size, number = 0, 0
    folder.mkdir(parents=True, exist_ok=True)
    while size < megabytes * 1e6:
        text = " ".join(words[i] for i in rng.choice(len(words), size=int(rng.integers(50, 3000)), p=chances))
        (folder / f"{number:06}.txt").write_text(text)
        size, number = size + len(text), number + 1
    return folder


def make_task(options: argparse.Namespace, device: str, scratch: Path) -> LanguageModelTask:
    """The task with the preset of the device, on the text that was asked for."""
    settings = [] if options.seconds is None else [f"task.seconds={options.seconds}"]
    if options.quick:
        settings += ["task.rows=32", "task.audit_screen=32"]
        settings += ["task.seconds=5"] if options.seconds is None else []
    if options.data == "made-up":
        megabytes = 4.0 if device == "cpu" else 100.0
        settings += ["data=folder", f"data.path={made_up_texts(scratch / 'texts', megabytes)}", "data.name=made-up"]
        os.environ.setdefault("TREEWRIGHT_CACHE", str(scratch / "cache"))
    elif options.data in ("python", "climbmix"):
        settings += [f"data={options.data}"]
    else:
        settings += ["data=folder", f"data.path={Path(options.data).resolve()}"]
    return task_named("gpt", [*settings, *options.settings], device)


def evaluate(evaluator: AuditedEvaluator, source: str, seed: int) -> Scored:
    """One evaluation on the first slot, audited as a leader is. Exits with the reason if there is no score."""
    request = Request("seed", "benchmark", 0, {"train.py": source}, seed, "screen", leader_score=math.inf)
    found: Evaluation = evaluator.evaluate(request, make_slots(1)[0], threading.Event(), lambda *_: None)
    if not isinstance(found, Scored):
        raise SystemExit(f"error: the seed program has no score: {found.outcome}, {found.reason}\n{found.log[-3000:]}")
    return found


def speed(found: Scored, source: str, task: LanguageModelTask, tflops: float | None) -> dict[str, Any]:
    """The figures of one evaluation."""
    constants, phases = read_parameters(source), found.resources.phases
    tokens = found.resources.steps * constants["BATCH"] * task.context / max(1e-9, found.resources.seconds)
    peak = found.resources.peak_device_mb
    share = {attended: flops_per_token(source, task, attended) * tokens / 1e12 for attended in (1.0, 0.5)}
    return {
        "mfu": None if tflops is None else round(share[1.0] / tflops, 4),
        "mfu_causal": None if tflops is None else round(share[0.5] / tflops, 4),
        "tokens_per_s": round(tokens),
        "startup_s": round(phases.get("rehearse", 0.0) + phases.get("startup", 0.0), 2),
        "score_audit_s": round(phases.get("score", 0.0) + phases.get("audit", 0.0), 2),
        "peak_gb": round((found.resources.peak_memory_mb if peak is None else peak) / 1000, 2),
        "steps": found.resources.steps,
        "audited": found.audit.k if found.audit is not None else 0,
        "phases": {name: round(seconds, 2) for name, seconds in phases.items()},
    }


def repeated(scores: Sequence[float], again: float | None) -> dict[str, Any]:
    """The seeds' deviation, and how far a second run of the first seed is from its first."""
    sigma = statistics.stdev(scores) if len(scores) > 1 else None
    z = None if sigma is None or again is None else abs(again - scores[0]) / max(sigma, 1e-12)
    rounded = [round(score, 5) for score in scores]
    return {
        "scores": rounded,
        "mean": round(statistics.mean(scores), 5),
        "sigma": None if sigma is None else round(sigma, 5),
        "repeat": None if again is None else round(again, 5),
        "repeat_z": None if z is None else round(z, 2),
    }


def profile(task: LanguageModelTask, source: str, device: str, seconds: float) -> None:
    """Print where the time of the training goes: the operations that took most, in this process."""
    kind = "cuda" if device.startswith("cuda") else "cpu"
    if kind == "cpu":
        torch.set_num_threads(1)  # as in a slot
    activities = [torch.profiler.ProfilerActivity.CPU]
    activities += [torch.profiler.ProfilerActivity.CUDA] if kind == "cuda" else []
    measured = torch.profiler.profile(activities=activities)

    def begin() -> tuple[torch.Tensor, float]:
        stream = bytearray(task.training_stream(1))
        measured.start()  # not what is compiled before the clock
        return as_tensor(stream, task.vocab), seconds

    info = TaskInfo(vocab=task.vocab, context=task.context, device=kind)
    session = Session(task=info, seed=1, seconds=seconds, begin=begin, tell=lambda step, loss: None)
    program_of(source).train(session)
    measured.stop()
    by = "self_device_time_total" if kind == "cuda" else "self_cpu_time_total"
    print(measured.key_averages().table(sort_by=by, row_limit=20, max_name_column_width=60))


def main(arguments: Sequence[str] | None = None) -> Mapping[str, Any]:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="five seconds of training, few rows: under a minute")
    parser.add_argument("--data", default="made-up", help="made-up, python, climbmix, or a folder (%(default)s)")
    parser.add_argument("--seconds", type=float, help="training seconds (those of the preset)")
    parser.add_argument("--seeds", type=int, default=1, help="runs with different seeds (%(default)s)")
    parser.add_argument("--peak-tflops", type=float, help="dense bf16 of this device, if it is not in the table")
    parser.add_argument("--profile", action="store_true", help="print where the time goes")
    parser.add_argument("settings", nargs="*", metavar="KEY=VALUE", help="of the task or its data: data.shards=2")
    options = parser.parse_intermixed_args(arguments)
    device = this_machine()
    cuda = device.startswith("cuda")
    name = torch.cuda.get_device_name(0) if cuda else "cpu"
    tflops = options.peak_tflops or (peak_tflops(name) if cuda else None)
    with tempfile.TemporaryDirectory(prefix="treewright-benchmark-") as folder:
        task = make_task(options, device, Path(folder))
        task.prepare()
        source = seed_files(task)["train.py"]
        evaluator = AuditedEvaluator(task, find_sandbox("auto"))
        runs = [evaluate(evaluator, source, seed) for seed in range(1, options.seeds + 1)]
        again = evaluate(evaluator, source, 1).score if options.seeds > 1 else None
        if options.profile:
            profile(task, source, device, min(20.0, task.seconds))
    found: dict[str, Any] = speed(runs[0], source, task, tflops)
    if tflops is None:
        found["why"] = "no GPU here: the preset for a CPU" if not cuda else f"no peak known of {name}; --peak-tflops"
    found |= repeated([run.score for run in runs], again)
    found |= {
        "device": name,
        "data": options.data,
        "seconds": task.seconds,
        "fingerprint": runs[0].conditions.fingerprint,
    }
    print(json.dumps(found))
    return found


if __name__ == "__main__":
    main()
