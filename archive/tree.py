"""The solution tree in memory, derived from the archive's rows alone; the input of policies.

Arrays are aligned with ``nodes`` (order of arrival), so that a policy is a few lines of numpy:

    tree.means     [N] float64  mean screening score under the run's conditions; NaN where there is none
    tree.runs      [N] int64    scored screenings behind each mean
    tree.visits    [N] int64    children made or attempted: scored, failed, pending and refused ones
    tree.places    [N] int64    place of the first parent in ``nodes``; -1 for the root
    tree.suspects  [N] bool     nodes whose scores do not count; see ``Suspicion``

Only evaluations made under ``tree.conditions`` count; the others stay in the archive and are not compared.
Only the search loop writes a tree (``add``, ``record``, ``choose``, ``refuse``). Readers in other threads (an operator
that waits for a language model) hold ``tree.lock``.
"""

from __future__ import annotations

import math
import threading
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from archive.noise import NoisePrior
from archive.records import (
    WITHDRAWN,
    Conditions,
    Direction,
    Evaluation,
    Failed,
    MoveRecord,
    Node,
    Propose,
    Purpose,
    Refusal,
    Replicate,
    Scored,
)
from archive.steering import Steering

if TYPE_CHECKING:
    import networkx as nx

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

_DISQUALIFIES = ("invalid", "infeasible")
"""Outcomes of one evaluation after which no score of the node counts."""


class Column:
    """A growing numpy array: appending is O(1) amortised, reading is a view."""

    def __init__(self, dtype: Any, fill: float = 0) -> None:
        """``fill``: what is appended where nothing else is said."""
        self._data = np.full(64, fill, dtype=dtype)
        self._fill = fill
        self._size = 0

    def append(self, value: float | None = None) -> None:
        if self._size == len(self._data):
            grown = np.full(2 * len(self._data), self._fill, dtype=self._data.dtype)
            grown[: self._size] = self._data
            self._data = grown
        if value is not None:
            self._data[self._size] = value
        self._size += 1

    def extend(self, size: int) -> None:
        """Fill up to ``size`` entries."""
        while self._size < size:
            self.append()

    @property
    def view(self) -> NDArray[Any]:
        return self._data[: self._size]


@dataclass(frozen=True)
class Suspicion:
    """Why a node is suspect: its scores do not count, and it is not used as a parent, evaluated again or claimed.

    Cheating (``Failed.violation``) is inherited through any parent, since the cheating code may be in all descendants.
    A run that was merely ``invalid`` or ``infeasible`` makes its own node suspect only.
    """

    origin: str
    """The node whose evaluation shows it: the suspect itself, or an ancestor."""
    inherited: bool
    evaluation: Failed

    @property
    def words(self) -> str:
        """Describe the finding. Reasons of claim runs are left out."""
        told = self.evaluation.request.purpose == "screen"
        what = "found cheating" if self.evaluation.violation else f"{self.evaluation.outcome} in one of its runs"
        return f"{what} ({self.evaluation.reason if told else 'in a run of the claim'})"

    def __str__(self) -> str:
        """``descends from 3fa9c1d2, found cheating (the audit disagrees)``."""
        return f"descends from {self.origin[:8]}, {self.words}" if self.inherited else self.words


