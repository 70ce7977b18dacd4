"""How the runs of a study deviate from its registered plan, as the archive shows it."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from archive.errors import ArchiveError
from archive.query.query import Reader
from archive.records import sha256

Code = Literal[
    "plan",
    "order",
    "missing",
    "unfinished",
    "seed",
    "settings",
    "baseline",
    "leak",
    "budget",
    "stage",
    "unplanned",
    "again",
    "claim",
]
BIBLIOGRAPHY = "bibliography_sha256"
"""The name, in a plan, of the digest of the bibliography that was registered with it."""


@dataclass(frozen=True)
class Deviation:
    """One difference between plan and runs. ``code``: its kind; ``run``: where, empty for the study as a whole."""

    code: Code
    run: str
    words: str


class UnknownStudy(ArchiveError):
    """The archive has no study of that name."""


@dataclass(frozen=True)
class Registration:
    """A registered plan."""

    study: str
    digest: str
    text: str
    bibliography: str
    arrival: int

    @property
    def plan(self) -> dict[str, Any]:
        return dict(json.loads(self.text))

    @property
    def runs(self) -> dict[str, int]:
        """The name of each run -> the seed of its search."""
        return dict(self.plan["runs"])


def registration(reader: Reader, study: str) -> Registration:
    """Return the registered plan. Raises UnknownStudy."""
    sql = "SELECT study, digest, plan, bibliography, arrival FROM studies WHERE study = ? ORDER BY arrival"
    if not (rows := reader.query(sql, [study]).rows):
        names = [name for (name,) in reader.query("SELECT DISTINCT study FROM studies ORDER BY 1").rows]
        there = (
            f"there are {', '.join(names)}" if names else "there is none; make one with: python -m search study PLAN"
        )
        raise UnknownStudy(f"the archive has no study {study!r}; {there}")
    return Registration(*rows[0])


_USED = """
SELECT run, stage, count(*), min(arrival) FROM study_evaluations WHERE study = ? GROUP BY run, stage ORDER BY run, stage
"""
_RUNS = """
SELECT r.run, r.seed, r.identity, (SELECT min(arrival) FROM moves AS m WHERE m.run = r.run),
       (SELECT list({path: path, sha: sha}) FROM files JOIN nodes AS n USING (node_id)
        WHERE n.run = r.run AND n.number = 0),
       exists(FROM decisions AS d WHERE d.run = r.run AND d.kind IN ('champion', 'no_champion'))
       OR exists(FROM events AS v WHERE v.run = r.run AND v.kind = 'no_claim')
FROM runs AS r JOIN study_runs AS s USING (run) WHERE s.study = ? ORDER BY r.run
"""


_OTHERS = """
SELECT DISTINCT study FROM studies WHERE study <> ? AND lower(trim(plan ->> '$.hypothesis')) = lower(trim(?)) ORDER BY 1
"""
_GONE = """
SELECT m.run, count(*) FROM moves AS m JOIN study_runs AS s USING (run)
WHERE s.study = ? AND exists(FROM decisions AS d WHERE d.run = m.run AND d.kind IN ('champion', 'no_champion'))
    AND NOT exists(FROM evaluations AS e WHERE e.run = m.run AND e.move = m.move)
    AND NOT exists(FROM refusals AS f WHERE f.run = m.run AND f.move = m.move)
