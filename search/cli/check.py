"""``python -m search check FOLDER``: evaluate a task's seed a few times before a search, and report what to expect.

Checks files, the seed, repetition and noise, the direction, the time of a night, parameters and trust. Asks no model,
writes no archive; each finding is one line.
"""

from __future__ import annotations

import argparse
import math
import statistics
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from operator import itemgetter

from archive.records import Evaluation, Failed, Scored, Split
from operators.languages.language import language_for
from operators.languages.syntax import Unparsable
from operators.numeric.search_space import format_range, range_of
from operators.numeric.tune_comments import unused_comments
from operators.rewrite.prompt.feedback import endings
from prepare.config import SettingsError
from prepare.output import many
from prepare.program import ProgramTask
from search.claims.statistics import runs_for
from search.cli.broken import broken_versions
from search.cli.doctor import Finding, model_findings
from search.cli.terminal import show, show_json
from search.cli.trials import NO_TRIALS, Trials, open_trials, parser, search_words
from search.config import Config
from search.display.live import clean
from search.display.summary import search_command
from search.factory import LocalEvaluation
from train.executors.base import CountsCases

NIGHT_HOURS = 8
FULL, POWER, CLAIM_SEEDS = 0.97, 1.96 + 0.84, 4
"""Of an agent's items: the largest share right of a seed that can be improved, the normal quantiles of a test at 5%
with a power of 80%, and the seeds a side of a claim that are assumed."""
CLAIMED: tuple[Split, ...] = ("select", "holdout")
"""Splits that a claim reads."""
SEEDS = 4
"""Evaluations of the seed from which the noise is estimated."""
WANTED_POWER, FEW_RUNS, MOST_RUNS = 0.8, 4, 1000
"""Runs a side that show ``smallest_gain`` with this power: few need no remark."""
_SHOWN = 4_000


def check(arguments: Sequence[str]) -> int:
    """Run the command: print the findings. Returns 0 if a search can start, else 1."""
    words = "Evaluate a task's seed a few times before a search: score, noise, direction, time, trust."
    options = parser("check", words).parse_intermixed_args(arguments)
    if options.json:
        return _as_json(options)
    problems = 0
    for finding in _findings(options):
        show(finding.line)
        problems += finding.level == "problem"
    if problems:
        show(f"\n{many(problems, 'problem')} to fix before a search can start.")
        return 1
    show(f"\nReady: {search_command(search_words(options))}")
    return 0


def _as_json(options: argparse.Namespace) -> int:
    """Print all findings as one object. Returns 0 if a search can start, else 1."""
    findings = list(_findings(options))
    ready = all(finding.level != "problem" for finding in findings)
    next_command = search_command(search_words(options)) if ready else None
    show_json({"ready": ready, "findings": [asdict(each) for each in findings], "next": next_command})
    return 0 if ready else 1


def _findings(options: argparse.Namespace) -> Iterator[Finding]:
    try:
        trials = open_trials(options)
        task, files = trials.task, trials.files
        yield from _files(task, files)
        yield from _parameters(files, task.parameters)
        yield from _trust(task, trials.local.sandbox.tier)
        yield from _measured(trials.config, trials, files)
    except (*NO_TRIALS, SettingsError) as error:
        yield Finding("problem", "task", str(error)[:_SHOWN])


def _measured(config: Config, trials: Trials, files: Mapping[str, str]) -> Iterator[Finding]:
    """Evaluate the seed and yield the findings from its evaluations."""
    first = trials.run(files, 1)
    if not isinstance(first, Scored):
        assert isinstance(first, Failed)
        said = f"{first.outcome}: {first.reason}" + (f"\n{first.log.strip()[-_SHOWN:]}" if first.log.strip() else "")
        yield Finding("problem", "seed", f"{said}\nNothing was spent. Fix the seed, or what score.py expects of it.")
        return
    metrics = "".join(f", {name} {value:.6g}" for name, value in first.metrics.items())
    cases = f" over {len(first.cases)} cases" if len(first.cases) > 1 else ""
    yield Finding("ok", "seed", f"{trials.task.metric.name} {first.score:.6g}{cases}{metrics}")
    if told := next((case.feedback for case in first.cases if case.feedback), ""):
        yield Finding("ok", "feedback", f"a language model is told: {clean(told, 300)}")
    yield from _head_room(trials.task, first.score)
    yield from _ended(first)
    again: list[Scored] = [first]
    yield from _repetition(trials, files, first, again)
    if any(case.ending is not None for case in first.cases):
        yield from _room(again, "val")
        yield from _room([trials.run(files, 1, "confirm")], "select")
        yield from _items(trials.task, again, _smallest_split(trials.local, first))
    yield from _night(config, trials)
    yield from _direction(trials, files, first.score)


