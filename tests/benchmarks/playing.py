"""What searches on tables are compared with, and several of them at a time: see ``search.playing``."""

from __future__ import annotations

import multiprocessing
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TypeVar

import numpy as np

from archive.records import Candidate, Propose
from archive.tree import Tree
from operators.base import Context, NoCandidate
from operators.languages.parameters import read_parameters, set_parameters
from search.playing.game import PATH
from search.playing.tables import Table

Job, Found = TypeVar("Job"), TypeVar("Found")


class Mutation:
    """The operator of the published comparison: one constant gets another value; with 30%, two of them."""

    arity = 1
    needs_llm = False

    def __init__(self, table: Table, copies: bool, name: str = "mutation") -> None:
        """``copies``: settings that are known are proposed and paid for again, as the published systems do."""
        self.name = name
        self._table = table
        self._copies = copies

    def applies(self, tree: Tree, node_id: str) -> bool:
        return tree.scored(node_id)

    def propose(self, move: Propose, context: Context) -> Candidate | NoCandidate:
        source = context.tree[move.parents[0]].candidate.files[PATH]
        setting = list(self._table.setting(read_parameters(source)))
        count = 2 if context.rng.random() < 0.3 else 1
        for place in context.rng.choice(len(setting), size=count, replace=False):
            other = int(context.rng.integers(self._table.sizes[place] - 1))
            setting[place] = other + (other >= setting[place])
        text = self._table.program(tuple(setting))
        if self._copies:
            text = set_parameters(text, {"COPY": context.move_number})
        return Candidate({PATH: text}, move.parents, self.name, "a mutation")


def in_processes(run: Callable[[Job], Found], jobs: Sequence[Job], workers: int) -> Iterator[Found]:
    """What ``run`` made of each job, in their order, with progress on stderr."""
    os.environ["OMP_NUM_THREADS"] = os.environ["OPENBLAS_NUM_THREADS"] = "1"  # for the processes: each has one core
    pool = multiprocessing.get_context("spawn").Pool(workers) if workers > 1 else None
    results: Iterable[Found] = map(run, jobs) if pool is None else pool.imap(run, jobs, chunksize=8)
    for number, found in enumerate(results, 1):
        if number % 20 == 0 or number == len(jobs):
            print(f"\r{number} of {len(jobs)} searches", end="", file=sys.stderr, flush=True)
        yield found
    print(file=sys.stderr)
    if pool is not None:
        pool.close()


def summary(values: Sequence[float]) -> tuple[float, float]:
    """Mean and standard error."""
    array = np.asarray(values, dtype=np.float64)
    return float(array.mean()), float(array.std(ddof=1) / np.sqrt(len(array))) if len(array) > 1 else 0.0
