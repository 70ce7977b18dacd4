"""Figures and tables of a paper: drawn by this code from rows of the archive, and from nothing else."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from archive.errors import ArchiveError
from archive.paper.markup import escape
from archive.paper.numbers import Study
from archive.records import Stage

STAGES: tuple[Stage, ...] = ("baseline", "tuning", "research", "ablation")
_COLOURS = ("#0969da", "#bc4c00", "#1a7f37", "#8250df", "#cf222e", "#57606a", "#9a6700", "#bf3989")
_SPAN = 2.0
"""Height of the axis of scores in Figure 1, in heights of the lines of the best."""
_INK, _GRID = "#24292f", "#d0d7de"
Rows = list[tuple[Any, ...]]


@dataclass(frozen=True)
class Figure:
    """A figure: the query of its rows, their columns, its caption, and how it is drawn."""

    sql: str
    columns: tuple[str, ...]
    caption: Callable[[Study], str]
    paint: Callable[[Any, Rows, Study], None]
    height: float = 2.4

    def rows(self, study: Study) -> Rows:
        return study.reader.query(self.sql, [study.name]).rows


# ---------------------------------------------------------------- rows

_PROGRESS = """
SELECT e.run, e.search_seed, row_number() OVER w AS evaluation, e.stage, e.score,
       CASE r.direction WHEN 'minimise' THEN min(e.score) OVER w ELSE max(e.score) OVER w END AS best
