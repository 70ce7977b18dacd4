"""Memory and CPU time of a sandbox's process tree, and its memory limit.

With a memory group (``train.sandbox.cgroup``) the kernel limits memory and counts CPU time. Otherwise the processes'
memory is measured at every check (``train.sandbox.memory``), and CPU time is summed over the living processes and the
children that each has waited for. Orphans are waited for by the first process of a sandbox. A child between two checks
would escape this sum if its parent ignored SIGCHLD, which the system call filter prevents
(``train.sandbox.confine.filters``); without a sandbox (tier ``none``) it does escape. The kernel rounds a process's CPU
time down, so each process above the usual number is charged what that can hide.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Sequence
from dataclasses import dataclass

import psutil

from train.sandbox import memory
from train.sandbox.abort import Aborted
from train.sandbox.cgroup import MemoryGroup
from train.sandbox.process_tree import descendants

_ROUNDED_SECONDS = 4 / os.sysconf("SC_CLK_TCK")
"""CPU seconds that rounding can hide of one process: user and system time, its own and its children's, a tick each."""
_USUAL_PROCESSES = 8
"""Processes of a sandbox, the worker and a few helpers."""


@dataclass
class ResourceUsage:
    """Resources that a process tree has used so far."""

    peak_memory_mb: float = 0.0
    cpu_seconds: float = 0.0
    measured_at: float = 0.0
    """When the CPU time was last measured, or shortly before (monotonic seconds)."""


class ResourceMonitor:
    """Measures a process and its descendants, and remembers the latter so that they can be killed in the end."""

    def __init__(
        self, pid: int, label: str, memory_mb: int, group: MemoryGroup | None, namespaced: bool = False
    ) -> None:
        """``label``: begins the reasons. ``group``: the memory group of the process, None if there is none.

        ``namespaced``: all descendants end with a process namespace, so that with a group none has to be remembered.
        """
        self.usage = ResourceUsage()
        self.group = group
        self._walks = group is None or not namespaced
        self._pid = pid
        self.label = label
        self._memory_mb = memory_mb
        self._summed_cpu = self._lost_cpu = self._missing_cpu = 0.0
        self._seen: dict[int, psutil.Process] = {}

    def check(self) -> None:
        """Measure once. Raises Aborted above the memory limit."""
        processes = self.processes() if self._walks else None
        self.measure_cpu(processes)
        if self.was_oom_killed():
            raise self.out_of_memory()
        held = self._held(processes or ())
        if held > self._memory_mb:
            raise self.out_of_memory(held)

    def measure_last(self) -> None:
        """Measure once before the end, if that is cheap: a short process is seen at its beginning alone otherwise."""
        if self.group is not None:
            self.measure_cpu(())
            with contextlib.suppress(OSError):
                self._held(())

    def _held(self, processes: Sequence[psutil.Process]) -> float:
        """Return the megabytes that are held, which may be the most so far."""
        held = (self.group.used_bytes() if self.group is not None else self._measured_memory(processes)) / 1e6
        self.usage.peak_memory_mb = max(self.usage.peak_memory_mb, held)
        return held

    def measure_cpu(self, processes: Sequence[psutil.Process] | None = None) -> None:
        """Measure the CPU time alone: 0.02 ms with a group, otherwise a walk over ``processes`` (None: all of them)."""
        self.usage.measured_at = time.monotonic()
        counted = self.group.cpu_seconds() if self.group is not None else None
        if counted is None:
            processes = self.processes() if processes is None else processes
            counted = self._sum_cpu(processes) + _ROUNDED_SECONDS * max(0, len(processes) - _USUAL_PROCESSES)
        self.usage.cpu_seconds = max(self.usage.cpu_seconds, counted)

    def processes(self) -> list[psutil.Process]:
        """Return the process and its living descendants, and remember the latter."""
        with contextlib.suppress(psutil.Error):
            parent = psutil.Process(self._pid)
            found = [parent, *descendants(parent)]
            self._seen.update((process.pid, process) for process in found[1:])
            return found
        return []

    def kill_namespace(self) -> bool:
        """Kill the first process of the namespace below this one, with which the kernel kills all others in it.

        Return whether there was one.
        """
        with contextlib.suppress(psutil.Error):
            for first in descendants(psutil.Process(self._pid), deep=False):
                if first.ppid() == self._pid:  # its number has not passed to another process
                    first.kill()
                    return True
        return False

    def kill_seen(self) -> None:
        """Kill every descendant that was ever seen, including those that have left the process tree."""
        for process in self._seen.values():
            with contextlib.suppress(psutil.Error):  # gone; or, in a sandbox made as root, not ours to signal
                process.kill()  # psutil checks that the number has not passed to another process

    def was_oom_killed(self) -> bool:
        """Return whether the kernel has killed a process of the memory group for lack of memory."""
        return self.group is not None and self.group.oom_kills() > 0

    def out_of_memory(self, used_mb: float | None = None) -> Aborted:
        """Explain an end by the memory limit, or by the whole machine's memory. ``used_mb``: default, the limit."""
        if self.group is not None and self.was_oom_killed() and not self.group.reached_limit():
            return Aborted(
                "out_of_memory",
                f"{self.label}: the whole machine ran out of memory, and the kernel ended it; it had used "
                f"{self.usage.peak_memory_mb:,.0f} MB, and {self._memory_mb:,} MB are allowed",
            )
        used_mb = float(self._memory_mb) if used_mb is None else used_mb
        self.usage.peak_memory_mb = max(self.usage.peak_memory_mb, used_mb)
        return Aborted(
            "out_of_memory",
            f"{self.label}: it used {used_mb:,.0f} MB of memory, all processes, shared memory and scratch files "
            f"together; {self._memory_mb:,} MB are allowed",
        )

    def _sum_cpu(self, processes: Sequence[psutil.Process]) -> float:
        """Return the CPU seconds of the processes (parents first) and of the children that they have waited for.

        What is missing at two checks in a row belonged to processes that nothing has waited for. At one check, a parent
        may have waited for its child after it was read itself, so that none of the two has the child's seconds.
        """
        living = self._lost_cpu
        for process in processes:
            with contextlib.suppress(psutil.Error):  # it ended since it was listed
                living += sum(process.cpu_times()[:4])  # user, system, and the same of children
        missing = max(0.0, self._summed_cpu - living)
        lost = min(missing, self._missing_cpu)
        self._lost_cpu += lost
        self._missing_cpu = missing - lost
        self._summed_cpu = max(self._summed_cpu, living + lost)
        return self._summed_cpu

    def _measured_memory(self, processes: Sequence[psutil.Process]) -> float:
        """Return the bytes that the processes hold; shared pages are counted once only if the limit depends on it."""
        in_files = memory.file_bytes(processes)
        held = float(in_files)
        for process in processes:
            with contextlib.suppress(psutil.Error):
                held += memory.resident_bytes(process)
        if held / 1e6 > self._memory_mb:
            held = min(held, memory.deduplicated_bytes(processes, in_files))
        return held
