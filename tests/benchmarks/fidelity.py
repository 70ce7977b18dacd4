"""Does it pay to evaluate candidates at a fraction of the budget first? Searches on tables, at equal device time.

    python tests/benchmarks/fidelity.py --quick                one small table, made at once; under a minute
    python tests/benchmarks/fidelity.py --slots 1 --overhead 0 all arms on all tables (made first: 4 minutes of a core)

full        every candidate is evaluated once with the full budget
median M    the same, and stopped where its training loss is more than M behind the baseline's, after 30% of the budget
rungs E:S   asynchronous successive halving (Li et al. 2020): a candidate is evaluated with the share S of the budget
            first, its whole schedule in small; the best 1/E of a rung are evaluated anew at the next one. Only scores
            of the full budget enter the tree
``, seen``  the numeric proposer places a candidate that was not promoted among those that were, by its rung's scores

The tables are those of ``budget_tables.py``. The real engine, policy (``ucb``), operators and claim play, as in
``policies.py``. A unit of device time is one full training; an evaluation costs ``--overhead`` beside it, whatever its
share (launch and rehearsal before the training, scoring and audit after it: 0.76 measured for the 10 s of the default
task). One candidate in five crashes, which costs a tenth and what comes before the training. The figures are log10 of
the true percentile, lower is better, less that of ``full`` with the same table and seed: means, with 95% intervals.
``candidates`` is how many there were. ``--operators mutation``: the operator of the published comparison, which learns
nothing from scores, as a stand-in for edits by a language model that costs nothing.
"""

from __future__ import annotations

import argparse
import heapq
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any
from unittest import mock

import budget_tables
import numpy as np
from budget_tables import CURVE, BudgetTable, Floats
from playing import Mutation, in_processes
from scipy.stats import spearmanr
from scipy.stats import t as student

from archive.records import Evaluation, Failed, Request, Scored
from archive.tree import Tree
from operators.numeric import tune
from operators.numeric.observations import observe, values_of
from operators.numeric.proposer.trials import Observation
from search.playing.game import _LOOKED_UP, CRASHES, Game, Player
from search.playing.players import shipped

BEFORE = 0.55
"""Share of the overhead that comes before the training."""
CRASH = 0.1
AT = (10, 20, 30, 60)
"""Device time at which the best node is compared; the last is the budget."""


# ---------------------------------------------------------------- rungs


