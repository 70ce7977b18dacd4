"""The final summary of a run: baseline, champion, intervals, how far scores can be trusted, and the next commands."""

from __future__ import annotations

import math
import re
import shlex
from collections.abc import Sequence

import numpy as np

from archive.difference import Difference
from archive.interval import CONFIDENCE, Interval, NoInterval, mean_interval
from archive.llm_calls import Spending
from archive.query.questions import KNOWN, TRUST, known_in_words, trust_in_words
from archive.query.tables import digits
from archive.records import Decision
from archive.storage.store import Archive
from operators.llm.secrets import without_user
from prepare.command_line import archive_flag, command
from prepare.output import many
from prepare.overrides import key_of, written
from prepare.program import ProgramTask
from search.claims.claim import Verdict
from search.claims.error_budget import last_claim_move
from search.claims.machine_speed import describe_speed, speed_effect
from search.claims.statistics import power, seed_deviation
from search.display.live import clean
from search.run.controller import RunResult
from search.run.engine import Engine


def summarise(engine: Engine, result: RunResult, archive: Archive, archive_option: str | None) -> str:
    """Return several lines of plain text. ``archive_option``: the archive's file as typed; None for one in memory."""
    known = known_in_words(archive.query(KNOWN, [engine.run.run]))
    lines = ["", *_outcome(engine, result), *([known] if known else []), "", *_facts(engine, archive)]
    if archive_option is None:
        return "\n".join(lines)
    return "\n".join([*lines, "", *_next(engine, result, archive_option)])


