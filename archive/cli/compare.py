"""Comparison of runs by the settings of a sweep, with the spread over the runs that share a setting.

    python -m search -m policy=ucb,greedy,hillclimb seed=1,2,3
    python -m archive compare                     # a row per policy, over its three seeds

``best`` is the mean over the runs of their leaders' screening means: the same evaluations chose the leaders, so it is
biased upwards, more so with more evaluations. ``gain`` is the mean over the runs of the claimed gain over the root,
from fresh seeds on the holdout; 0 for a run whose nodes were no better than the root, runs without a claim left out.
Standard errors are over the runs; ``low`` and ``high`` are the 95% interval of the mean gain (Student's t over the
runs), or for a single run that of its own claim. For tasks with cases ``behind`` is by how much the leaders are worse
than those of the first row under the same conditions, paired by the ``cases`` of val (``archive.difference``): with one
run on a side the interval is over the cases alone, and for a deterministic task it has no width: the difference of the
leaders is exact on these cases. Scores under different conditions (text, seconds, hardware) are never
averaged: they get separate rows, and columns with the conditions.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from archive import difference
from archive.difference import Measurement
from archive.errors import QueryError
from archive.interval import Interval, NoInterval, mean_interval
from archive.noise import is_deterministic
from archive.query.query import Reader
from archive.query.questions import which_run
from archive.query.select import Result
from prepare.command_line import command
from prepare.renamed import with_new_names

_RUNS = """
    SELECT s.run, s.task, s.direction, s.policy, s.seed, r.config, s.evaluations, s.leader_score, s.champion,
           p.fingerprint, p.budget_seconds, p.hardware, s.dollars
    FROM run_summary AS s JOIN runs AS r USING (run) LEFT JOIN present_conditions AS p USING (run)
    ORDER BY s.created_at, s.run
"""
_VERDICTS = """
    SELECT run, arg_max({code: code, detail: detail}, arrival) FROM decisions
    WHERE kind IN ('champion', 'no_champion') GROUP BY run
"""
_CASES = """
    SELECT s.run, json_group_object(c.case_name, c.value)
    FROM run_summary AS s JOIN cases AS c ON c.run = s.run AND c.node_id = s.leader GROUP BY s.run
"""
"""Each leader's scores by case."""
_APART = ("task", "fingerprint", "budget_seconds", "hardware")
"""Conditions that must be equal for two scores to be averaged."""


@dataclass(frozen=True)
class _Claim:
    """The result of a run's last claim."""

    gain: float
    low: float
    high: float


@dataclass(frozen=True)
class _Run:
    facts: Mapping[str, Any]
    config: Mapping[str, Any]
    claim: _Claim | None
    cases: Mapping[str, float]
    """Scores by case of the leader; empty for a task without cases."""

    @property
    def leader(self) -> Measurement | None:
        score = self.facts["leader_score"]
        return None if score is None else Measurement(float(score), self.cases)

    @property
    def swept(self) -> Mapping[str, Any]:
        """Key -> value of the run's sweep; empty without one."""
        sweep = self.config.get("sweep")
        return sweep["values"] if isinstance(sweep, dict) and isinstance(sweep.get("values"), dict) else {}

    @property
    def sweep(self) -> str | None:
        sweep = self.config.get("sweep")
        return str(sweep.get("id")) if isinstance(sweep, dict) else None

    def value(self, key: str) -> str | None:
        """Return a setting of this run (``policy``, ``seed``, ``task.seconds``); None if it is not recorded."""
        if key in self.swept:
            return str(self.swept[key])
        if key in ("policy", "seed", "task", "run"):
            return str(self.facts[key])
        chosen = self.config.get("chosen")
        if isinstance(chosen, dict) and key in chosen:
            return str(chosen[key])
        found: Any = self.config
        for part in key.split("."):
            if not isinstance(found, dict) or part not in found:
                return None
            found = found[part]
        return found if isinstance(found, str) else json.dumps(found)

    @property
    def conditions(self) -> tuple[Any, ...]:
        return tuple(self.facts[name] for name in _APART)


