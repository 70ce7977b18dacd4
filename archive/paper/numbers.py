"""The numbers of a paper: each has a key, and each key a query on the archive.

    baseline            a quantity of the study
    best@run-1/tuning   the same of a run, a stage, a node: what stands behind the @

A paper holds keys; values are looked up when it is built, and again when it is audited. No query comes from a paper.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from archive.difference import Measurement, compare
from archive.errors import ArchiveError
from archive.interval import NoInterval, mean_interval
from archive.paper.deviations import Registration, deviations, registration
from archive.query.query import Reader
from archive.query.select import Result
from archive.query.tables import digits

Form = Literal["count", "score", "gain", "setting", "text"]
_KEY = re.compile(r"([a-z][a-z.]*)(?:@([\w.+-]+(?:/[\w.+-]+)*))?")
DEVIATIONS = "deviations"
"""The key of the list of deviations, which takes several queries."""
VERDICT = "verdict"
"""The key of what the registered analysis says of the hypothesis: ``supported`` or ``not supported``."""
_OF_SEVERAL = {DEVIATIONS: "see archive/paper/deviations.py", VERDICT: "the queries of gain.low and gain, and the plan"}
"""Keys of texts that take several queries -> what stands for them."""
MISSING = "n/a"
"""The value of a quantity that the archive has no row for."""


class UnknownNumber(ArchiveError):
    """A key that names no quantity."""


@dataclass(frozen=True)
class RememberingReader:
    """Answers each query once: a paper is checked many times on rows that do not change meanwhile."""

    reader: Reader
    _answers: dict[tuple[str, tuple[Any, ...]], Result] = field(default_factory=dict)

    def query(self, sql: str, parameters: Sequence[Any] = ()) -> Result:
        asked = (sql, tuple(parameters))
        if asked not in self._answers:
            self._answers[asked] = self.reader.query(sql, parameters)
        return self._answers[asked]


@dataclass(frozen=True)
class Quantity:
    """A query with its parameters ($1: the study, then the parts behind the @), and what becomes of its rows."""

    sql: str
    form: Form
    reduce: Callable[[Sequence[tuple[Any, ...]], Registration], Any]
    arguments: int = 0


@dataclass(frozen=True)
class Study:
    """A registered study with the archive that has its rows, each of which is read once."""

    reader: Reader
    registered: Registration
    _found: dict[str, Any] = field(default_factory=dict, repr=False, compare=False)
    """Key -> value, of those that were looked up."""

    @classmethod
    def of(cls, reader: Reader, name: str) -> Study:
        """Raises UnknownStudy."""
        remembering = RememberingReader(reader)
        return cls(remembering, registration(remembering, name))

    @property
    def name(self) -> str:
        return self.registered.study

    def value(self, key: str) -> Any:
        """Return the value of a key; None where the archive has no row for it. Raises UnknownNumber."""
        if key not in self._found:
            self._found[key] = self._looked_up(key)
        return self._found[key]

    def _looked_up(self, key: str) -> Any:
        if key == DEVIATIONS:
            return "; ".join(each.words for each in deviations(self.reader, self.name)) or "none"
        if key == VERDICT:
            return "supported" if self.supported else "not supported"
        quantity, arguments = _quantity(key)
        rows = self.reader.query(quantity.sql, [self.name, *arguments]).rows
        return quantity.reduce(rows, self.registered)

    def shown(self, key: str) -> str:
        """Return the value as it is printed. Raises UnknownNumber."""
        value = self.value(key)
        if value is None or (isinstance(value, float) and not math.isfinite(value)):
            return MISSING
        return str(value) if key in _OF_SEVERAL else _FORMS[_quantity(key)[0].form](value)

    def seed_texts(self) -> list[str]:
        """Return the texts of the seed program's files."""
        return [str(text) for (text,) in self.reader.query(_SEED_FILES, [self.name]).rows]

    @property
    def supported(self) -> bool:
        """Whether the interval of the mean gain is above zero, and the mean no smaller than the plan asks."""
        interval, gain = self.interval("gain"), self.value("gain")
        least = self.registered.plan["smallest_gain"] or 0
        return interval is not None and interval[0] > 0 and gain is not None and gain >= least

    def is_text(self, key: str) -> bool:
        return key in _OF_SEVERAL or _quantity(key)[0].form == "text"

    def sql(self, key: str) -> str:
        """Return the query behind a key, for a reader. Raises UnknownNumber."""
        return _OF_SEVERAL.get(key) or " ".join(_quantity(key)[0].sql.split())

    def interval(self, prefix: str) -> tuple[float, float] | None:
        """Return the ends of the interval that two keys give: ``gain`` -> ``gain.low``, ``gain.high``."""
        head, _, rest = prefix.partition("@")
        low, high = (self.value(f"{head}.{end}{'@' if rest else ''}{rest}") for end in ("low", "high"))
        return None if low is None or high is None else (low, high)