def _outcome(engine: Engine, result: RunResult) -> list[str]:
    tree, unit = engine.tree, engine.parts.task.metric.unit
    verdict = result.verdict
    if verdict is None and result.standing is not None:
        return _standing(engine, result.standing)
    if verdict is None:
        leader = tree.leader()
        if leader is None:
            return ["No score yet."]
        mean, runs = tree.means[tree.index[leader]], int(tree.runs[tree.index[leader]])
        score, root = f"{digits(mean)} {unit}".rstrip(), digits(tree.means[0]) if tree.runs[0] else "not scored"
        return [
            "No claim: nothing was evaluated again on fresh seeds, so no improvement can be reported.",
            f"The leader is {leader[:8]} with {score} on val in {many(runs, 'run')}; the root has {root}.",
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
    if verdict.difference is not None and len(verdict.baseline) > 1:  # else exact, and the reason says it
        smallest = engine.parts.task.smallest_gain
        lines.append(f"  {_in_plain_words(verdict.difference, won, smallest, unit, verdict.confidence)}")
    return [*lines, *_sides(verdict, unit), *_winners_curse(engine, verdict), *_since(engine, verdict)]


def _since(engine: Engine, verdict: Verdict) -> list[str]:
    """Return what the search made of what the claim did not need; of a claim that stopped early, also what is left."""
    last = last_claim_move(engine.tree)
    landed = [e for found in engine.tree.evaluations.values() for e in found if e.outcome != "lost"]
    if made := 0 if last is None else sum(e.request.move > last for e in landed):
        searched = f"  The search went on with the {many(made, 'evaluation')} that the claim did not need."
        return [searched, *(f"  {line}" for line in _leader_since(engine, verdict.node_id))]
    if verdict.look is None or verdict.look.stopped is None:
        return []
    left = 2 * (verdict.look.planned - verdict.look.seeds)
    return [f"  The other {left} evaluations that were set aside for it were not needed and are left."]


def _winners_curse(engine: Engine, verdict: Verdict) -> list[str]:
    """Return how much better an agent was where it was selected than on the holdout; nothing for other tasks."""
    task, tree = engine.parts.task, engine.tree
    if not isinstance(task, ProgramTask) or task.llm is None or not verdict.champion:
        return []
    searched, tested = tree.mean(verdict.node_id), float(np.mean(verdict.champion))
    gap = tested - searched if tree.direction == "minimise" else searched - tested
    words = f"{digits(searched)} on val, which chose it, and {digits(tested)} on holdout"
    return [f"  winner's curse   {gap:+.3g}: {words}"]


def _standing(engine: Engine, verdict: Decision) -> list[str]:
    """Return the verdict of an earlier claim, after which the search went on without another one."""
    what = f"Champion {verdict.node_id[:8]}" if verdict.kind == "champion" else "No champion"
    lines = [f"{what}, by the claim before these evaluations:", f"  {verdict.reason}"]
    return [*lines, *_leader_since(engine, verdict.node_id)]


def _leader_since(engine: Engine, claimed: str) -> list[str]:
    """Return who leads after a claim, if it is another node than the claimed one."""
    tree, leader, unit = engine.tree, engine.tree.leader(), engine.parts.task.metric.unit
    if leader is None or leader == claimed:
        return []
    mean = f"{digits(tree.mean(leader))} {unit}".rstrip()
    return [f"The leader is now {leader[:8]} with {mean} on val: a screening score, which may be luck."]


def _in_plain_words(d: Difference, won: bool, smallest: float | None, unit: str, confidence: float = CONFIDENCE) -> str:
    """Explain the interval; without a gain, also how likely the smallest gain worth claiming would have been found.

    confidence: of the claim as a whole, all of its looks together.
    """
    if won:
        often = f"at most once in {2 / (1 - confidence):.0f} claims"
        again = "Both were evaluated again on seeds that the search never used"
        return f"{again}; a program that is no better passes {often}."
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
    """Return each side's mean on the holdout with its interval."""
    lines = []
    unit = f" {unit}" if unit else ""
    for name, scores in (("baseline (root)", verdict.baseline), ("champion", verdict.champion)):
        label = name if verdict.kind == "champion" or name != "champion" else "best candidate"
        if not scores:
            continue
        interval = mean_interval(scores)
        if verdict.look is not None and verdict.look.number > 1:  # each look may have text of its own
            mean = f"{digits(float(np.mean(scores)))}{unit}"
            lines.append(f"  {label:<16} {mean} on holdout, the mean of {len(scores)} fresh seeds in two looks")
        elif isinstance(interval, NoInterval):
            lines.append(f"  {label:<16} {scores[0]:.6g}{unit} on holdout, one evaluation")
        else:
            lines.append(f"  {label:<16} {_interval(interval, unit)}")
    return lines


def _interval(interval: Interval, unit: str) -> str:
    return (
        f"{digits(interval.mean)}{unit} on holdout, 95% interval {digits(interval.low)} to {digits(interval.high)} "
        f"({interval.n} fresh seeds; these {interval.n} deviate by {interval.deviation:.2g})"
    )


def _facts(engine: Engine, archive: Archive) -> list[str]:
    """Return what was spent, how far the scores can be trusted, and how often the holdout was read."""
    run, tree = engine.run.run, engine.tree
    outcomes = archive.query(
        "SELECT outcome, count(*) FROM evaluations WHERE run = ? GROUP BY outcome ORDER BY count(*) DESC, outcome",
        [run],
    )
    counted = ", ".join(f"{count} {outcome}" for outcome, count in outcomes)
    trust = archive.query(TRUST, [run])
    reads = archive.query(
        "SELECT count(*) FROM evaluations WHERE split = 'holdout' AND fingerprint = ?", [tree.conditions.fingerprint]
    )[0][0]
    sigma = seed_deviation(tree)
    lines = [
        f"{many(len(tree), 'node')}; evaluations: {counted or 'none'}; refused proposals: {_refused(run, archive)}."
    ]
    lines += _suspects(engine)
    if trust:
        lines.append(f"Scores are {trust_in_words(trust)}.")
    if sigma is not None:
        repeats = f"{sigma.dof} repeats of one program or another, screenings and claims"
        lines.append(f"Seed deviation of a score: {sigma.words(engine.parts.task.metric.unit)}, from {repeats}.")
    if (effect := speed_effect(tree)) is not None:
        lines.append(describe_speed(effect, engine.parts.task.metric.unit))
    if reads:
        lines.append(f"The holdout of {engine.parts.task.data!r} has been read {reads} times in this archive.")
    if (bill := archive.spending(run)).calls:
        lines.append(_bill(bill))
    return lines


def _refused(run: str, archive: Archive) -> str:
    """Return the number of refused proposals, and the commonest reason if there are several."""
    found = archive.query(
        "SELECT reason, count(*) FROM refusals WHERE run = ? AND operator <> 'withdrawn' "
        "GROUP BY reason ORDER BY count(*) DESC, reason",
        [run],
    )
    count = sum(times for _, times in found)
    return f"{count}, {found[0][1]} of them: {clean(found[0][0], 160)}" if count > 1 else f"{count}"


def _bill(bill: Spending) -> str:
    """Return the cost of language models, and how many calls have an unknown part of it."""
    words = f"Language models: {bill.calls} calls, {bill.tokens:,} tokens, ${bill.dollars:.2f}"
    unknown = [f"{bill.unpriced} calls of unknown cost"] if bill.unpriced else []
    unknown += [f"{bill.uncounted} with an unknown number of tokens"] if bill.uncounted else []
    if unknown:
        counted = f"${bill.charged_dollars:.2f} and {bill.charged_tokens:,} tokens"
        words += f", and {' and '.join(unknown)} (with them the caps count {counted})"
    return f"{words}."


def _suspects(engine: Engine) -> list[str]:
    """Return the nodes found cheating, with the number of their descendants; empty if there are none."""
    tree = engine.tree
    found: dict[str, int] = {}
    for place in np.flatnonzero(tree.suspects):
        suspicion = tree.suspicion(tree.nodes[int(place)].node_id)
        if suspicion is not None and suspicion.evaluation.violation:
            text = f"{suspicion.origin[:8]}, {suspicion.words}"
            found[text] = found.get(text, 0) + suspicion.inherited
    lines = (text + (f" and {count} descendants" if count else "") for text, count in found.items())
    return [f"Suspect, and left out: {clean(line, 200)}." for line in lines][:8]


def branch_for(run: str) -> str:
    """Return a name for a run's branch that git accepts: ``a-night`` for a run called ``a night``."""
    name = re.sub(r"[^\w-]+", "-", run).strip("-_")
    return name if name not in ("", "HEAD") else "best"


def archive_command(archive: str) -> str:
    """Return the ``python -m archive`` command for this file, as it works when typed here."""
    return command("archive") + archive_flag(None if archive == "treewright.duckdb" else archive)


def search_command(typed: Sequence[str]) -> str:
    """Return the ``python -m search`` command with these arguments, as it works when typed here.

    Passwords in addresses are removed, since the terminal may be logged; the user types them again.
    """
    return command("search", shlex.join(map(without_user, typed)))


def resume_command(options: Sequence[str], overrides: Sequence[str], run: str) -> str:
    """Return the command to resume the run of this name, whatever the name."""
    others = [override for override in overrides if key_of(override) != "run"]
    return search_command([*options, *others, written("run", run)])


def _next(engine: Engine, result: RunResult, archive_option: str) -> list[str]:
    """Return the next commands, which work as printed."""
    verdict = result.verdict or result.standing
    node = verdict.node_id if verdict else engine.tree.leader()
    query = archive_command(archive_option)
    lines = [
        f"Everything is in {archive_option} (run {engine.run.run!r}). Next:",
        f'  {query} "SELECT node_id, operator, score, idea FROM leaderboard LIMIT 10"',
    ]
    if node:
        lines.append(f"  {query} lineage {node[:8]}")
        lines.append(f"  {query} export {node[:8]} --branch {shlex.quote(branch_for(engine.run.run))}")
    return lines