def by_key(reader: Reader, by: str | None, names: Sequence[str] = ()) -> Result:
    """Return a row for each value of the keys ``by`` (comma-separated), the best first.

    ``names``: the runs to compare; default: those of the last sweep, or without a sweep all runs of the last run's
    task. ``by``: default: the swept settings but for the seed, else ``policy``. Raises QueryError.
    """
    runs = _chosen(_runs(reader), [which_run(reader, name) for name in names])
    if by is not None:
        keys = [key.strip() for key in by.split(",") if key.strip()]
    else:
        keys = [key for key in runs[-1].swept if key != "seed"] or ["policy"]
    for key in keys:
        if all(run.value(key) is None for run in runs):
            known = ", ".join(sorted({key for run in runs for key in run.swept} | {"policy", "seed", "operators"}))
            raise QueryError(f"no run says what {key!r} was; expected a setting, such as {known}")
    groups: dict[tuple[Any, ...], list[_Run]] = {}
    for run in runs:
        groups.setdefault((*(run.value(key) for key in keys), *run.conditions), []).append(run)
    several = [place for place in range(len(_APART)) if len({run.conditions[place] for run in runs}) > 1]
    apart = [name for place, name in enumerate(_APART) if place in several and name not in keys]
    ranked = sorted(((*_row(members, keys, apart), members) for members in groups.values()), key=lambda row: row[0])
    columns = (*keys, *apart, "runs", "evaluations", "best", "best_se", "champions", "gain", "low", "high", "gain_se")
    if not any(run.cases for run in runs):
        return Result(columns, [cells for _, cells, _ in ranked])
    best: dict[tuple[Any, ...], Sequence[_Run]] = {}
    for _, _, members in ranked:
        best.setdefault(members[0].conditions, members)
    rows = [(*cells, *_behind(members, best[members[0].conditions])) for _, cells, members in ranked]
    return Result((*columns, "behind", "behind_low", "behind_high", "cases"), rows)


def _behind(
    members: Sequence[_Run], best: Sequence[_Run]
) -> tuple[float | None, float | None, float | None, int | None]:
    """Return by how much the leaders are behind those of the best group, with the interval and the number of cases."""
    sides = [[run.leader for run in group if run.leader is not None] for group in (members, best)]
    if members is best or not all(sides):
        return None, None, None, None
    exact = is_deterministic(best[0].config)
    found = difference.compare(sides[0], sides[1], best[0].facts["direction"], deterministic=exact)
    if isinstance(found, NoInterval):
        return None, None, None, None
    return found.gain, found.low, found.high, found.cases


def _runs(reader: Reader) -> list[_Run]:
    verdicts = {run: _claim(last["code"], json.loads(last["detail"])) for run, last in reader.query(_VERDICTS).rows}
    cases = {run: json.loads(text) for run, text in reader.query(_CASES).rows}
    found = reader.query(_RUNS)
    runs = []
    for row in found.rows:
        facts = dict(zip(found.columns, row, strict=True))
        config = with_new_names(json.loads(facts.pop("config")))
        runs.append(
            _Run(
                facts,
                config if isinstance(config, dict) else {},
                verdicts.get(facts["run"]),
                cases.get(facts["run"], {}),
            )
        )
    return runs


def _claim(code: str | None, detail: Any) -> _Claim | None:
    """Return None without a claim, and a gain of 0 if no node was better than the root."""
    if isinstance(detail, dict) and "gain" in detail:
        return _Claim(float(detail["gain"]), float(detail["low"]), float(detail["high"]))
    return _Claim(0.0, math.nan, math.nan) if code == "none_better" else None


def _chosen(runs: Sequence[_Run], names: Sequence[str]) -> list[_Run]:
    if not runs:
        raise QueryError(f"the archive holds no run yet; start several with: {command('search')} -m policy=ucb,greedy")
    if names:
        return [run for run in runs if run.facts["run"] in names]
    runs = [run for run in runs if run.facts["evaluations"]] or runs  # a run without evaluations has nothing to compare
    last = runs[-1]
    if last.sweep is not None:
        return [run for run in runs if run.sweep == last.sweep]
    return [run for run in runs if run.facts["task"] == last.facts["task"]]


def _row(members: Sequence[_Run], keys: Sequence[str], apart: Sequence[str]) -> tuple[float, tuple[Any, ...]]:
    """Return (sort key, cells)."""
    first = members[0]
    scores = [float(run.facts["leader_score"]) for run in members if run.facts["leader_score"] is not None]
    best, best_se, _, _ = _mean(scores)
    claims = [run.claim for run in members if run.claim is not None]
    gain, gain_se, low, high = _mean([claim.gain for claim in claims])
    if len(claims) == 1:
        low, high = (None if math.isnan(end) else end for end in (claims[0].low, claims[0].high))
    cells = (
        *(first.value(key) for key in keys),
        *(first.facts[name] for name in apart),
        len(members),
        sum(int(run.facts["evaluations"]) for run in members) / len(members),
        best,
        best_se,
        sum(run.facts["champion"] is not None for run in members),
        gain,
        low,
        high,
        gain_se,
    )
    if best is None:
        return math.inf, cells
    return (best if first.facts["direction"] == "minimise" else -best), cells


def _mean(values: Sequence[float]) -> tuple[float | None, float | None, float | None, float | None]:
    """Return (mean, standard error, low, high); None for what needs more values."""
    if not values:
        return None, None, None, None
    found = mean_interval(values)
    if not isinstance(found, Interval):
        return sum(values) / len(values), None, None, None
    return found.mean, found.deviation / math.sqrt(found.n), found.low, found.high