FROM study_evaluations AS e JOIN runs AS r USING (run)
WHERE e.study = $1 AND e.purpose = 'screen'
WINDOW w AS (PARTITION BY e.run ORDER BY e.arrival)
ORDER BY e.search_seed, e.arrival
"""
ABLATED = """
SELECT e.search_seed, e.run, e.node_id, any_value(e.idea) AS change, avg(e.score) AS score, count(*) AS evaluations
FROM study_evaluations AS e
WHERE e.study = $1 AND e.stage = 'ablation' AND e.operator = 'revert'
GROUP BY e.search_seed, e.run, e.node_id ORDER BY e.search_seed, min(e.arrival)
"""
_CURVES = """
SELECT e.run, e.search_seed, e.node_id, e.operator = 'seed' AS baseline, c.step, c.loss
FROM study_evaluations AS e JOIN curves AS c USING (node_id, purpose)
WHERE e.study = $1 AND e.purpose = 'report' AND c.loss IS NOT NULL ORDER BY e.search_seed, e.node_id, c.step
"""


_SCALING = """
WITH sizes AS (
    SELECT s.run, s.seed, e.node_id, any_value((e.metrics ->> 'parameters')::DOUBLE) AS parameters,
           avg(e.score) AS score, count(*) AS evaluations
    FROM study_runs AS s JOIN evaluations AS e USING (run)
    WHERE s.study = $1 AND e.purpose = 'screen' AND e.score IS NOT NULL AND e.metrics ->> 'parameters' IS NOT NULL
    GROUP BY s.run, s.seed, e.node_id
)
FROM sizes WHERE (SELECT count(DISTINCT parameters) FROM sizes) >= 3 ORDER BY seed, parameters, node_id
"""


def _change(idea: str) -> str:
    """Return ``STEPS = 400`` of ``without: STEPS = 400 (baseline: STEPS = 100)``."""
    return idea.removeprefix("without: ").split(" (baseline")[0]


# ---------------------------------------------------------------- figures


def _is_beyond(score: float | None, edge: float | None, larger: bool) -> bool:
    return score is not None and edge is not None and (score < edge if larger else score > edge)


def _worst_drawn(rows: Rows, larger: bool) -> float | None:
    """Return the end of the axis of scores, twice the height of the lines from the best; None if all lie within it.

    ``larger``: whether larger scores are better.
    """
    best = [row[5] for row in rows if row[5] is not None]
    height = _SPAN * (max(best, default=0.0) - min(best, default=0.0))
    edge = max(best, default=0.0) - height if larger else min(best, default=0.0) + height
    return edge if height > 0 and any(_is_beyond(row[4], edge, larger) for row in rows) else None


def _larger_is_better(study: Study) -> bool:
    return bool(study.registered.plan["direction"] == "maximise")


def _of_progress(study: Study) -> str:
    rows = FIGURES["progress"].rows(study)
    words = (
        "Every screening (dots) and the best so far (lines), by the seed of the search. Failed evaluations have no dot."
    )
    larger = _larger_is_better(study)
    edge = _worst_drawn(rows, larger)
    beyond = sum(_is_beyond(row[4], edge, larger) for row in rows)
    return f"{words} Triangles at the edge: {beyond} worse than the axis shows." if beyond else words


def _progress(axes: Any, rows: Rows, study: Study) -> None:
    larger = _larger_is_better(study)
    edge = _worst_drawn(rows, larger)
    for place, run in enumerate(dict.fromkeys(row[0] for row in rows)):
        own = [row for row in rows if row[0] == run]
        colour = _COLOURS[place % len(_COLOURS)]
        scored = [row for row in own if row[4] is not None]
        for shape, beyond in ((".", False), ("v" if larger else "^", True)):
            dots = [row for row in scored if _is_beyond(row[4], edge, larger) is beyond]
            heights = [edge if beyond else row[4] for row in dots]
            axes.plot([row[2] for row in dots], heights, shape, color=colour, alpha=0.35, markersize=4)
        axes.step(
            [row[2] for row in scored],
            [row[5] for row in scored],
            where="post",
            color=colour,
            label=f"seed {own[0][1]}",
        )
    axes.set_xlabel("evaluation")
    axes.set_ylabel(_metric(study))
    axes.legend(frameon=False, fontsize=7)


def _stages(axes: Any, rows: Rows, study: Study) -> None:
    runs = list(dict.fromkeys(row[0] for row in rows))
    for place, run in enumerate(runs):
        last = {row[3]: row[5] for row in rows if row[0] == run}
        there = [stage for stage in STAGES if stage in last]
        axes.plot(
            there,
            [last[stage] for stage in there],
            "o-",
            color=_COLOURS[place % len(_COLOURS)],
            markersize=4,
            linewidth=1,
        )
    axes.set_xlabel("stage")
    axes.set_ylabel(f"best {_metric(study)}")


def _ablation(axes: Any, rows: Rows, study: Study) -> None:
    for place, (seed, _, node_id, *_) in enumerate(rows):
        loss = study.value(f"loss@{node_id}")
        if loss is None:
            continue
        seeds = sorted({row[0] for row in rows})
        ends = study.value(f"loss.low@{node_id}"), study.value(f"loss.high@{node_id}")
        spread = None if None in ends else [[loss - ends[0]], [ends[1] - loss]]
        colour = _COLOURS[seeds.index(seed) % len(_COLOURS)]
        axes.barh([place], [loss], xerr=spread, color=colour, height=0.7, error_kw={"linewidth": 0.8})
    axes.set_yticks(range(len(rows)), [_plain(f"{row[0]}: {_change(row[3])}") for row in rows], fontsize=6)
    axes.invert_yaxis()
    axes.axvline(0, color=_INK, linewidth=0.8)
    axes.set_xlabel(f"loss of {_metric(study)} without the change")


def _curves(axes: Any, rows: Rows, study: Study) -> None:
    for key in dict.fromkeys((row[0], row[2]) for row in rows):
        own = [row for row in rows if (row[0], row[2]) == key]
        axes.plot(
            [row[4] for row in own], [row[5] for row in own], color=_INK if own[0][3] else _COLOURS[0], linewidth=0.8
        )
    axes.set_xlabel("step")
    axes.set_ylabel("reported training loss")


def _scaling(axes: Any, rows: Rows, study: Study) -> None:
    for place, seed in enumerate(dict.fromkeys(row[1] for row in rows)):
        own = [row for row in rows if row[1] == seed]
        colour = _COLOURS[place % len(_COLOURS)]
        axes.plot(
            [row[3] for row in own], [row[4] for row in own], "o", color=colour, markersize=3, label=f"seed {seed}"
        )
    axes.set_xscale("log")
    axes.set_xlabel("parameters")
    axes.set_ylabel(_metric(study))
    axes.legend(frameon=False, fontsize=7)


def _plain(text: str) -> str:
    return text.replace("$", r"\$")[:40]


def _metric(study: Study) -> str:
    unit = study.registered.plan["identity"]["task"]["metric"].get("unit")
    return _plain(f"{study.registered.plan['metric']}{f' ({unit})' if unit else ''}")


FIGURES: Mapping[str, Figure] = {
    "progress": Figure(
        _PROGRESS, ("run", "seed", "evaluation", "stage", "score", "best"),
        _of_progress, _progress,
    ),
    "stages": Figure(
        _PROGRESS, ("run", "seed", "evaluation", "stage", "score", "best"),
        lambda _: "The best score at the end of each stage, one line for each seed of the search.", _stages, 2.1,
    ),
    "ablation": Figure(
        ABLATED, ("seed", "run", "node", "change", "score", "evaluations"),
        lambda study: "What the best program of each run (seed before the colon) loses when one of its changes is "
        "taken back to the baseline" + ("." if _exact(study) else r", with \tw{plan.percent}\% intervals."),
        _ablation, 3.6,
    ),
    "curves": Figure(
        _CURVES, ("run", "seed", "node", "baseline", "step", "loss"),
        lambda _: "Training loss of the claims' evaluations as the programs report it: "
        "baseline dark, final programs in colour.",
        _curves,
    ),
    "scaling": Figure(
        _SCALING, ("run", "seed", "node", "parameters", "score", "evaluations"),
        lambda _: "Mean score of each screened program over the number of its parameters, by the seed of the search.",
        _scaling,
    ),
}  # fmt: skip


def _exact(study: Study) -> bool:
    return bool(study.registered.plan["identity"]["task"].get("deterministic"))


def as_csv(name: str, study: Study) -> str:
    """Return the rows of a figure as they are kept beside it."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(FIGURES[name].columns)
    writer.writerows(FIGURES[name].rows(study))
    return out.getvalue()


