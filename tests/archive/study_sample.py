"""A small study as rows: three runs with all stages, ablations and claims, written without a search."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from archive_sample import START, Diary, a_run, failed, request_for, scored

from archive.paper.bibliography import SHIPPED
from archive.records import Decision, Node, Propose, Replicate, Stage, sha256
from archive.storage.store import Archive

ROOT = "A = 1\nB = 2\n"
IDENTITY = {
    "task": {"name": "toy", "seconds": 10, "deterministic": False, "metric": {"name": "val_bpb", "unit": "bpb"}},
    "policy": {"_target_": "search.study.stages.Stages", "within": {"_target_": "search.policies.Composition"}},
    "operators": {"tune": {}, "revert": {}},
}
PLAN = {
    "study": "small", "title": "Constants of a toy", "hypothesis": "A larger A lowers the loss of 26 toys.",
    "task": "toy",
    "metric": "val_bpb", "direction": "minimise", "evaluations": 108, "seeds": [1, 2, 3], "patience": None,
    "level": 0.95,
    "smallest_gain": None, "settings": [], "bibliography": None, "runs": {"small-1": 1, "small-2": 2, "small-3": 3},
    "stages": {"baseline": 7, "tuning": 4, "research": 4, "ablation": 7}, "baseline": {"train.py": sha256(ROOT)},
    "identity": IDENTITY,
}  # fmt: skip


def a_study(path: Path, gains: Sequence[float] = (0.5, 0.6, 0.55)) -> Path:
    """An archive with the study ``small``, whose claims gain so much."""
    with Archive.open(path, clock=lambda: START) as archive:
        runs = {f"small-{seed}": seed for seed in (1, 2, 3)}
        archive.register("small", json.dumps(PLAN), SHIPPED.read_text(encoding="utf-8"), runs)
        for seed, gain in zip((1, 2, 3), gains, strict=True):
            a_staged_run(archive, seed, gain)
    return path


def a_staged_run(archive: Archive, seed: int, gain: float) -> None:
    run = replace(a_run(f"small-{seed}"), seed=seed, identity={**IDENTITY, "seed": seed})
    diary = Diary(archive, run)
    root = diary.child(text=ROOT, operator="seed")
    diary.record(scored(request_for(root, 0), 3.0))
    for n in (1, 2):
        record = diary.choose(Replicate(root.node_id, stage="baseline"))
        diary.record(scored(request_for(root, n, move=record.number), 3.0 + 0.01 * n))
    best, score = root, 3.0
    for stage, text in (("tuning", "A = 5\nB = 2\n"), ("research", "A = 5\nB = 7\n")):
        best, score = _child(diary, best.node_id, stage, "tune", text), score - gain / 2
        for n in range(3):
            move = best.move if n == 0 else diary.choose(Replicate(best.node_id, stage=stage)).number
            diary.record(scored(request_for(best, n, move=move), score + 0.01 * n))
    crashed = _child(diary, best.node_id, "research", "tune", "A = 9\n")
    diary.record(failed(request_for(crashed, 0)))
    without = _child(diary, best.node_id, "ablation", "revert", "A = 5\nB = 2\n", "without: B = 7 (baseline: B = 2)")
    for n in range(3):
        move = without.move if n == 0 else diary.choose(Replicate(without.node_id, stage="ablation")).number
        diary.record(scored(request_for(without, n, move=move), score + gain / 2 + 0.01 * n))
    for node, loss in ((root, 0.0), (best, gain)):
        for n, value in enumerate((3.0, 3.02)):
            move = diary.choose(Replicate(node.node_id, "report"))
            diary.record(scored(request_for(node, 100 + n, "report", move.number), value - loss))
    detail = {"baseline": [3.0, 3.02], "champion": [3.0 - gain, 3.02 - gain], "gain": gain, "low": gain - 0.1,
              "high": gain + 0.1}  # fmt: skip
    kind, code = ("champion", "improvement") if gain > 0.1 else ("no_champion", "within_noise")
    archive.decide(Decision(run.run, kind, best.node_id, "tested", detail, START, code))  # type: ignore[arg-type]


def _child(diary: Diary, parent: str, stage: Stage, operator: str, text: str, idea: str = "") -> Node:
    return diary.add(diary.choose(Propose(operator, (parent,), stage)), text, idea)
