"""The end of a run in words that a person can trust: baseline, champion, intervals, and what to type next."""

from __future__ import annotations

import math
import shlex
import shutil
import sys
from pathlib import Path

import numpy as np

from archive.records import Spending
from archive.storage.store import Archive
from search.claims.claim import Verdict
from search.claims.machine_speed import describe_speed, speed_effect
from search.claims.statistics import Difference, Interval, NoInterval, mean_interval, power, screening_sigma
from search.display.live import clean
from search.run.controller import RunResult
from search.run.engine import Engine


def this_python() -> str:
    """How to call this interpreter from here: ``python`` if that is the one, else its path (short, if it is below)."""
    found = shutil.which("python")
    if found is not None and Path(found).absolute() == Path(sys.executable).absolute():
        return "python"
    own, here = Path(sys.executable).absolute(), Path.cwd()
    return shlex.quote(str(own.relative_to(here) if own.is_relative_to(here) else own))


def summarise(search: Engine, result: RunResult, archive: Archive, archive_option: str | None) -> str:
    """Several lines of plain text. ``archive_option``: the archive's file, as it was named; None if it has none."""
    lines = ["", *_outcome(search, result), "", *_facts(search, archive)]
    if archive_option is None:
        return "\n".join(lines)
    return "\n".join([*lines, "", *_next(search, result, archive_option)])


def _outcome(search: Engine, result: RunResult) -> list[str]:
    tree, unit = search.tree, search.parts.task.metric.unit
    verdict = result.verdict
    if verdict is None:
        leader = tree.leader()
        if leader is None:
            return ["No score yet."]
        mean, runs = tree.means[tree.index[leader]], int(tree.runs[tree.index[leader]])
        root = f"{tree.means[0]:.4f}" if tree.runs[0] else "not scored"
        return [
            "No claim: nothing was trained again on fresh seeds, so no improvement can be reported.",
            f"The leader is {leader[:8]} with {mean:.4f} {unit} on val in {runs} run(s); the root has {root}.",
            "Those are screening scores, which chose the leader: they may be luck.",
        ]
    lines = []
    won = verdict.kind == "champion"
    if won:
        node = tree[verdict.node_id]
        lines.append(f"Champion {verdict.node_id[:8]} ({node.candidate.operator}: {clean(node.candidate.idea, 90)})")
        lines.append(f"  {verdict.reason}")
    else:
        text = verdict.reason
        lines.append(text[0].upper() + text[1:])
    if verdict.difference is not None:
        lines.append(f"  {_in_plain_words(verdict.difference, won, search.parts.task.smallest_gain, unit)}")
    return [*lines, *_sides(verdict, unit)]


def _in_plain_words(d: Difference, won: bool, smallest: float | None, unit: str) -> str:
    """What the interval means; and, where nothing was found, how likely a gain worth having would have been found."""
    if won:
        often = f"at most once in {2 / (1 - d.confidence):.0f} claims"
        return f"Both were trained again on seeds that the search never used; one that is no better passes {often}."
    words = "On seeds that the search never used the two cannot be told apart."
    if d.high < 0:
        words = "On seeds that the search never used it is worse than the root."
    runs = min(d.baseline_n, d.champion_n)
    if smallest is None or d.standard_error <= 0 or d.high < 0:
        return words
    found = power(smallest / (d.standard_error * math.sqrt(runs / 2)), runs, d.confidence)
    return (
        f"{words} A gain of {smallest:g} {unit}".rstrip() + f" would have been seen with a probability of {found:.0%}."
    )


def _sides(verdict: Verdict, unit: str) -> list[str]:
    """Each side's mean on the holdout with its interval."""
    lines = []
    unit = f" {unit}" if unit else ""
    for name, scores in (("baseline (root)", verdict.baseline), ("champion", verdict.champion)):
        label = name if verdict.kind == "champion" or name != "champion" else "best candidate"
        if not scores:
            continue
        interval = mean_interval(scores)
        if isinstance(interval, NoInterval):
            lines.append(f"  {label:<16} {scores[0]:.4f}{unit} on holdout, one run")
        else:
            lines.append(f"  {label:<16} {_interval(interval, unit)}")
    return lines


def _interval(interval: Interval, unit: str) -> str:
    return (
        f"{interval.mean:.4f}{unit} on holdout, 95% interval {interval.low:.4f} to {interval.high:.4f} "
        f"({interval.n} fresh seeds, deviation {interval.deviation:.4f})"
    )