GROUP BY m.run ORDER BY m.run
"""
_UNMEASURED = """
SELECT DISTINCT d.run FROM decisions AS d JOIN study_runs AS s USING (run)
WHERE s.study = ? AND d.kind IN ('champion', 'no_champion') AND NOT (
    list_has_all((SELECT coalesce(list(e.score), []) FROM evaluations AS e JOIN nodes AS n USING (node_id)
                  WHERE e.run = d.run AND e.purpose = 'report' AND n.number = 0),
                 coalesce((d.detail -> 'baseline')::DOUBLE[], []))
    AND list_has_all((SELECT coalesce(list(e.score), []) FROM evaluations AS e
                      WHERE e.run = d.run AND e.purpose = 'report' AND e.node_id = d.node_id),
                     coalesce((d.detail -> 'champion')::DOUBLE[], []))
) ORDER BY d.run
"""
_LEAKED = """
SELECT run, count(*) FROM study_evaluations
WHERE study = ? AND (purpose = 'screen' AND split = 'holdout' OR purpose = 'report' AND split <> 'holdout')
GROUP BY run ORDER BY run
"""


def deviations(reader: Reader, study: str) -> tuple[Deviation, ...]:
    """Return all deviations, those of the study as a whole first. Raises UnknownStudy."""
    registered = registration(reader, study)
    found = [*_of_the_plan(reader, registered)]
    made = {row[0]: row[1:] for row in reader.query(_RUNS, [study]).rows}
    for run in registered.runs:
        if run not in made:
            found.append(Deviation("missing", run, f"run {run} is registered and was not made"))
        else:
            found += _of_a_run(registered, run, *made[run])
    return (
        *found,
        *_again(reader, registered),
        *_gone(reader, registered),
        *_unmeasured(reader, registered),
        *_leaks(reader, registered),
        *_of_budgets(reader, registered),
    )


def _of_the_plan(reader: Reader, registered: Registration) -> Iterator[Deviation]:
    if sha256(registered.text) != registered.digest:
        yield Deviation("plan", "", "the registered plan does not have the digest that was registered with it")
    if sha256(registered.bibliography) != registered.plan.get(BIBLIOGRAPHY, sha256(registered.bibliography)):
        yield Deviation("plan", "", "the bibliography is not the one that was registered with the plan")
    ((times,),) = reader.query("SELECT count(*) FROM studies WHERE study = ?", [registered.study]).rows
    if times > 1:
        yield Deviation("plan", "", f"a plan of this name is registered {times} times; the first one counts")
    rows = reader.query("SELECT run, seed FROM study_runs WHERE study = ?", [registered.study]).rows
    if dict(rows) != registered.runs:
        yield Deviation(
            "plan", "", f"the archive lists the runs {sorted(dict(rows))}; the plan {sorted(registered.runs)}"
        )


def _of_a_run(
    registered: Registration, run: str, seed: int, identity: str, first: int | None, files: list[Any], ended: bool
) -> Iterator[Deviation]:
    plan = registered.plan
    if first is not None and first < registered.arrival:
        yield Deviation("order", run, f"run {run} began before the plan was registered")
    if not ended:
        yield Deviation("unfinished", run, f"run {run} has not come to the verdict of its claim")
    if seed != registered.runs[run]:
        yield Deviation("seed", run, f"run {run} has the seed {seed}; the plan says {registered.runs[run]}")
    if {each["path"]: each["sha"] for each in files or []} != plan["baseline"]:
        yield Deviation("baseline", run, f"run {run} began from another program than the registered baseline")
    for name in sorted(differing(plan["identity"], _settings(identity))):
        yield Deviation("settings", run, f"run {run} has another {name} than the plan")


def _settings(identity: str) -> dict[str, Any]:
    return {name: value for name, value in json.loads(identity).items() if name not in ("seed", "contents")}


def differing(plan: Mapping[str, Any], made: Mapping[str, Any], prefix: str = "") -> Iterator[str]:
    """Yield the names of settings whose values differ."""
    for name in sorted({*plan, *made}):
        ours, theirs, full = plan.get(name), made.get(name), f"{prefix}{name}"
        if isinstance(ours, dict) and isinstance(theirs, dict):
            yield from differing(ours, theirs, f"{full}.")
        elif ours != theirs:
            yield full


def _again(reader: Reader, registered: Registration) -> Iterator[Deviation]:
    """Other studies of the archive with the same hypothesis: the best of several says less than the only one."""
    for (name,) in reader.query(_OTHERS, [registered.study, registered.plan["hypothesis"]]).rows:
        yield Deviation("again", "", f"study {name} of this archive tests the same hypothesis")


def _gone(reader: Reader, registered: Registration) -> Iterator[Deviation]:
    """Moves of runs that came to their verdict without a result, as where an evaluation was taken out."""
    for run, count in reader.query(_GONE, [registered.study]).rows:
        yield Deviation("missing", run, f"run {run} has {count} moves without an evaluation or a refusal")


def _unmeasured(reader: Reader, registered: Registration) -> Iterator[Deviation]:
    """Verdicts whose scores are not those of the evaluations of the claim."""
    for (run,) in reader.query(_UNMEASURED, [registered.study]).rows:
        yield Deviation("claim", run, f"the claim of run {run} reports scores that no evaluation of the claim has")


def _leaks(reader: Reader, registered: Registration) -> Iterator[Deviation]:
    """Evaluations by which a search has read the cases of its claim, or a claim the cases of its search."""
    for run, count in reader.query(_LEAKED, [registered.study]).rows:
        yield Deviation("leak", run, f"run {run} has {count} evaluations that mix the data of search and claim")


def _of_budgets(reader: Reader, registered: Registration) -> Iterator[Deviation]:
    stages, totals = registered.plan["stages"], dict.fromkeys(registered.runs, 0)
    for run, stage, count, _ in reader.query(_USED, [registered.study]).rows:
        totals[run] = totals.get(run, 0) + count
        if stage is None:
            yield Deviation("unplanned", run, f"run {run} has {count} evaluations outside of the plan's stages")
        elif count > stages.get(stage, count):
            words = f"run {run} has {count} evaluations in stage {stage}; the plan says at most {stages[stage]}"
            yield Deviation("stage", run, words)
    if sum(totals.values()) > registered.plan["evaluations"]:
        words = f"{sum(totals.values())} evaluations were made; the plan says at most {registered.plan['evaluations']}"
        yield Deviation("budget", "", words)
