"""What an evaluation costs beside the training, and what the gates that end hopeless ones early are worth.

    python tests/benchmarks/evaluator.py [--quick] [--seconds 10] [--candidates 20] [--gpu] [--only phases|gates]

Whole searches, in this process, on the default task with the real sandboxes, the real loop and an archive on disk.

    phases_1, phases_2  mean seconds of each phase of an evaluation of the seed program, 1 slot and 2 slots: launch (all
                        sandboxes), startup, rehearse, train, check, score, audit; `rest` is what the evaluator does
                        beside them, `record` the archive's commit, `propose` the next move and its candidate, `gap` the
                        time from an evaluation's end to the next one's start in the same slot
    overhead_1, ...     seconds beside the training in all, gap included; share_1, ...: the share that is training
    share_300s          what that share would be with 300 s of training and the overhead of one slot here: an estimate
                        on paper, not a measurement
    gates               experiments an hour, best score, and seconds per broken and per sound candidate, on one stream
                        of candidates of which 30% are broken, each with the same seed in every pass: `without` the
                        rehearsal and the stops on NaN and divergence, and `with` them (the default); `lost_sound`:
                        sound candidates that did not get a score; `paired`: mean score difference of the sound ones
                        against `without`, and its standard error

The broken ones, in turn: a shape that does not fit in the first step; predict with another vocabulary; too many
parameters; a loss that becomes NaN at a third of the budget; the model returned in place of its state; logits of the
wrong shape; a loss that explodes. `--gpu` measures the same on the CUDA preset of the task, with peak device memory.
The last line is one JSON object.
"""

from __future__ import annotations

import argparse
import json
import math
import random
import statistics
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any
from unittest.mock import patch

from archive.records import Candidate, Evaluation, Propose, Scored
from archive.storage.store import Archive
from archive.tree import Tree
from operators.base import Context, NoCandidate
from operators.languages.parameters import set_parameters
from prepare.config import SettingsError
from prepare.load import task_from
from search import factory
from search.config import Budget
from search.policies.base import OperatorView
from search.run.controller import RunController
from search.run.engine import Engine, SearchStopped
from search.run.loop import SlotLoop
from search.run.resume import open_run
from search.settings import config_for
from train.executors.base import evaluator_from
from train.hardware.slots import make_slots, visible_gpus
from train.language_model.training import Training
from train.sandbox.base import find_sandbox

PASSES: Mapping[str, Sequence[str]] = {
    "without": ("task.limits.rehearsal_seconds=0",),
    "with": (),
}
BROKEN_SHARE = 0.3
ROOT_RUNS = 3


# ---------------------------------------------------------------- the stream of candidates


def _changed(source: str, old: str, new: str) -> str:
    if source.count(old) != 1:
        raise RuntimeError(f"the seed program has {source.count(old)} times {old!r}; the stream was written for one")
    return source.replace(old, new)


def _bad_shape(source: str) -> str:
    return _changed(source, "self.positions.weight[:length]", "self.positions.weight[: length - 1]")


def _bad_predict(source: str) -> str:
    return _changed(source, "model = GPT(task.vocab)\n", "model = GPT(task.vocab + 1)\n")


def _too_large(source: str) -> str:
    return set_parameters(source, {"WIDTH": 512, "DEPTH": 4})


def _becomes_nan(source: str) -> str:
    loss = "        for group in optimiser.param_groups:\n"
    return _changed(source, loss, f"        loss = loss * (math.nan if session.progress() > 0.33 else 1.0)\n{loss}")


def _returns_model(source: str) -> str:
    return _changed(source, "    return model.state_dict()\n", "    return model\n")


def _last_position_only(source: str) -> str:
    body = "    model = model.to(task.device).eval()\n    return lambda tokens: model(tokens)[:, -1]\n"
    return _changed(source, "    return model.to(task.device).eval()\n", body)


def _explodes(source: str) -> str:
    """Not NaN, not at once, and not to be learned from: the rate doubles again and again."""
    return _changed(
        source, 'group["lr"] = rate(session.progress())', 'group["lr"] = 0.003 * 2 ** (40 * session.progress())'
    )


BREAKAGES = (_bad_shape, _bad_predict, _too_large, _becomes_nan, _returns_model, _last_position_only, _explodes)


