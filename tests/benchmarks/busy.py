"""How busy the slots are kept while a language model takes its time.

    python tests/benchmarks/busy.py [--quick | --grid] [--evaluations 40] [--seconds 10] [--operators llm]

A whole `python -m search operators=llm` runs against a local server that speaks the Messages API (so with the real SDK,
loop, executor and archive), whose answers take as long as an evaluation does. From the archive's rows:

    busy_1, busy_2      share of the slots' time in which they were occupied by an evaluation, whatever its phase, from
                        the first evaluation's start to the last one's end, the claim included; 1 slot and 2 slots
    train_1, train_2    the same, training seconds alone
    steady_             the same from the first training of a proposed candidate to the last one of the search: without
                        the first answers, which can be asked for only when the root has a score, and without the end
    search_, claim_     busy shares of the two halves apart; between them running evaluations are waited for
    command_            busy share of the whole command, start-up and summary included
    stale_              evaluations that landed, on average, between the choice of a proposal and its training

Default: real sandboxes, the default task with `--seconds` of training; the latency is the duration of its
evaluations, measured first. `--quick` has a stub that sleeps for an evaluation (no training share then). `--grid`, with
the stub too: latencies of 0.5, 1, 2 and 4 evaluations; constant answers, or lognormal ones (deviation of the logarithm
0.6) of which a fifth comes to nothing; language-model operators alone, or beside tune and crossover. The last line is
one JSON object; of the grid it has the pairs (search_, steady_).
"""

from __future__ import annotations

import argparse
import contextlib
import json
import math
import random
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import duckdb

sys.path.append(str(Path(__file__).resolve().parents[1] / "support"))

from launching import search
from messages_api import MessagesApi, Quality

KEY = "sk-ant-benchmark"
REFUSED = 0.2
SPREAD = 0.6
CLAIM = ("claim.candidates=2", "claim.confirm_seeds=1", "claim.report_seeds=2")
CLAIM_TRAININGS = 6


@dataclass(frozen=True)
class Setting:
    """One search to measure. ``evaluation``: seconds that the stub sleeps; None for real sandboxes."""

    slots: int
    evaluations: int
    latency: float
    evaluation: float | None
    seconds: float = 10.0
    operators: str = "llm"
    rough: bool = False

    @property
    def words(self) -> list[str]:
        stub = [] if self.evaluation is None else [f"evaluator.delay={self.evaluation}"]
        return [
            f"operators={self.operators}",
            f"executor.slots={self.slots}",
            f"budget.evaluations={self.evaluations}",
            f"task.seconds={self.seconds}",
            "llm.max_dollars=1000",
            "llm.max_total_tokens=1000000000",
            *CLAIM,
            *stub,
        ]

    def delays(self) -> Callable[[int], float]:
        """Seconds before each answer; the mean of the lognormal ones is ``latency``, too."""
        rng = random.Random(1)
        drawn = [math.exp(rng.gauss(0, SPREAD) - SPREAD**2 / 2) if self.rough else 1.0 for _ in range(4096)]
        return lambda number: self.latency * drawn[number % len(drawn)]

    def quality(self) -> Callable[[int], Quality]:
        rng = random.Random(2)
        bad: list[Quality] = ["unusable", "refusal"]
        drawn: list[Quality] = [
            rng.choice(bad) if self.rough and rng.random() < REFUSED else "edit" for _ in range(4096)
        ]
        return lambda number: drawn[number % len(drawn)]


@dataclass(frozen=True)
class Usage:
    """Shares of the slots' time, in [0, 1]; ``train`` is None where nothing was trained."""

    busy: float
    train: float | None
    steady: float
    search: float
    claim: float
    command: float
    stale: float
    evaluation: float
    """Mean seconds of one."""


def measure(setting: Setting) -> Usage:
    """Run one search and read its archive. Raises RuntimeError if it fails."""
    with searched(setting) as (archive, took):
        return _read(archive, setting, took)


@contextlib.contextmanager
def searched(setting: Setting) -> Iterator[tuple[Path, float]]:
    """The archive of one search, and how many seconds the whole command took. Raises RuntimeError if it fails."""
    with tempfile.TemporaryDirectory(prefix="busy-bench-") as name, _api(setting) as api:
        folder, stub = Path(name), setting.evaluation is not None
        began = time.monotonic()
        done = search(folder, *setting.words, f"llm.base_url={api.url}", stub=stub, timeout=7200, ANTHROPIC_API_KEY=KEY)
        took = time.monotonic() - began
        if done.returncode != 0:
            raise RuntimeError(f"the search failed:\n{done.stdout[-2000:]}\n{done.stderr[-2000:]}")
        yield folder / "treewright.duckdb", took


def _api(setting: Setting) -> MessagesApi:
    return MessagesApi(latency=setting.delays(), quality=setting.quality())


Span = tuple[float, float, bool, float | None, bool]
"""Start and end (Unix seconds), whether it was a screening, training seconds, whether of a proposed candidate."""

_SPANS = """
    SELECT epoch(started_at) AS began, epoch(finished_at) AS ended, purpose = 'screen' AS searching,
           (phases->>'train')::DOUBLE AS train, operator <> 'seed' AS proposed
    FROM evaluations JOIN nodes USING (node_id) WHERE outcome <> 'lost' ORDER BY began
"""
_STALE = """
    SELECT avg(missed) FROM (
        SELECT (SELECT count(*) FROM evaluations e WHERE e.finished_at > m.chosen_at AND e.finished_at <= v.started_at)
               AS missed
        FROM moves m JOIN nodes n USING (run, move) JOIN evaluations v ON v.node_id = n.node_id AND v.move = m.move
        WHERE m.kind = 'propose' AND v.purpose = 'screen' AND n.operator <> 'seed')
"""