def _files(task: ProgramTask, files: Mapping[str, str]) -> Iterator[Finding]:
    metric, beside = task.metric, len(task.readonly_files())
    yield Finding(
        "ok", "task", f"{task.name}: {metric.name}, {metric.direction}; {task.seconds:g} {task.clock or 'cpu'} seconds"
    )
    names = ", ".join(list(files)[:5]) + (" ..." if len(files) > 5 else "")
    yield Finding("ok", "files", f"may change: {names}" + (f"; {beside} read-only beside" if beside else ""))
    if not task.instructions().strip():
        yield Finding("note", "files", f"{task.program} is missing or empty: a language model gets no instructions")


def _parameters(files: Mapping[str, str], declared: Mapping[str, str]) -> Iterator[Finding]:
    """Report the parameters that ``tune`` would search."""
    for sentence in unused_comments(files, declared):
        yield Finding("note", "tune", sentence)
    found = [text for path, source in files.items() for text in _searched(path, source, declared)]
    if not found:
        yield Finding("note", "tune", "no numbers to search; mark one as in `RATE = 0.1  # tune: 0.01..1 log`")
        return
    more = f" and {len(found) - 8} more" if len(found) > 8 else ""
    yield Finding("ok", "tune", f"searches {', '.join(found[:8])}{more}")


def _searched(path: str, source: str, declared: Mapping[str, str]) -> list[str]:
    try:
        spans = [(each.name, range_of(each)) for each in language_for(path, declared).parameters(source)]
    except Unparsable:
        return []
    return [f"{name} {format_range(span)}" for name, span in spans if span is not None]


def _trust(task: ProgramTask, tier: str) -> Iterator[Finding]:
    if tier == "none":
        yield Finding("note", "trust", "self_reported: without a sandbox a candidate can reach the scorer's files")
    elif task.trust == "verified":
        yield Finding("ok", "trust", f"verified: {task.scorer} computes the score out of the candidate's reach")
    elif task.command is not None:
        words = "the command shares the candidate's sandbox; a score.py that runs it and judges its files is verified"
        yield Finding("note", "trust", f"self_reported: {words} (docs/tasks.md)")
    else:
        words = f"{task.scorer} believes a number that was computed in the candidate's sandbox; recompute it there"
        yield Finding("note", "trust", f"self_reported: {words} and remove `trust` from task.yaml (docs/tasks.md)")


def _head_room(task: ProgramTask, score: float) -> Iterator[Finding]:
    best = task.metric.bound
    if best is None:
        return
    if abs(best - score) <= (task.smallest_gain or 0.0):
        yield Finding(
            "note", "head-room", f"the seed's {score:.6g} is at the bound of the metric, {best:g}: no gain left"
        )
    else:
        yield Finding("ok", "head-room", f"{abs(best - score):.6g} from the seed to the bound of the metric, {best:g}")


def _ended(first: Scored) -> Iterator[Finding]:
    """Report how the items of an agent ended."""
    if counted := endings(first.cases):
        yield Finding("ok", "items", counted.rstrip("."))


def _smallest_split(local: LocalEvaluation, first: Scored) -> tuple[Split, int]:
    """Return the smaller one of the splits that a claim reads, and its number of cases. Raises TaskError.

    An evaluator of the user's that cannot count them is taken to have as many as there are on val.
    """
    evaluator, slot = local.evaluator, local.slots[0]
    if not isinstance(evaluator, CountsCases):
        return "val", len(first.cases)
    return min(((split, evaluator.count_cases(slot, split)) for split in CLAIMED), key=itemgetter(1))


def _room(runs: Sequence[Evaluation], split: Split) -> Iterator[Finding]:
    """Report a problem if the seed's agent is right on nearly all items of a split. The holdout stays closed."""
    scores = [run.score for run in runs if isinstance(run, Scored)]
    if scores and (score := statistics.mean(scores)) > FULL:
        words = f"the seed's agent has {score:.3f} right on {split}, more than {FULL:g}: no gain can be told"
        yield Finding("problem", "head-room", f"{words}. Use harder items")


