"""tune: numeric search over the parameters of a program. Needs no language model.

Parameters are the ALL_CAPS constants of Python, in other languages the numbers in front of a ``tune:`` comment, and
numbers in JSON and YAML files that the task declares by their path (``operators.languages``).

What it proposes for a parent is decided by ``operators.numeric.proposer.proposals``, which knows of no tree. The best
setting that is not known yet is proposed.

A small space of whole numbers and choices is tried in full, and then the operator does not apply any more
(``operators.numeric.exhaustion``).

``proposer: tpe`` uses Optuna's TPE instead, over one to three drawn parameters; see ``operators.numeric.tpe``.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from itertools import islice
from typing import Literal

import numpy as np

from archive.records import Candidate, Propose
from archive.tree import Tree
from operators.base import Context, NoCandidate
from operators.languages.files import Editable
from operators.languages.fingerprint import fingerprint
from operators.numeric.exhaustion import Exhaustion, settings_of, small_space
from operators.numeric.observations import (
    is_tunable,
    lineage_files,
    observe,
    search_space,
    values_of,
    with_values,
)
from operators.numeric.proposer.proposals import settings
from operators.numeric.proposer.trials import KnownPrograms, Space, Values
from operators.numeric.tpe import tpe_settings
from prepare.task import Task

FED = 64
"""Scored programs that it is fitted to."""

NOTHING_TO_TUNE = (
    "nothing to tune: no file that may change has a number that the numeric search knows. Write one as "
    "`RATE = 0.001  # tune: 1e-4..1e-2 log`, with the language's own comment mark, to have it searched."
)


class Tune:
    """Change one or several parameters of the parent."""

    arity = 1
    needs_llm = False

    def __init__(
        self,
        name: str = "tune",
        warm: int | None = None,
        fed: int = FED,
        tries: int = 12,
        proposer: Literal["surrogate", "tpe", "genes"] = "surrogate",
    ) -> None:
        """Set up the operator.

        Args:
            warm: Scored programs before the surrogate is used; None: ``WARM`` of ``proposer.proposals``.
            fed: Scored programs that it is fitted to.
            tries: Known settings after which the proposal is refused.
            proposer: ``genes`` is the former name of ``surrogate``.

        Raises:
            ValueError: Unknown proposer.
        """
        if proposer not in ("surrogate", "tpe", "genes"):
            raise ValueError(f"tune has proposer={proposer!r}; expected surrogate or tpe. Set operators.tune.proposer.")
        self.name = name
        self.warm = warm
        self.fed = fed
        self.tries = tries
        self.proposer = "tpe" if proposer == "tpe" else "surrogate"
        self._editable = Editable()
        self._tunable: dict[str, bool] = {}
        self._exhaustion = Exhaustion()

    def set_task(self, task: Task) -> None:
        """Tell which files and numbers may change; until then all files of a program may."""
        self._editable = Editable.of(task)
        self._tunable.clear()
        self._exhaustion = Exhaustion(self._editable)

    def applies(self, tree: Tree, node_id: str) -> bool:
        """True for a scored node whose program has a searchable parameter, unless all of its settings are known."""
        scored = not math.isnan(tree.means[tree.index[node_id]])
        return scored and self._is_tunable(tree, node_id) and not self._exhaustion.of(tree, node_id)

    def spent(self) -> str:
        """Return what was exhausted last and what to do about it; empty if nothing was."""
        if not self._exhaustion.words:
            return ""
        return (
            f"{self.name}: {self._exhaustion.words}. For more, widen the ranges behind `tune:`, mark more numbers, or "
            "choose operators that change code (operators=auto with llm=...)."
        )

    def _is_tunable(self, tree: Tree, node_id: str) -> bool:
        """Return whether there is something to search. Cached by node, since programs never change."""
        if node_id not in self._tunable:
            self._tunable[node_id] = is_tunable(tree[node_id].candidate.files, self._editable)
        return self._tunable[node_id]

    def propose(self, move: Propose, context: Context) -> Candidate | NoCandidate:
        with context.tree.lock:
            parent = context.tree[move.parents[0]]
            files = parent.candidate.files
            editable = Editable.of(context.task)
            lineage = lineage_files(context.tree, parent.node_id)
            space = search_space(files, editable, lineage)
            if not space:
                return NoCandidate(NOTHING_TO_TUNE)
            observations = observe(context.tree, files, self.fed, editable.declared)
            visits = int(context.tree.visits[context.tree.index[parent.node_id]])
        start = values_of(files, editable.declared)
        known = KnownPrograms(start, space, observations, visits, context.tree.direction)
        rest = _rest(space, context.rng)
        for values in itertools.chain(islice(self._settings(known, context.rng), self.tries), rest):
            changed = {key: value for key, value in values.items() if value != start[key]}
            child = with_values(files, changed, editable.declared)
            if changed and fingerprint(child) not in context.known:
                return Candidate(child, move.parents, self.name, _idea(changed, start))
        return NoCandidate(f"tune found no new setting of {_names(space)} in {self.tries} tries: all are known already")

    def _settings(self, known: KnownPrograms, rng: np.random.Generator) -> Iterator[Values]:
        """Yield settings to try, the most promising first."""
        if self.proposer == "tpe":
            return tpe_settings(known, self.warm, rng)
        return settings(known, rng, self.warm)


def _idea(changed: Values, start: Values) -> str:
    return ", ".join(f"{key[1]} {start[key]!r} -> {value!r}" for key, value in changed.items())


def _rest(space: Space, rng: np.random.Generator) -> Iterator[Values]:
    """Yield all settings of a small space in random order, none of a large one."""
    choices = small_space(space)
    settings = [] if choices is None else list(settings_of(choices))
    yield from (settings[int(i)] for i in rng.permutation(len(settings)))


def _names(space: Space) -> str:
    return ", ".join(name for _, name in space)
