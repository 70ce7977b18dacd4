"""Hosts and executors for clusters whose GPUs are pretended: Ray counts them, torch sees none."""

from __future__ import annotations

import os
from dataclasses import replace

from train.ray import RayExecutor
from train.ray_host import Host, Ready, Recipe, Refused
from train.slots import Slot

HARDWARE = "TREEWRIGHT_TEST_HARDWARE"
"""Of a node: what its hosts call their hardware."""


class PretendedHost(Host):
    """Believes Ray that there is a GPU."""

    def _find_slot(self, recipe: Recipe, index: int) -> Slot:
        if not recipe.gpus:
            return Slot(index, "cpu", None, (), recipe.threads)
        return Slot(index, "cuda", 0, (), recipe.threads, uuid=f"GPU-{index}")

    def _prepare(self, recipe: Recipe, index: int) -> Ready | Refused:
        found = super()._prepare(recipe, index)
        if isinstance(found, Refused) or (hardware := self._hardware()) is None:
            return found
        return replace(found, conditions=replace(found.conditions, hardware=hardware))

    def _hardware(self) -> str | None:
        return os.environ.get(HARDWARE)


class PretendedRay(RayExecutor):
    host_class = PretendedHost