def _quantity(key: str) -> tuple[Quantity, list[str]]:
    match = _KEY.fullmatch(key)
    quantity = None if match is None else QUANTITIES.get(match[1])
    arguments = [] if match is None or match[2] is None else match[2].split("/")
    if quantity is None or len(arguments) != quantity.arguments:
        raise UnknownNumber(
            f"there is no number {key!r}; the names are {', '.join(sorted([*QUANTITIES, *_OF_SEVERAL]))}"
        )
    return quantity, arguments


def _decimals(value: float) -> str:
    """Return a difference with four decimals; with significant digits instead where these would cut a small one."""
    return f"{value:.4f}" if value == 0 or abs(value) >= 0.001 else f"{value:.3g}"


_FORMS: dict[Form, Callable[[Any], str]] = {
    "count": lambda value: f"{int(value)}",
    "score": lambda value: digits(float(value)),
    "gain": lambda value: _decimals(float(value) + 0.0),
    "setting": lambda value: f"{float(value):.4g}",
    "text": str,
}


# ---------------------------------------------------------------- queries

_SEED_FILES = """
SELECT DISTINCT s.text FROM study_runs AS r JOIN nodes AS n USING (run) JOIN files AS f USING (node_id)
JOIN sources AS s USING (sha) WHERE r.study = $1 AND n.operator = 'seed'
"""
_MEANS = """
WITH means AS (
    SELECT run, node_id, avg(score) AS score, min(operator) AS operator,
           min(CASE stage WHEN 'baseline' THEN 1 WHEN 'tuning' THEN 2 WHEN 'research' THEN 3 ELSE 4 END) AS place
    FROM study_evaluations
    WHERE study = $1 AND purpose = 'screen' AND score IS NOT NULL AND node_id NOT IN (SELECT node_id FROM suspects)
    GROUP BY run, node_id
)
"""
_BEST = f"""{_MEANS}
SELECT run, if(any_value(r.direction) = 'minimise', min(score), max(score)) FROM means JOIN runs AS r USING (run)
WHERE place <= list_position(['baseline', 'tuning', 'research', 'ablation'], $2) GROUP BY run ORDER BY run
"""
CLAIMS = """
SELECT s.run, list_avg((d.detail -> 'baseline')::DOUBLE[]) AS baseline,
       list_avg((d.detail -> 'champion')::DOUBLE[]) AS final,
       if(r.direction = 'minimise', -1, 1) * coalesce(final - baseline, 0) AS gain,
       (d.detail ->> 'low')::DOUBLE AS low, (d.detail ->> 'high')::DOUBLE AS high, d.kind = 'champion' AS champion
FROM study_runs AS s JOIN runs AS r USING (run) LEFT JOIN (
    SELECT run, arg_max(kind, arrival) AS kind, arg_max(detail, arrival) AS detail
    FROM decisions WHERE kind IN ('champion', 'no_champion') GROUP BY run
) AS d USING (run)
WHERE s.study = $1 AND exists(FROM evaluations AS e WHERE e.run = s.run) ORDER BY s.seed
"""
_ABLATED = """
SELECT e.node_id = $2, e.score FROM study_evaluations AS e
WHERE e.study = $1 AND e.purpose = 'screen' AND e.score IS NOT NULL
    AND e.node_id IN ($2, (SELECT parent_id FROM parents WHERE node_id = $2)) ORDER BY e.arrival
"""


def _first(rows: Sequence[tuple[Any, ...]], _: Registration) -> Any:
    return rows[0][-1] if rows else None


def _column(place: int, statistic: str) -> Callable[[Sequence[tuple[Any, ...]], Registration], Any]:
    """Return a statistic of one column over the runs: mean, low, high (Student's interval at the plan's level)."""

    def reduce(rows: Sequence[tuple[Any, ...]], registered: Registration) -> float | None:
        values = [float(row[place]) for row in rows if row[place] is not None]
        if statistic == "mean":
            return sum(values) / len(values) if values else None
        found = mean_interval(values, registered.plan["level"])
        return None if isinstance(found, NoInterval) else float(getattr(found, statistic))

    return reduce