def _facts(search: Engine, archive: Archive) -> list[str]:
    """How much was spent, how far the scores can be trusted, how often the holdout was read."""
    run, tree = search.run.run, search.tree
    outcomes = archive.query(
        "SELECT outcome, count(*) FROM evaluations WHERE run = ? GROUP BY outcome ORDER BY count(*) DESC, outcome",
        [run],
    )
    counted = ", ".join(f"{count} {outcome}" for outcome, count in outcomes)
    refusals = archive.query("SELECT count(*) FROM refusals WHERE run = ?", [run])[0][0]
    trust = archive.query("SELECT DISTINCT trust, sandbox FROM evaluations WHERE run = ? ORDER BY ALL", [run])
    reads = archive.query(
        "SELECT count(*) FROM evaluations WHERE split = 'holdout' AND fingerprint = ?", [tree.conditions.fingerprint]
    )[0][0]
    sigma = screening_sigma(tree)
    lines = [f"{len(tree)} nodes; trainings: {counted or 'none'}; refused proposals: {refusals}."]
    lines += _suspects(search)
    if trust:
        lines.append("Scores are " + ", ".join(f"{t} (sandbox {s})" for t, s in trust) + ".")
    if sigma is not None:
        lines.append(f"Seed deviation of a screening: {sigma:.4f} {search.parts.task.metric.unit}".rstrip() + ".")
    if (effect := speed_effect(tree)) is not None:
        lines.append(describe_speed(effect, search.parts.task.metric.unit))
    if search.parts.median_rule:
        lines.append(_rung(run, archive))
    corpus = search.parts.task.corpus.name
    lines.append(f"The holdout of {corpus!r} has been read {reads} times in this archive.")
    if (bill := archive.spending(run)).calls:
        lines.append(_bill(bill))
    return lines


def _bill(bill: Spending) -> str:
    """What language models have cost, as far as it is known, and what of it is not."""
    words = f"Language models: {bill.calls} calls, {bill.tokens:,} tokens, ${bill.dollars:.2f}"
    unknown = [f"{bill.unpriced} calls of unknown cost"] if bill.unpriced else []
    unknown += [f"{bill.uncounted} whose tokens nobody named"] if bill.uncounted else []
    if unknown:
        counted = f"${bill.charged_dollars:.2f} and {bill.charged_tokens:,} tokens"
        words += f", and {' and '.join(unknown)} (with them the caps count {counted})"
    return f"{words}."


def _suspects(search: Engine) -> list[str]:
    """Who was found cheating, with what descends from it; nothing if nobody was."""
    tree = search.tree
    found: dict[str, int] = {}
    for place in np.flatnonzero(tree.suspects):
        suspicion = tree.suspicion(tree.nodes[int(place)].node_id)
        if suspicion is not None and suspicion.evaluation.violation:
            text = f"{suspicion.origin[:8]}, {suspicion.words}"
            found[text] = found.get(text, 0) + suspicion.inherited
    heirs = {text: f" and {count} descendants" if count else "" for text, count in found.items()}
    return [f"Suspect, and left out: {clean(text + heir, 200)}." for text, heir in heirs.items()][:8]


def _rung(run: str, archive: Archive) -> str:
    """How well the loss that the median rule looks at foretells the score: whether the rule deserves to be on."""
    known = archive.query("SELECT n, correlation FROM rung WHERE run = ?", [run])
    told = "the rank correlation of a screening's reported loss at 30% of the budget with its score"
    if not known or known[0][1] is None:
        return f"Median rule: on; {told} is not known yet."
    return f"Median rule: on; {told} is {known[0][1]:.2f} ({known[0][0]} screenings, stopped ones left out)."


def archive_command(archive_option: str) -> str:
    """``python -m archive`` for the file of this search, as it works when typed here."""
    where = "" if archive_option == "treewright.duckdb" else f" --archive {shlex.quote(archive_option)}"
    return f"{this_python()} -m archive{where}"


def _next(search: Engine, result: RunResult, archive_option: str) -> list[str]:
    """Commands that work as printed."""
    node = result.verdict.node_id if result.verdict else search.tree.leader()
    command = archive_command(archive_option)
    lines = [
        f"Everything is in {archive_option} (run {search.run.run!r}). Next:",
        f'  {command} "SELECT node_id, operator, score, idea FROM leaderboard LIMIT 10"',
    ]
    if node:
        lines.append(f"  {command} lineage {node[:8]}")
        lines.append(f"  {command} export {node[:8]} --branch {search.run.run}")
    return lines