def draw(name: str, study: Study, folder: Path) -> None:
    """Write NAME.pdf, NAME.png and NAME.csv. Raises ArchiveError without matplotlib."""
    try:
        import matplotlib as mpl
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure as Canvas
    except ImportError as error:
        raise ArchiveError(
            f"figures need matplotlib ({error}); install it with: pip install 'treewright[plots]'"
        ) from error
    figure = FIGURES[name]
    with mpl.rc_context({**mpl.rcParamsDefault, "pdf.compression": 0}):  # equal rows give equal files
        canvas = Canvas(figsize=(3.4, figure.height), layout="constrained")
        FigureCanvasAgg(canvas)
        axes = canvas.add_subplot()
        axes.tick_params(labelsize=7)
        axes.grid(color=_GRID, linewidth=0.5)
        axes.set_axisbelow(True)
        axes.spines[["top", "right"]].set_visible(False)
        figure.paint(axes, figure.rows(study), study)
        for label in (axes.xaxis.label, axes.yaxis.label):
            label.set_fontsize(8)
        canvas.savefig(folder / f"{name}.pdf", metadata={"CreationDate": None})
        canvas.savefig(folder / f"{name}.png", dpi=200)
    (folder / f"{name}.csv").write_text(as_csv(name, study), encoding="utf-8")


# ---------------------------------------------------------------- tables


@dataclass(frozen=True)
class PaperTable:
    """A table: its head and rows as LaTeX cells, and its caption."""

    head: Sequence[str]
    rows: Sequence[Sequence[str]]
    caption: str
    columns: str


def _runs(study: Study) -> PaperTable:
    """Every registered run, also one that was not made."""
    rows = []
    for run, seed in study.registered.runs.items():
        made = study.value(f"evaluations.run@{run}") > 0
        figures = [rf"\tw{{best@{run}/{stage}}}" for stage in ("tuning", "research")]
        claim = [rf"\tw{{claim.{what}@{run}}}" for what in ("baseline", "final", "gain")]
        counts = [rf"\tw{{evaluations.run@{run}}}", rf"\tw{{failed.run@{run}}}"]
        rows.append([escape(run), str(seed), *counts, *(figures + claim if made else ["--"] * 5), _verdict(study, run)])
    head = ["run", "seed", "evals", "failed", "tuning", "research", "baseline", "final", "gain", "verdict"]
    words = (
        "Every registered run: evaluations, those that failed, the best screening after tuning and after research, and "
        "the claim: baseline and final program on data that the search did not see, or repeated where the task has no "
        "other."
    )
    return PaperTable(head, rows, words, "lrrrrrrrrl")