@dataclass
class Rungs:
    """The rungs of one search, and which candidates may climb."""

    shares: Sequence[float]
    """Ascending; the last is 1."""
    eta: int
    results: dict[float, dict[str, float]] = field(default_factory=dict)
    """Share -> node -> score, lower is better."""
    requests: dict[str, Request] = field(default_factory=dict)
    _climbed: set[tuple[float, str]] = field(default_factory=set)

    def promote(self) -> tuple[Request, float] | None:
        """Return a candidate that is among the best 1/eta of its rung, and its next share; from the top rung down."""
        for share, above in reversed(list(zip(self.shares, self.shares[1:], strict=False))):
            rung = self.results.get(share, {})
            best = sorted(rung, key=rung.__getitem__)[: len(rung) // self.eta]
            for node_id in best:
                if (share, node_id) not in self._climbed:
                    self._climbed.add((share, node_id))
                    return self.requests[node_id], above
        return None

    def land(self, request: Request, share: float, score: float) -> None:
        self.requests[request.node_id] = request
        self.results.setdefault(share, {})[request.node_id] = score

    def placed(self, node_id: str, full: Mapping[str, float]) -> float | None:
        """Return where among full scores a candidate lies, by its highest rung; None if too few have both."""
        for share in reversed(self.shares[:-1]):
            rung = self.results.get(share, {})
            if node_id in rung:
                both = [other for other in rung if other in full]
                if len(both) < 2:
                    return None
                theirs, scores = sorted(rung[one] for one in both), sorted(full[one] for one in both)
                worse = max(0.0, rung[node_id] - theirs[-1])
                return float(np.interp(rung[node_id], theirs, scores)) + worse
        return None


@dataclass(frozen=True)
class MedianRule:
    """Stop a training whose loss is behind the baseline's at equal time: a rule that Treewright had as an option."""

    after: float = 0.3
    """Share of the budget before which nothing is stopped."""
    margin: float = 0.1
    """By how much a loss may be worse, as a share."""

    def stop(self, curve: Floats, baseline: Sequence[Floats]) -> float | None:
        """Return the share of the budget at which a training is stopped; None if it is not.

        ``curve``: [CURVE] losses, each a mean over the tenth of the budget before it. ``baseline``: those of its runs,
        of which the median one twentieth earlier is what a loss is compared with.
        """
        if not baseline:
            return None
        pace = np.median(baseline, axis=0)
        for point in range(1, CURVE - 1):
            share = (point + 1) / CURVE
            if share >= self.after and curve[point] > (1.0 + self.margin) * pace[point - 1]:
                return share
        return None


@dataclass(frozen=True)
class Arm:
    """One way to spend device time."""

    name: str
    shares: tuple[float, ...] = (1.0,)
    eta: int = 1
    median: MedianRule | None = None
    seen: bool = False


ARMS = (
    Arm("full"),
    Arm("median 0.1", median=MedianRule()),
    Arm("median 0", median=MedianRule(margin=0.0)),
    Arm("rungs 2: 1/2", (1 / 2, 1.0), 2),
    Arm("rungs 2: 1/4, 1/2", (1 / 4, 1 / 2, 1.0), 2),
    Arm("rungs 3: 1/3", (1 / 3, 1.0), 3),
    Arm("rungs 3: 1/9, 1/3", (1 / 9, 1 / 3, 1.0), 3),
    Arm("rungs 3: 1/9", (1 / 9, 1.0), 3),
    Arm("rungs 2: 1/2, seen", (1 / 2, 1.0), 2, seen=True),
    Arm("rungs 3: 1/3, seen", (1 / 3, 1.0), 3, seen=True),
    Arm("rungs 3: 1/9, 1/3, seen", (1 / 9, 1 / 3, 1.0), 3, seen=True),
    Arm("rungs 3: 1/9, seen", (1 / 9, 1.0), 3, seen=True),
)


# ---------------------------------------------------------------- a search


@dataclass
class Landing:
    """One evaluation that has landed: what it cost, and what it tells the search, if anything."""

    request: Request
    share: float
    cost: float
    told: Evaluation | None
    score: float | None


class DeviceTimeGame(Game):
    """A search that ends when its device time is spent."""

    table: BudgetTable

    def __init__(self, table: BudgetTable, player: Player, seed: int, arm: Arm, overhead: float) -> None:
        super().__init__(table, player, seed)
        self.arm, self.overhead = arm, overhead
        self.rungs = Rungs(arm.shares, arm.eta)
        self.spent = 0.0
        self.full: dict[str, float] = {}
        self.root_seeds: list[int] = []
        self.trace: list[tuple[float, float]] = []
        """(device time, best percentile so far)"""

    def spend(self, budget: float, slots: int) -> None:
        """Search until the device time is spent: no evaluation starts that would exceed it."""
        with mock.patch.object(tune, "observe", self._observe):
            running: list[tuple[float, int, Landing]] = []
            now, started = 0.0, 0
            while True:
                while len(running) < slots and (landing := self._next(budget)) is not None:
                    started += 1
                    self.spent += landing.cost
                    heapq.heappush(running, (now + landing.cost, started, landing))
                if not running:
                    return
                now, _, landing = heapq.heappop(running)
                self._land(landing)

    def _next(self, budget: float) -> Landing | None:
        """Start an evaluation: of a candidate that climbs, else of what the policy wants."""
        if self.spent + 1.0 + self.overhead > budget:
            return None
        if (climbing := self.rungs.promote()) is not None:
            return self._landing(*climbing)
        self._search.fill(1, 0)
        request = self._search.ask("screen")
        if request is None:
            return None
        first = request.node_id != self.tree.root and not self.tree.scores(request.node_id)
        return self._landing(request, self.arm.shares[0] if first else 1.0)

    def _landing(self, request: Request, share: float) -> Landing:
        seed = request.seed + round(1 / share)  # another training, with another seed
        before = BEFORE * self.overhead
        chance = np.random.default_rng([self.seed, 2, int(request.node_id[:12], 16)]).random()
        if request.node_id != self.tree.root and chance < CRASHES:
            failed = Failed(request=request, **_LOOKED_UP, outcome="crashed", reason="one in five")
            return Landing(request, share, CRASH + before, failed, None)
        setting = self._setting(request.files)
        if share < 1.0:
            return Landing(request, share, share + self.overhead, None, self.table.draw_at(setting, seed, share))
        if (stop := self._stopped(request, seed)) is not None:
            failed = Failed(request=request, **_LOOKED_UP, outcome="stopped", reason="behind the baseline")
            return Landing(request, share, stop + before, failed, None)
        score = self.table.draw(setting, seed)
        if request.node_id == self.tree.root:
            self.root_seeds.append(seed)
        told = Scored(request=request, **_LOOKED_UP, score=score)
        return Landing(request, share, 1.0 + self.overhead, told, score)

    def _stopped(self, request: Request, seed: int) -> float | None:
        """Return the share of the budget at which the median rule stops a first screening."""
        rule = self.arm.median
        if rule is None or request.node_id == self.tree.root or self.tree.scores(request.node_id):
            return None
        root, place = self.tree.root, self._setting(request.files)
        roots = [self.table.curve(self._setting(self.tree[root].candidate.files), seed) for seed in self.root_seeds]
        return rule.stop(self.table.curve(place, seed), roots)

    def _land(self, landing: Landing) -> None:
        if landing.told is None:
            assert landing.score is not None
            self.rungs.land(landing.request, landing.share, landing.score)
        else:
            if landing.score is not None:
                self.full.setdefault(landing.request.node_id, landing.score)
            self._tell(landing.told)
        self.trace.append((self.spent, self.best[-1] if self.best else 0.0))

    def _observe(self, tree: Tree, *args: Any, **kwargs: Any) -> list[Observation]:
        """What the numeric proposer is told: with ``seen``, waiting candidates have a place among the scored ones."""
        found = observe(tree, *args, **kwargs)
        if not self.arm.seen or not found:
            return found
        waiting = {}
        for node in tree.nodes:
            if not tree.scored(node.node_id) and not tree.failures(node.node_id):
                place = self.rungs.placed(node.node_id, self.full)
                if place is not None:
                    waiting[tuple(sorted(values_of(node.candidate.files).items()))] = place
        kept = [one for one in found if tuple(sorted(one.values.items())) not in waiting]
        return kept + [Observation(dict(values), place, 1, same_code=True) for values, place in waiting.items()]


@dataclass(frozen=True)
class Job:
    arm: Arm
    table: str
    seed: int
    slots: int
    overhead: float
    folder: Path
    quick: bool
    operators: str = "numeric"


@dataclass(frozen=True)
class Found:
    """The best node at each of ``AT``, what is handed over, and how many candidates were looked at."""

    best: tuple[float, ...]
    picked: float
    candidates: int
    scored: int


def player_with(operators: str) -> Player:
    """Return the default policy with the numeric operators that ship, or with ``mutation`` alone."""
    player = shipped("ucb")
    if operators == "numeric":
        return player
    return replace(player, operators=lambda table: {"mutation": Mutation(table, copies=False)}, weights={})


def run(job: Job) -> tuple[Job, Found]:
    """Play one search. The claim's confirmation is paid from the same device time."""
    table = budget_tables.load(job.folder, job.table, job.quick)
    player = player_with(job.operators)
    assert player.plan is not None
    game = DeviceTimeGame(table, player, job.seed, job.arm, job.overhead)
    units = 1.0 + job.overhead
    confirms = player.plan.candidates * player.plan.confirm_seeds
    game.spend((AT[-1] - confirms) * units, job.slots)
    picked = game.fork().nominee(player.plan)
    game.spend(AT[-1] * units, job.slots)
    best = tuple(min((b for t, b in game.trace if t <= at * units), default=0.0) for at in AT)
    return job, Found(best, picked, len(game.tree), int(np.sum(game.tree.runs > 0)))


# ---------------------------------------------------------------- what came of it


def interval(values: Sequence[float]) -> tuple[float, float]:
    """Mean, and the half width of its 95% interval."""
    array = np.asarray(values)
    count = len(array)
    half = float(student.ppf(0.975, count - 1)) * float(array.std(ddof=1)) / math.sqrt(count) if count > 1 else math.nan
    return float(array.mean()), half


Key = tuple[str, int, float]
"""Table, slots, overhead."""


def rows(results: Sequence[tuple[Job, Found]]) -> Iterator[tuple[Key, str, dict[str, tuple[float, float]], float]]:
    """Yield each arm's differences from ``full``, paired by table and seed."""
    by: dict[tuple[Key, str], dict[int, Found]] = {}
    for job, found in results:
        by.setdefault(((job.table, job.slots, job.overhead), job.arm.name), {})[job.seed] = found
    for (key, name), seeds in by.items():
        reference = by[key, "full"]
        figures = {
            f"best_{at}": interval([one.best[place] - reference[seed].best[place] for seed, one in seeds.items()])
            for place, at in enumerate(AT)
        }
        figures["picked"] = interval([one.picked - reference[seed].picked for seed, one in seeds.items()])
        if name == "full":
            figures = {
                **{f"best_{at}": interval([one.best[place] for one in seeds.values()]) for place, at in enumerate(AT)},
                "picked": interval([one.picked for one in seeds.values()]),
            }
        yield key, name, figures, float(np.mean([one.candidates for one in seeds.values()]))


def agreement(table: BudgetTable) -> dict[str, dict[str, float]]:
    """Return, by share, Spearman's correlation of one run's score with the full mean: over all, and the best 30%."""
    full = table.scores.mean(axis=1)
    best = full <= np.quantile(full, 0.3)
    runs = {share: scores[:, 0] for share, scores in table.by_share.items()}
    return {
        f"{share:.2g}": {
            "all": round(float(spearmanr(run, full)[0]), 2),
            "best": round(float(spearmanr(run[best], full[best])[0]), 2),
        }
        for share, run in runs.items()
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=20, help="searches on each table (%(default)s)")
    parser.add_argument("--slots", type=int, nargs="+", default=[1, 8], help="evaluations at a time (%(default)s)")
    parser.add_argument("--overhead", type=float, nargs="+", default=[0.0, 0.76], help="(%(default)s)")
    parser.add_argument("--operators", choices=("numeric", "mutation"), default="numeric", help="(%(default)s)")
    parser.add_argument("--arms", nargs="+", choices=[arm.name for arm in ARMS], help="beside full; default: all")
    parser.add_argument("--names", nargs="+", choices=list(budget_tables.CHOICES), help="tables (default: all)")
    parser.add_argument("--tables", type=Path, default=Path.home() / ".cache" / "treewright" / "budget_tables")
    parser.add_argument("--workers", type=int, default=1, help="processes (%(default)s)")
    parser.add_argument("--quick", action="store_true", help="a small table, three arms, 2 seeds: a look, not a result")
    options = parser.parse_args()
    names = ["characters"] if options.quick else options.names or list(budget_tables.CHOICES)
    line: dict[str, Any] = {"seeds": 2 if options.quick else options.seeds, "quick": options.quick}
    for name in names:
        line[f"{name}/agreement"] = agreement(budget_tables.load(options.tables, name, options.quick))
        print(name, json.dumps(line[f"{name}/agreement"]))
    arms = [arm for arm in ARMS if options.arms is None or arm.name in ("full", *options.arms)]
    seeds, slots, overheads = options.seeds, options.slots, options.overhead
    if options.quick:
        arms, seeds, slots, overheads = [ARMS[0], ARMS[1], ARMS[5]], 2, [1], [0.0]
    jobs = [
        Job(arm, table, seed, slot, overhead, options.tables, options.quick, options.operators)
        for table in names
        for slot in slots
        for overhead in overheads
        for arm in arms
        for seed in range(seeds)
    ]
    print(
        f"{'table':<12}{'slots':>6}{'overhead':>9}  {'arm':<26}{'candidates':>11}  "
        + "".join(f"{f'at {at}':>16}" for at in AT)
        + f"{'picked':>16}"
    )
    for (table, slot, overhead), name, figures, candidates in rows(list(in_processes(run, jobs, options.workers))):
        cells = "".join(f"{mean:>9.2f} ±{half:5.2f}" for mean, half in figures.values())
        print(f"{table:<12}{slot:>6}{overhead:>9.2f}  {name:<26}{candidates:>11.0f}  {cells}")
        line[f"{table}/{slot}/{overhead:g}/{name}"] = {key: round(mean, 3) for key, (mean, _) in figures.items()}
    print(json.dumps(line))


if __name__ == "__main__":
    main()