def _loss(end: str) -> Callable[[Sequence[tuple[Any, ...]], Registration], Any]:
    """Return what a program loses without one change, or an end of the interval of that."""

    def reduce(rows: Sequence[tuple[Any, ...]], registered: Registration) -> float | None:
        whole, without = ([Measurement(score) for taken, score in rows if taken is side] for side in (False, True))
        if not whole or not without:
            return None
        plan = registered.plan
        exact = bool(plan["identity"]["task"].get("deterministic"))
        found = compare(without, whole, plan["direction"], plan["level"], deterministic=exact)
        return None if isinstance(found, NoInterval) else float(getattr(found, end))

    return reduce


def _from_plan(name: str) -> Callable[[Sequence[tuple[Any, ...]], Registration], Any]:
    return lambda rows, registered: registered.plan[name]


def _of_run(place: int) -> Callable[[Sequence[tuple[Any, ...]], Registration], Any]:
    return lambda rows, _: rows[0][place] if rows else None


_PLAN = "SELECT plan FROM studies WHERE study = $1"
_COUNT = "SELECT count(*) FROM study_evaluations WHERE study = $1"
_CLAIM = f"SELECT * FROM ({CLAIMS}) WHERE run = $2"

QUANTITIES: dict[str, Quantity] = {
    "plan.evaluations": Quantity(_PLAN, "count", _from_plan("evaluations")),
    "plan.percent": Quantity(_PLAN, "setting", lambda rows, registered: 100 * registered.plan["level"]),
    "plan.smallest": Quantity(_PLAN, "setting", _from_plan("smallest_gain")),
    "plan.patience": Quantity(_PLAN, "count", _from_plan("patience")),
    "plan.stage": Quantity("SELECT plan -> '$.stages' ->> $2 FROM studies WHERE study = $1", "count", _first, 1),
    "plan.digest": Quantity("SELECT digest[:16] FROM studies WHERE study = $1", "text", _first),
    "plan.seconds": Quantity(_PLAN, "setting", lambda rows, registered: registered.plan["identity"]["task"]["seconds"]),
    "runs": Quantity("SELECT count(*) FROM study_runs WHERE study = $1", "count", _first),
    "runs.made": Quantity(
        "SELECT count(DISTINCT run) FROM study_evaluations WHERE study = $1", "count", _first
    ),
    "runs.champion": Quantity(f"SELECT count(*) FROM ({CLAIMS}) WHERE champion", "count", _first),
    "evaluations": Quantity(_COUNT, "count", _first),
    "evaluations.failed": Quantity(f"{_COUNT} AND score IS NULL", "count", _first),
    "evaluations.stage": Quantity(f"{_COUNT} AND stage = $2", "count", _first, 1),
    "evaluations.run": Quantity(f"{_COUNT} AND run = $2", "count", _first, 1),
    "failed.run": Quantity(f"{_COUNT} AND run = $2 AND score IS NULL", "count", _first, 1),
    "baseline": Quantity(f"{_MEANS} SELECT avg(score) FROM means WHERE operator = 'seed'", "score", _first),
    "best.mean": Quantity(_BEST, "score", _column(1, "mean"), 1),
    "best.low": Quantity(_BEST, "score", _column(1, "low"), 1),
    "best.high": Quantity(_BEST, "score", _column(1, "high"), 1),
    "best": Quantity(f"SELECT * FROM ({_BEST.replace('$2', '$3')}) WHERE run = $2", "score", _first, 2),
    "claim.baseline": Quantity(_CLAIM, "score", _of_run(1), 1),
    "claim.final": Quantity(_CLAIM, "score", _of_run(2), 1),
    "claim.gain": Quantity(_CLAIM, "gain", _of_run(3), 1),
    "claim.gain.low": Quantity(_CLAIM, "gain", _of_run(4), 1),
    "claim.gain.high": Quantity(_CLAIM, "gain", _of_run(5), 1),
    "gain": Quantity(CLAIMS, "gain", _column(3, "mean")),
    "gain.low": Quantity(CLAIMS, "gain", _column(3, "low")),
    "gain.high": Quantity(CLAIMS, "gain", _column(3, "high")),
    "final": Quantity(CLAIMS, "score", _column(2, "mean")),
    "loss": Quantity(_ABLATED, "gain", _loss("gain"), 1),
    "loss.low": Quantity(_ABLATED, "gain", _loss("low"), 1),
    "loss.high": Quantity(_ABLATED, "gain", _loss("high"), 1),
}  # fmt: skip