def _items(task: ProgramTask, runs: Sequence[Scored], smallest: tuple[Split, int]) -> Iterator[Finding]:
    """Report whether the items of an agent can show the gain that matters.

    A claim of ``CLAIM_SEEDS`` seeds a side over n items, those of its ``smallest`` split, sees a gain g with a
    probability of 80% if g >= 2.8 sqrt((v / seeds + g (1 - g)) / n): v is the variance of an item's difference between
    two evaluations of the seed on val, g (1 - g) that of a gain which comes item by item.
    """
    wanted, (split, count) = task.smallest_gain, smallest
    if wanted is None or len(runs) < 2:
        return
    noise = statistics.mean((a.value - b.value) ** 2 for a, b in zip(runs[0].cases, runs[1].cases, strict=True))
    needed = math.ceil(POWER**2 * (noise / CLAIM_SEEDS + wanted * (1 - wanted)) / wanted**2)
    said = f"{count} items of {split}; a gain of {wanted:g} takes {needed} (80% power, {CLAIM_SEEDS} seeds a side)"
    if count < needed:
        yield Finding("problem", "items", f"{said}. Yield more items, or raise smallest_gain")
    else:
        yield Finding("ok", "items", said)


def _repetition(trials: Trials, files: Mapping[str, str], first: Scored, kept: list[Scored]) -> Iterator[Finding]:
    """Report whether the score depends on the seed, and how much."""
    task, scores = trials.task, [first.score]
    for seed in range(2, (2 if task.deterministic else SEEDS) + 1):
        again = trials.run(files, seed)
        if not isinstance(again, Scored):
            assert isinstance(again, Failed)
            yield Finding(
                "problem", "seed", f"scored with seed 1, and with seed {seed} {again.outcome}: {again.reason}"
            )
            return
        scores.append(again.score)
        kept.append(again)
    equal = len(set(scores)) == 1
    if task.deterministic:
        yield (
            Finding("ok", "repeated", "the same score with two seeds, as `deterministic: true` says")
            if equal
            else Finding("problem", "repeated", f"{scores[0]!r}, then {scores[1]!r}: remove `deterministic: true`")
        )
    elif equal:
        yield Finding(
            "note", "repeated", f"the same score with {SEEDS} seeds: set `deterministic: true` if it always is"
        )
    else:
        yield _noise(task, scores)


def _noise(task: ProgramTask, scores: Sequence[float]) -> Finding:
    deviation = statistics.stdev(scores)
    words = f"standard deviation {deviation:.3g} over {len(scores)} seeds"
    if task.smallest_gain is None:
        return Finding("note", "noise", f"{words}; set smallest_gain, the smallest gain that is worth having")
    runs = runs_for(task.smallest_gain / deviation, WANTED_POWER, MOST_RUNS)
    if runs <= FEW_RUNS:
        return Finding("ok", "noise", f"{words}; smallest_gain is {task.smallest_gain:g}")
    many = f"{runs:,} or more" if runs == MOST_RUNS else f"{runs:,}"
    return Finding(
        "note", "noise", f"{words}: to show a gain of {task.smallest_gain:g} takes {many} evaluations a side"
    )


def _night(config: Config, trials: Trials) -> Iterator[Finding]:
    seconds, slots = statistics.median(trials.seconds), len(trials.local.slots)
    hourly = 3600 / seconds * slots
    words = f"{seconds:.2g} s an evaluation; a night of {NIGHT_HOURS} h holds about {hourly * NIGHT_HOURS:,.0f}"
    yield Finding("ok", "time", f"{words} on {many(slots, 'slot')}")
    yield from model_findings(config, hourly)


def _direction(trials: Trials, files: Mapping[str, str], score: float) -> Iterator[Finding]:
    """Report the scores of broken programs. One that is better than the seed's is a problem."""
    said: list[str] = []
    for name, broken in broken_versions(files, trials.task.evolve_blocks):
        if trials.local.evaluator.gate(broken) is not None:
            continue
        found = trials.run(broken, 1)
        if not isinstance(found, Scored):
            said.append(f"{name} fails ({found.outcome})")
        elif trials.task.metric.is_better(found.score, score):
            words = f"{name} scores {found.score:.6g}, better than the seed's {score:.6g}"
            yield Finding("problem", "direction", f"{words}: check metric.direction, and what score.py refuses")
            return
        elif trials.task.metric.is_better(score, found.score):
            said.append(f"{name} is worse ({found.score:.6g})")
    if said:
        yield Finding("ok", "direction", "; ".join(said))
    else:
        yield Finding("note", "direction", "could not tell: no broken version of the seed was evaluated as worse")