def _read(archive: Path, setting: Setting, took: float) -> Usage:
    connection = duckdb.connect(str(archive), read_only=True)
    spans = connection.execute(_SPANS).fetchall()
    (stale,) = connection.execute(_STALE).fetchone() or (None,)
    connection.close()
    if len(spans) not in (setting.evaluations - 1, setting.evaluations):  # a claim of pairs may leave one
        raise RuntimeError(f"{len(spans)} evaluations were made where {setting.evaluations} were due")
    halves = [[span for span in spans if span[2] is searching] for searching in (True, False)]
    busy, wall = sum(ended - began for began, ended, *_ in spans), spans_wall(spans)
    return Usage(
        busy=busy / (setting.slots * wall),
        train=None
        if setting.evaluation is not None
        else sum(span[3] or 0.0 for span in spans) / (setting.slots * wall),
        steady=_steady(halves[0], setting.slots),
        search=_share(halves[0], setting.slots),
        claim=_share(halves[1], setting.slots),
        command=busy / (setting.slots * took),
        stale=float(stale or 0.0),
        evaluation=busy / len(spans),
    )


def spans_wall(spans: list[Span]) -> float:
    """From the first start to the last end."""
    return max(ended for _, ended, *_ in spans) - min(began for began, *_ in spans)


def _steady(spans: list[Span], slots: int) -> float:
    begin = min((began for began, *_, proposed in spans if proposed), default=math.nan)
    return share_between(spans, slots, begin, end=max(began for began, *_ in spans))


def share_between(spans: Sequence[tuple[Any, ...]], slots: int, begin: float, end: float) -> float:
    """Of the slots' time from ``begin`` to ``end``; spans begin with their start and end."""
    inside = sum(max(0.0, min(ended, end) - max(began, begin)) for began, ended, *_ in spans)
    return inside / (slots * (end - begin)) if end > begin else math.nan


def _share(spans: list[Span], slots: int) -> float:
    return sum(ended - began for began, ended, *_ in spans) / (slots * spans_wall(spans)) if spans else math.nan


def line(setting: Setting, usage: Usage) -> str:
    kind = f"{setting.operators:<4} {'rough' if setting.rough else 'even '}"
    train = "" if usage.train is None else f", training {usage.train:.1%}"
    return (
        f"  {setting.slots} slot{'s' if setting.slots > 1 else ' '} {kind} latency {setting.latency:5.2f} s, "
        f"evaluation {usage.evaluation:5.2f} s: busy {usage.busy:.1%}{train} "
        f"(steady {usage.steady:.1%}, search {usage.search:.1%}, claim {usage.claim:.1%}, "
        f"command {usage.command:.1%}), stale by {usage.stale:.1f}"
    )


def evaluation_seconds(seconds: float, slots: int) -> float:
    """How long a real evaluation takes here, with all slots at work."""
    setting = Setting(slots, 3, 0.0, None, seconds)
    usage = measure(setting)
    return usage.evaluation


def figures(settings: dict[int, Setting]) -> dict[str, float | None]:
    """The keys of one series, by number of slots."""
    found: dict[str, float | None] = {}
    for slots, setting in settings.items():
        usage = measure(setting)
        print(line(setting, usage), flush=True)
        for name in ("busy", "train", "steady", "search", "claim", "command", "stale"):
            value = getattr(usage, name)
            found[f"{name}_{slots}"] = None if value is None else round(value, 4)
    return found


def grid(evaluation: float, evaluations: int) -> dict[str, tuple[float, float]]:
    """Busy shares of the search by latency, kind of answers, operators and slots, with the stub."""
    found = {}
    for operators in ("llm", "all"):
        for rough in (False, True):
            for ratio in (0.5, 1.0, 2.0, 4.0):
                for slots in (1, 2):
                    setting = Setting(
                        slots, slots * evaluations, ratio * evaluation, evaluation, operators=operators, rough=rough
                    )
                    usage = measure(setting)
                    print(line(setting, usage), flush=True)
                    key = f"{operators}_{'rough' if rough else 'even'}_{ratio:g}x_{slots}"
                    found[key] = (round(usage.search, 4), round(usage.steady, 4))
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="a stub for an evaluation; under a minute")
    parser.add_argument("--grid", action="store_true", help="many latencies and kinds of answers, with the stub")
    parser.add_argument("--evaluations", type=int, help="trainings for each slot (40; with --quick 20)")
    parser.add_argument("--seconds", type=float, default=10.0, help="training seconds (%(default)s)")
    parser.add_argument("--operators", default="llm", help="llm (%(default)s), or auto as the default search has them")
    parser.add_argument("--stub", type=float, default=0.8, help="seconds that the stub takes (%(default)s)")
    options = parser.parse_args()
    evaluations = options.evaluations or (20 if options.quick else 40)
    if evaluations < CLAIM_TRAININGS + 4:
        parser.error(f"--evaluations {evaluations} leaves nothing to search with; give at least {CLAIM_TRAININGS + 4}")
    found: dict[str, object] = {"evaluations_per_slot": evaluations}
    if options.grid:
        found["grid"] = grid(options.stub, evaluations)
    elif options.quick:
        settings = {slots: Setting(slots, slots * evaluations, options.stub, options.stub) for slots in (1, 2)}
        found |= figures({slots: replace(setting, operators=options.operators) for slots, setting in settings.items()})
    else:
        settings = {}
        for slots in (1, 2):
            latency = evaluation_seconds(options.seconds, slots)
            total = slots * evaluations
            settings[slots] = Setting(slots, total, latency, None, options.seconds, operators=options.operators)
        found |= figures(settings)
    print(json.dumps({**found, "operators": options.operators, "quick": options.quick}))


if __name__ == "__main__":
    main()