@dataclass(frozen=True)
class Entry:
    """One candidate of the stream; ``broken`` names its defect, or is empty."""

    source: str
    broken: str


def stream(source: str, count: int) -> list[Entry]:
    """Variants of the seed program; the same ones each time. Every breakage comes once before one comes twice."""
    rng = random.Random(7)
    broken_at = set(rng.sample(range(count), round(BROKEN_SHARE * count)))
    entries: list[Entry] = []
    for place in range(count):
        constants = {
            "LEARNING_RATE": round(10 ** rng.uniform(-3.2, -1.8), 6),
            "WIDTH": rng.choice([64, 96, 128]),
            "DEPTH": rng.choice([1, 2, 3, 4]),
            "BATCH": rng.choice([8, 12, 16, 24]),
            "WARMUP": round(rng.uniform(0.02, 0.2), 4),
        }
        variant = set_parameters(source, constants)
        broken = (
            BREAKAGES[sum(bool(entry.broken) for entry in entries) % len(BREAKAGES)] if place in broken_at else None
        )
        entries.append(Entry(variant if broken is None else broken(variant), "" if broken is None else broken.__name__))
    return entries


class Streamed:
    """An operator that gives the candidates of a list, one after the other, whatever the parent."""

    name = "streamed"
    arity = 1
    needs_llm = False

    def __init__(self, entries: Sequence[Entry]) -> None:
        self._rest: Iterator[Entry] = iter(entries)

    def applies(self, tree: Tree, node_id: str) -> bool:
        return tree.scored(node_id)

    def propose(self, move: Propose, context: Context) -> Candidate | NoCandidate:
        entry = next(self._rest, None)
        if entry is None:
            return NoCandidate("the stream has ended")
        return Candidate({"train.py": entry.source}, move.parents, self.name, entry.broken or "sound")


# ---------------------------------------------------------------- one search


class _Silent:
    """A display that keeps what landed."""

    def __init__(self) -> None:
        self.landings: list[Evaluation] = []

    def landed(self, search: Engine, evaluation: Evaluation, total: int | None) -> None:
        self.landings.append(evaluation)

    def show(self, message: str) -> None:
        """Nobody listens."""

    def tick(self, search: Engine, running: Any, total: int | None) -> None:
        """Nobody looks."""


class _Timed(Engine):
    """A search that knows what its own work took."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.recording: list[float] = []
        self.proposing: list[float] = []

    def tell(self, evaluation: Evaluation) -> None:
        with _timed(self.recording):
            super().tell(evaluation)

    def fill(self, free: int, lookahead: int) -> None:
        before = len(self.tree.moves)
        spent: list[float] = []
        with _timed(spent):
            super().fill(free, lookahead)
        if len(self.tree.moves) > before:  # a look that finds nothing to do is none
            self.proposing += [spent[0] / (len(self.tree.moves) - before)]


@contextmanager
def _timed(into: list[float]) -> Iterator[None]:
    began = time.monotonic()
    yield
    into.append(time.monotonic() - began)


@dataclass(frozen=True)
class Trace:
    """What a search left behind: its evaluations as they landed, ideas by node, and what the driver took."""

    evaluations: Sequence[Evaluation]
    ideas: Mapping[str, str]
    slots: int
    recording: float
    proposing: float

    @property
    def gap(self) -> float:
        """Mean seconds from an end to the next start in the same slot: the earliest end that no start has used yet."""
        ends: list[float] = []
        gaps: list[float] = []
        for evaluation in sorted(self.evaluations, key=lambda e: e.started_at):
            freed = [end for end in ends if end <= evaluation.started_at]
            if len(ends) >= self.slots and freed:
                gaps.append(evaluation.started_at - min(freed))
                ends.remove(min(freed))
            ends.append(evaluation.finished_at)
        return statistics.mean(gaps) if gaps else 0.0


def run(words: Sequence[str], trainings: int, slots: int | None, device: str, entries: Sequence[Entry] = ()) -> Trace:
    """A search of ``trainings`` evaluations without a claim: of the stream's candidates, or of the root alone."""
    root_runs = ROOT_RUNS if entries else trainings
    fixed = (
        "llm=none",
        "operators=tune",
        f"budget.evaluations={trainings}",
        f"policy.opening.root_runs={root_runs}",
        "policy.recheck.runs=1",
    )
    config = config_for([*fixed, *words], device)
    task = task_from(config.task)
    task.corpus.prepare()
    evaluator = evaluator_from(config.evaluator, task, find_sandbox(config.sandbox))
    display = _Silent()
    with (
        tempfile.TemporaryDirectory(prefix="evaluator-bench-") as folder,
        Archive.open(Path(folder) / "archive.duckdb") as archive,
        factory.build_executor(config, evaluator, make_slots(slots, None)) as executor,
    ):
        opened = open_run(archive, config, task, executor.conditions, time.time())
        parts = factory.build_search(config, task, evaluator, factory.Llm(None, ""))
        if entries:
            operator = Streamed(entries)
            view = OperatorView(operator.name, 1, 1.0, operator.applies)
            parts = replace(parts, operators={operator.name: operator}, views={operator.name: view})
        search = _Timed(parts, archive, opened.run, opened.tree)
        search.start(factory.seed_files(task))
        # No claim: what is measured here is the search.
        controller = RunController(search, Budget(evaluations=trainings), None, slots=len(executor.slots))
        SlotLoop(controller, executor, display, threading.Event()).run()
        ideas = {node.node_id: node.candidate.idea for node in search.tree.nodes}
        search.close()
        return Trace(
            tuple(display.landings),
            ideas,
            len(executor.slots),
            statistics.mean(search.recording),
            statistics.mean(search.proposing or [0.0]),
        )


