"""Workers and executors for clusters whose GPUs are pretended: Ray counts them, torch sees none."""

from __future__ import annotations

import os
from dataclasses import replace

from archive.records import Conditions, Evaluation, Request
from train.executors.ray.executor import RayExecutor
from train.executors.ray.worker import Ready, Refused, Worker, WorkerSpec
from train.hardware.slots import Slot

HARDWARE = "TREEWRIGHT_TEST_HARDWARE"
"""Of a node: the hardware tag of its workers."""


class PretendedWorker(Worker):
    """Believes Ray that there is a GPU."""

    def _find_slot(self, spec: WorkerSpec, index: int) -> Slot:
        if not spec.gpus:
            return Slot(index, "cpu", None, (), spec.threads)
        return Slot(index, "cuda", 0, (), spec.threads, uuid=f"GPU-{index}")

    def _prepare(self, spec: WorkerSpec, index: int) -> Ready | Refused:
        found = super()._prepare(spec, index)
        return found if isinstance(found, Refused) else replace(found, conditions=_here(found.conditions))

    def evaluate(self, request: Request) -> Evaluation:
        landed = super().evaluate(request)
        return replace(landed, conditions=_here(landed.conditions))


def _here(conditions: Conditions) -> Conditions:
    return replace(conditions, hardware=os.environ.get(HARDWARE, conditions.hardware))


class PretendedRay(RayExecutor):
    worker_class = PretendedWorker