def _verdict(study: Study, run: str) -> str:
    sql = (
        "SELECT kind, code FROM decisions WHERE run = ? AND kind IN ('champion', 'no_champion') "
        "ORDER BY arrival DESC LIMIT 1"
    )
    found = study.reader.query(sql, [run]).rows
    if not found:
        return "none"
    kind, code = found[0]
    return escape(
        f"{'champion' if kind == 'champion' else 'no champion'}{f' ({code})' if code else ''}".replace("_", " ")
    )


def _ablations(study: Study) -> PaperTable:
    rows = [
        [str(seed), rf"\texttt{{{escape(_change(idea))}}}", *_loss(study, node_id)]
        for seed, _, node_id, idea, _, _ in study.reader.query(ABLATED, [study.name]).rows
    ]
    words = "The loss when one change is taken back, in the unit of the metric: positive where the change helped."
    return PaperTable(["seed", "change", "loss"], rows, words, "rlr")


def _loss(study: Study, node_id: str) -> list[str]:
    if study.value(f"loss@{node_id}") is None:
        return ["failed"]
    if _exact(study) or study.value(f"loss.low@{node_id}") is None:
        return [rf"\tw{{loss@{node_id}}}"]
    return [rf"\tw{{loss@{node_id}}} [\tw{{loss.low@{node_id}}}, \tw{{loss.high@{node_id}}}]"]


def _settings(study: Study) -> PaperTable:
    plan = study.registered.plan
    identity = plan["identity"]
    facts = {
        "task": plan["task"],
        "metric": f"{plan['metric']}, {plan['direction']}",
        "evaluations": f"{plan['evaluations']} at most",
        "stages": ", ".join(f"{stage} {plan['stages'][stage]}" for stage in STAGES),
        "seeds": ", ".join(map(str, plan["seeds"])),
        "seconds": f"{identity['task']['seconds']} of an evaluation",
        "operators": ", ".join(sorted(identity["operators"])),
        "policy": _policy(identity["policy"]["within"]),
        "stopping": f"{plan['patience']} without a new best" if plan["patience"] else "budget of the stage",
        "level": str(plan["level"]),
        "smallest gain": "any" if plan["smallest_gain"] is None else str(plan["smallest_gain"]),
        **_machine(study),
    }
    return PaperTable(["setting", "value"], [[escape(name), escape(value)] for name, value in facts.items()],
                 "The registered settings, and where the evaluations ran.", "lp{0.62\\columnwidth}")  # fmt: skip


def _policy(settings: Mapping[str, Any]) -> str:
    """Return a policy in words: ``flat ucb`` of the class ``FlatUcb``, which scores the nodes of a composed policy."""
    part = settings.get("score") or settings
    name = str(part.get("_target_", "none") if isinstance(part, Mapping) else part).rpartition(".")[2]
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", " ", name).lower()


def _machine(study: Study) -> dict[str, str]:
    """Return hardware, sandbox and trust as the evaluations have them."""
    sql = (
        "SELECT string_agg(DISTINCT hardware, '; ' ORDER BY hardware), "
        "string_agg(DISTINCT sandbox, ', ' ORDER BY sandbox), string_agg(DISTINCT e.trust, ', ' ORDER BY e.trust) "
        "FROM evaluations AS e JOIN study_runs USING (run) WHERE study = ?"
    )
    ((hardware, sandbox, trust),) = study.reader.query(sql, [study.name]).rows
    return {"hardware": hardware or "none", "sandbox": sandbox or "none", "trust": trust or "none"}


TABLES: Mapping[str, Callable[[Study], PaperTable]] = {"runs": _runs, "ablation": _ablations, "settings": _settings}
WIDE = ("runs",)
"""Tables that span both columns."""