# ---------------------------------------------------------------- phases


@dataclass
class Phases:
    """Mean seconds of an evaluation, by phase."""

    seconds: dict[str, float] = field(default_factory=dict)
    peak_device_mb: float | None = None

    @classmethod
    def of(cls, trace: Trace) -> Phases:
        scored = [e for e in trace.evaluations if isinstance(e, Scored)]
        if not scored:
            raise RuntimeError(f"the seed program was never scored: {trace.evaluations[-1]}")
        names = dict.fromkeys(name for e in scored for name in e.resources.phases)
        seconds = {name: statistics.mean(e.resources.phases.get(name, 0.0) for e in scored) for name in names}
        occupied = statistics.mean(e.finished_at - e.started_at for e in scored)
        seconds["rest"] = occupied - sum(seconds.values())
        seconds |= {"record": trace.recording, "propose": trace.proposing, "gap": trace.gap}
        peaks = [e.resources.peak_device_mb for e in scored if e.resources.peak_device_mb is not None]
        return cls(seconds, max(peaks) if peaks else None)

    @property
    def overhead(self) -> float:
        """Seconds in which the slot did not train. Recording and proposing are part of the gap, as far as it waits."""
        return sum(s for name, s in self.seconds.items() if name not in ("train", "record", "propose"))

    def share(self, train: float | None = None) -> float:
        """The share of a slot's time that is training, with ``train`` seconds of it or with those measured."""
        training = self.seconds["train"] if train is None else train
        return training / (training + self.overhead)


def phases(words: Sequence[str], evaluations: int, slots: Sequence[int], device: str) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for count in slots:
        measured = Phases.of(run(words, count * evaluations + 1, count, device))
        told = "  ".join(f"{name} {seconds:.2f}" for name, seconds in measured.seconds.items())
        print(f"  {count} slot{'s' if count > 1 else ' '}: {told}", flush=True)
        print(f"           beside training {measured.overhead:.2f} s; training {measured.share():.1%}", flush=True)
        found[f"phases_{count}"] = {name: round(seconds, 3) for name, seconds in measured.seconds.items()}
        found[f"overhead_{count}"] = round(measured.overhead, 3)
        found[f"share_{count}"] = round(measured.share(), 4)
        if measured.peak_device_mb is not None:
            found[f"peak_device_mb_{count}"] = round(measured.peak_device_mb, 1)
        if count == 1:
            found["share_300s"] = round(measured.share(300.0), 4)
            print(f"           with 300 s of training it would be {measured.share(300.0):.1%} (on paper)", flush=True)
    return found


# ---------------------------------------------------------------- gates