class Tree:
    """The nodes of one run with their evaluations; a DAG, since a crossover has two parents."""

    def __init__(self, run: str, direction: Direction, conditions: Conditions) -> None:
        self.run = run
        self.direction: Direction = direction
        self.conditions = conditions
        self.nodes: list[Node] = []
        self.index: dict[str, int] = {}
        self.graph: nx.DiGraph = _networkx().DiGraph()  # edges point from parent to child
        self.evaluations: dict[str, list[Evaluation]] = {}
        self.moves: dict[int, MoveRecord] = {}
        self.open_moves: dict[int, MoveRecord] = {}
        """Chosen, but neither refused nor evaluated yet."""
        self.trained: set[int] = set()
        """Moves of claims whose training is sealed: its state is kept, and is judged later."""
        self.judging: set[int] = set()
        """Those of them whose judgement has begun, so that text of its split was shown to a sandbox."""
        self.answered: dict[int, int] = {}
        """Of them, by move: how many stages of the judgement are over, the last one left out."""
        self.noise_prior: NoisePrior | None = None
        """What earlier runs or the task tell of the seed deviation."""
        self.deterministic = False
        """Whether a score is the same with every seed, so that nothing is evaluated twice."""
        self.repeated: dict[str, None] = {}
        """Nodes with a second comparable screening, or with a comparable score for a claim."""
        self.of_repeats: dict[str, Any] = {}
        """Values computed from all repeated nodes; emptied when one of them gets a score, or a node turns suspect."""
        self.refused_in_a_row = 0
        self.lock = threading.RLock()
        self._means = Column(np.float64, np.nan)
        self._runs = Column(np.int64, 0)
        self._visits = Column(np.int64, 0)
        self._places = Column(np.int64, -1)
        self._failures = Column(np.int64, 0)
        self._suspects = Column(np.bool_, False)
        self._contaminated = Column(np.bool_, False)
        self._banned = Column(np.bool_, False)
        self.steering = Steering()
        """What the user asked for while the search ran; set by ``steer``."""
        self._origins: dict[str, str] = {}
        """Tainted node -> the cheating node that it is, or descends from."""
        self._columns = (
            self._means, self._runs, self._visits, self._places, self._failures, self._suspects, self._contaminated,
            self._banned,
        )  # fmt: skip
        self._keys: set[tuple[str, int, Purpose]] = set()
        self._ranks: Floats | None = None
        self._order: Ints = np.empty(0, dtype=np.int64)

    # ------------------------------------------------------------ read by policies

    @property
    def root(self) -> str:
        return self.nodes[0].node_id

    @property
    def means(self) -> Floats:
        return self._means.view

    @property
    def runs(self) -> Ints:
        return self._runs.view

    @property
    def visits(self) -> Ints:
        return self._visits.view

    @property
    def places(self) -> Ints:
        return self._places.view

    @property
    def suspects(self) -> NDArray[np.bool_]:
        return self._suspects.view

    def __len__(self) -> int:
        return len(self.nodes)

    def __getitem__(self, node_id: str) -> Node:
        return self.nodes[self.index[node_id]]

    def eligible(self) -> NDArray[np.bool_]:
        """[N] True where a node has a mean and is neither suspect nor banned, so that it can be a parent."""
        eligible: NDArray[np.bool_] = ~(np.isnan(self.means) | self.suspects | self._banned.view)
        return eligible

    def failed(self) -> NDArray[np.bool_]:
        """[N] True where a node failed and has no mean: input of a ``debug`` operator.

        Nodes that were found cheating or are banned, and their descendants, are left out.
        """
        left_out = self._contaminated.view | self._banned.view
        failed: NDArray[np.bool_] = (self._failures.view > 0) & np.isnan(self.means) & ~left_out
        return failed

    def banned(self, node_id: str) -> bool:
        """Return whether the user banned the node or an ancestor of it."""
        return bool(self._banned.view[self.index[node_id]])

    def pinned(self) -> NDArray[np.bool_] | None:
        """[N] True for the nodes that the user pinned and their descendants; None while nothing is pinned.

        A policy should propose from these while an operator applies to one of them.
        """
        return self._branches_of(self.steering.pinned) if self.steering.pinned else None

    def suspect(self, node_id: str) -> bool:
        """Return whether the node is suspect. The root is the task's own program and cannot be."""
        return bool(self.suspects[self.index[node_id]])

    def barred(self, node_id: str) -> bool:
        """Return whether the node cannot be a parent of any kind: banned, or suspect and not to be debugged."""
        return self.banned(node_id) or (self.suspect(node_id) and not self.failed()[self.index[node_id]])

    def suspicion(self, node_id: str) -> Suspicion | None:
        """Return why a node is suspect, or None: it cheats, else it descends from a cheat, else a run was invalid."""
        if not self.suspect(node_id):
            return None
        for member in (node_id, self._origins.get(node_id, node_id)):
            for e in self.failures(member):
                if isinstance(e, Failed) and e.violation:
                    return Suspicion(member, member != node_id, e)
        invalid = (e for e in self.failures(node_id) if isinstance(e, Failed) and e.outcome in _DISQUALIFIES)
        return Suspicion(node_id, False, next(invalid))

    def ranks(self) -> Floats:
        """[N] rank of each mean in [0, 1], the best 1; ties share their average; NaN where there is none.

        Suspects have NaN, and are not counted. A single node has rank 1. Cached until the next screening.
        """
        with self.lock:
            if self._ranks is None or len(self._ranks) != len(self.nodes):
                self._ranks = self._rank()
            return self._ranks

    def _rank(self) -> Floats:
        """Compute ranks from the last order: a stable sort of a nearly sorted array is linear."""
        fresh = self.eligible()
        known = self._order[fresh[self._order]]  # a mean never goes, unless its node becomes suspect
        fresh[known] = False
        order = np.concatenate([known, np.flatnonzero(fresh)])
        keys = -self.means[order] if self.direction == "minimise" else self.means[order]
        sorting = np.argsort(keys, kind="stable")
        self._order, keys = order[sorting], keys[sorting]
        ranks = np.full(len(self.nodes), np.nan)
        if count := len(keys):
            starts = np.flatnonzero(np.concatenate([[True], keys[1:] != keys[:-1]]))
            sizes = np.diff(np.append(starts, count))
            places = np.repeat(starts + (sizes - 1) / 2, sizes)
            ranks[self._order] = places / (count - 1) if count > 1 else 1.0
        return ranks

    def leader(self) -> str | None:
        """Return the non-suspect node with the best mean, the earliest of equals; None before the first score."""
        valid = self.eligible()
        if not valid.any():
            return None
        means = np.where(valid, self.means, np.inf if self.direction == "minimise" else -np.inf)
        best = int(np.argmin(means) if self.direction == "minimise" else np.argmax(means))
        return self.nodes[best].node_id

    def mean(self, node_id: str) -> float:
        """Return the node's mean screening score; NaN without one."""
        return float(self.means[self.index[node_id]])

    def scored(self, node_id: str) -> bool:
        """Return whether the node has a mean."""
        return not math.isnan(self.mean(node_id))

    def better(self, a: float, b: float) -> bool:
        """Return whether score ``a`` is better than score ``b``."""
        return a < b if self.direction == "minimise" else a > b

    def comparable(self, node_id: str, purpose: Purpose = "screen") -> Iterator[Evaluation]:
        """Yield the node's evaluations for a purpose under the present conditions, with ``lost`` ones, in order."""
        for e in self.evaluations[node_id]:
            if e.request.purpose == purpose and e.conditions == self.conditions:
                yield e

    def scores(self, node_id: str, purpose: Purpose = "screen") -> tuple[float, ...]:
        """Return the node's comparable scores for one purpose, in order of arrival."""
        return tuple(e.score for e in self.comparable(node_id, purpose) if isinstance(e, Scored))

    def failures(self, node_id: str) -> tuple[Evaluation, ...]:
        """Return the node's evaluations without a score, ``lost`` ones left out."""
        return tuple(e for e in self.evaluations[node_id] if e.outcome not in ("scored", "lost"))

    def waiting(self, node_id: str, purpose: Purpose = "screen") -> int:
        """Count the chosen and unfinished evaluations of a node."""
        return self._waiting.get((node_id, purpose), 0)

    @property
    def _waiting(self) -> Counter[tuple[str, Purpose]]:
        counts: Counter[tuple[str, Purpose]] = Counter()
        for record in self.open_moves.values():
            if isinstance(record.move, Replicate):
                counts[record.move.node_id, record.move.purpose] += 1
        return counts

    @property
    def evaluated(self) -> int:
        """The number of evaluations that count against a budget: all but ``lost`` ones."""
        return len(self._keys)

    # ------------------------------------------------------------ ancestry

    def children(self, node_id: str) -> tuple[str, ...]:
        return tuple(self.graph.successors(node_id))

    def ancestors(self, node_id: str) -> set[str]:
        """Return all ancestors, without the node itself."""
        return set(_networkx().ancestors(self.graph, node_id))

    def descendants(self, node_id: str) -> set[str]:
        """Return all descendants, without the node itself."""
        return set(_networkx().descendants(self.graph, node_id))

    def lineage(self, node_id: str) -> tuple[str, ...]:
        """Return the node and all of its ancestors, parents before children (by order of arrival)."""
        members = self.ancestors(node_id) | {node_id}
        return tuple(sorted(members, key=self.index.__getitem__))

    def common_ancestor(self, a: str, b: str) -> str:
        """Return the common ancestor that arrived last (a node counts as its own).

        networkx.lowest_common_ancestor took 1.6 s on a tree of 100,000 nodes, this 0.1 ms.
        """
        shared = (self.ancestors(a) | {a}) & (self.ancestors(b) | {b})
        return max(shared, key=self.index.__getitem__)

    # ------------------------------------------------------------ written by the search loop

    def choose(self, record: MoveRecord) -> None:
        """Add a chosen move as pending, and count it as a visit of its parents at once."""
        with self.lock:
            self.moves[record.number] = record
            self.open_moves[record.number] = record
            if isinstance(record.move, Propose):
                self._visit(record.move.parents)

    def refuse(self, refusal: Refusal) -> None:
        """Remove a pending move that gave no candidate. Its parents were visited when it was chosen."""
        with self.lock:
            self.open_moves.pop(refusal.move, None)
            if refusal.operator != WITHDRAWN:
                self.refused_in_a_row += 1

    def add(self, node: Node) -> None:
        """Add a node that is not evaluated yet."""
        if node.node_id in self.index:
            raise ValueError(f"node {node.node_id} is in the tree already")
        with self.lock:
            self.index[node.node_id] = len(self.nodes)
            self.nodes.append(node)
            self.evaluations[node.node_id] = []
            self.graph.add_node(node.node_id)
            for parent in node.parents:
                self.graph.add_edge(parent, node.node_id)
            for column in self._columns:
                column.append()
            if node.parents:
                self._places.view[-1] = self.index[node.parents[0]]
                self.refused_in_a_row = 0
            for origin in filter(None, map(self._origins.get, node.parents)):
                self._contaminate(node.node_id, origin)
            self._banned.view[-1] = any(map(self.banned, node.parents))
            self._ranks = None

    def steer(self, steering: Steering) -> None:
        """Follow what the user asks for from now on."""
        with self.lock:
            self.steering = steering
            self._banned.view[:] = self._branches_of(steering.banned)
            self._ranks = None

    def _branches_of(self, node_ids: Iterable[str]) -> NDArray[np.bool_]:
        """[N] True for these nodes and their descendants."""
        members = np.zeros(len(self.nodes), dtype=np.bool_)
        for node_id in node_ids:
            members[[self.index[each] for each in (node_id, *self.descendants(node_id))]] = True
        return members

    def record(self, evaluation: Evaluation) -> tuple[str, ...]:
        """Add a finished evaluation. Return the nodes that become suspect by it.

        Raises ValueError for a second one with the same node, seed and purpose.
        """
        with self.lock:
            self._record(evaluation)
            suspects = self._quarantine(evaluation)
            if suspects:
                self.of_repeats.clear()
            return suspects

    def _record(self, evaluation: Evaluation) -> None:
        request = evaluation.request
        key = (request.node_id, request.seed, request.purpose)
        if evaluation.outcome != "lost":
            if key in self._keys:
                raise ValueError(
                    f"node {request.node_id} was evaluated with seed {request.seed} for {request.purpose} already"
                )
            self._keys.add(key)
            self.open_moves.pop(request.move, None)
            if evaluation.outcome != "scored":
                self._failures.view[self.index[request.node_id]] += 1
        self.evaluations[request.node_id].append(evaluation)
        if not isinstance(evaluation, Scored) or evaluation.conditions != self.conditions:
            return
        if request.purpose != "screen" or self._runs.view[self.index[request.node_id]]:
            self.repeated[request.node_id] = None
            self.of_repeats.clear()
        if request.purpose == "screen":
            i = self.index[request.node_id]
            runs, means = self._runs.view, self._means.view
            means[i] = evaluation.score if runs[i] == 0 else means[i] + (evaluation.score - means[i]) / (runs[i] + 1)
            runs[i] += 1
            self._ranks = None

    def _quarantine(self, evaluation: Evaluation) -> tuple[str, ...]:
        """Mark the node as suspect after a failure that makes it so, with its descendants if it cheats."""
        node_id = evaluation.request.node_id
        if not isinstance(evaluation, Failed) or node_id == self.root:
            return ()
        if evaluation.violation:
            return self._contaminate(node_id, node_id)
        if evaluation.outcome not in _DISQUALIFIES or self.suspect(node_id):
            return ()
        self._suspects.view[self.index[node_id]] = True
        self._ranks = None
        return (node_id,)

    def _contaminate(self, node_id: str, origin: str) -> tuple[str, ...]:
        """Mark a node and its descendants as suspect because of ``origin``. Each node is marked once in all."""
        marked, front = [], [node_id]
        while front:
            if (member := front.pop()) in self._origins:
                continue
            place = self.index[member]
            self._origins[member] = origin
            if not self._suspects.view[place]:
                marked.append(member)
            self._suspects.view[place] = self._contaminated.view[place] = True
            front.extend(self.graph.successors(member))
        self._ranks = None
        return tuple(marked)

    def _visit(self, parents: Sequence[str]) -> None:
        for parent in parents:
            self._visits.view[self.index[parent]] += 1


def _networkx() -> Any:
    """Import networkx, which takes a tenth of a second: ahead, where something starts that is waited for anyhow."""
    import networkx

    return networkx