def gates(words: Sequence[str], candidates: int, slots: int | None, device: str) -> dict[str, Any]:
    """The same stream with and without what ends hopeless trainings early."""
    config = config_for(["llm=none", *words], device)
    entries = stream(factory.seed_files(task_from(config.task))["train.py"], candidates)
    found: dict[str, Any] = {"candidates": candidates, "broken": sum(bool(entry.broken) for entry in entries)}
    reference: dict[str, float] = {}
    for name, changes in PASSES.items():
        with _reports_unread() if name == "without" else nullcontext():
            trace = run([*words, *changes], ROOT_RUNS + candidates, slots, device, entries)
        figures, scores = _judged(trace, entries)
        if name == "without":
            reference = scores
        elif common := sorted(scores.keys() & reference.keys()):
            differences = [scores[key] - reference[key] for key in common]
            error = statistics.stdev(differences) / math.sqrt(len(differences)) if len(differences) > 1 else math.nan
            figures["paired"] = [round(statistics.mean(differences), 4), round(error, 4)]
        print(f"  {name:<8} {json.dumps(figures)}", flush=True)
        found[name] = figures
    return found


@contextmanager
def _reports_unread() -> Iterator[None]:
    """No training is stopped for what it reports, NaN included: that stop has no setting, since nobody wants it off."""
    with patch.object(Training, "_reported", lambda self, message: None):
        yield


def _judged(trace: Trace, entries: Sequence[Entry]) -> tuple[dict[str, Any], dict[str, float]]:
    """Figures of one pass, and the score of each sound candidate by its place in the stream."""
    streamed = [e for e in trace.evaluations if trace.ideas[e.request.node_id] != "the seed program"]
    places = {entry.source: place for place, entry in enumerate(entries)}
    wall = max(e.finished_at for e in streamed) - min(e.started_at for e in streamed)
    occupied: dict[bool, list[float]] = {True: [], False: []}
    scores: dict[str, float] = {}
    lost: list[str] = []
    outcomes: dict[str, str] = {}
    for e in streamed:
        place = places[e.request.files["train.py"]]
        broken = entries[place].broken
        occupied[bool(broken)].append(e.finished_at - e.started_at)
        if broken:
            outcomes[broken.removeprefix("_")] = e.outcome
        elif isinstance(e, Scored):
            scores[str(place)] = e.score
        else:
            lost.append(f"{place}: {e.outcome} ({e.reason[:120]})")
    return {
        "per_hour": round(3600 * len(streamed) / wall, 1),
        "best": round(min(scores.values()), 4) if scores else None,
        "seconds_broken": round(statistics.mean(occupied[True]), 2) if occupied[True] else None,
        "seconds_sound": round(statistics.mean(occupied[False]), 2) if occupied[False] else None,
        "outcomes": outcomes,
        "lost_sound": lost,
    }, scores


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="two seconds of training, few and small: under a minute")
    parser.add_argument("--seconds", type=float, help="training seconds (10; on a GPU those of the task's preset)")
    parser.add_argument("--evaluations", type=int, default=5, help="trainings for each slot (%(default)s)")
    parser.add_argument("--candidates", type=int, default=20, help="of the stream (%(default)s)")
    parser.add_argument("--only", choices=("phases", "gates"), help="one of the two parts")
    parser.add_argument("--gpu", action="store_true", help="on this machine's GPUs; the published figures are a CPU's")
    options = parser.parse_args()
    if options.gpu and not visible_gpus():
        parser.error("--gpu: torch sees no CUDA device here")
    device = "cuda" if options.gpu else "cpu"
    words = [] if options.seconds is None else [f"task.seconds={options.seconds}"]
    evaluations, candidates, slots = options.evaluations, options.candidates, (1, 2)
    if options.quick:
        evaluations, candidates, slots = 2, 4, (1,)
        words = ["task.seconds=2", "task.rows=64", "task.audit_screen=16", "task.audit_claim=16"]
    if options.gpu:
        slots = tuple(sorted({1, len(make_slots(None, None))}))
        print("On a GPU: the figures in README.md of the benchmarks are a CPU's, and cannot be compared.", flush=True)
    found: dict[str, Any] = {"device": device, "quick": options.quick}
    try:
        if options.only != "gates":
            found |= phases(words, evaluations, slots, device)
        if options.only != "phases":
            found["gates"] = gates(words, candidates, None if options.gpu else 2, device)
    except (SettingsError, SearchStopped) as error:
        parser.exit(1, f"{parser.prog}: {error}\n")
    print(json.dumps(found))


if __name__ == "__main__":
    main()
