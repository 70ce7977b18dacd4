"""What came of the searches of ``peers.py``: means, and paired differences from the default search with intervals."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from archive.interval import Interval, mean_interval

Row = Mapping[str, Any]
OURS = "treewright"
NO_BETTER = 1e-3
"""A true gain up to this is none."""


def tasks_report(rows: Sequence[Row]) -> dict[str, dict[str, dict[str, Any]]]:
    """Return by task and system: the figures of its searches."""
    found: dict[str, dict[str, dict[str, Any]]] = {}
    for task in dict.fromkeys(row["task"] for row in rows):
        of_task = [row for row in rows if row["task"] == task]
        found[task] = {
            system: _figures([row for row in of_task if row["system"] == system], of_task)
            for system in dict.fromkeys(row["system"] for row in of_task)
        }
    return found


def _figures(rows: Sequence[Row], others: Sequence[Row]) -> dict[str, Any]:
    """Return means over the seeds: gains are true ones of what is handed over, on the seed program."""
    made = sum(row["evaluations"] for row in rows)
    too_much = [row["over_claim"] for row in rows if row["claimed"]]
    false = [row["claimed"] and row["gain"] <= NO_BETTER for row in rows]
    return {
        "seeds": len(rows),
        "gain": statistics.fmean(row["gain"] for row in rows),
        "behind": difference(rows, others, lambda row: float(row["gain"])),
        "over_claim": statistics.fmean(too_much) if too_much else None,
        "claimed": sum(row["claimed"] for row in rows),
        "false_claims": sum(false),
        "evaluations": made / len(rows),
        "nodes_per_hour": 3600 * made / sum(row["seconds"] for row in rows),
        "cpu_per_node": sum(row["cpu"] for row in rows) / made,
        "bytes_per_node": sum(row["bytes"] for row in rows) / made,
    }


def difference(rows: Sequence[Row], others: Sequence[Row], figure: Callable[[Row], float]) -> list[float] | None:
    """Return the mean of ours less theirs over common seeds, with Student's interval; None for ours or one seed."""
    ours = {row["seed"]: figure(row) for row in others if row["system"] == OURS}
    pairs = [ours[row["seed"]] - figure(row) for row in rows if row["seed"] in ours]
    found = mean_interval(pairs) if rows[0]["system"] != OURS and len(pairs) > 1 else None
    return [found.mean, found.low, found.high] if isinstance(found, Interval) else None


def tables_report(rows: Sequence[Row]) -> dict[str, dict[str, Any]]:
    """Return by system: mean log10 percentiles, and differences with intervals over the means of the tables."""
    return {
        system: {
            figure: statistics.fmean(row[figure] for row in rows if row["system"] == system)
            for figure in ("best", "picked")
        }
        | {f"{figure}_behind": _by_table(rows, system, figure) for figure in ("best", "picked")}
        for system in dict.fromkeys(row["system"] for row in rows)
    }


def _by_table(rows: Sequence[Row], system: str, figure: str) -> list[float] | None:
    """Return theirs less ours, so that a positive difference is a lead of ours here, too."""

    def mean(name: str, table: str) -> float:
        return statistics.fmean(row[figure] for row in rows if (row["system"], row["task"]) == (name, table))

    names = dict.fromkeys(row["task"] for row in rows)
    if system == OURS or len(names) < 2 or OURS not in {row["system"] for row in rows}:
        return None
    found = mean_interval([mean(system, table) - mean(OURS, table) for table in names])
    return [found.mean, found.low, found.high] if isinstance(found, Interval) else None


def markdown(tasks: Mapping[str, Mapping[str, Mapping[str, Any]]]) -> str:
    """Return a table of the tasks."""
    lines = [
        "| task | system | true gain | ours less theirs, 95% | over-claim | claims (false) of runs | evaluations "
        "| nodes an hour | CPU s a node | kB a node |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for task, systems in tasks.items():
        for system, one in sorted(systems.items(), key=lambda item: -item[1]["gain"]):
            claims = f"{one['claimed']} ({one['false_claims']}) of {one['seeds']}"
            lines.append(
                f"| {task} | {system} | {one['gain']:.4f} | {_interval(one['behind'])} | {_signed(one['over_claim'])} "
                f"| {claims} | {one['evaluations']:.1f} | {one['nodes_per_hour']:.0f} | {one['cpu_per_node']:.2f} "
                f"| {one['bytes_per_node'] / 1000:.1f} |"
            )
    return "\n".join(lines)


def tables_markdown(tables: Mapping[str, Mapping[str, Any]]) -> str:
    lines = ["| system | best | ours ahead by, 95% | picked | ours ahead by, 95% |", "|---|---|---|---|---|"]
    lines += [
        f"| {system} | {one['best']:.2f} | {_interval(one['best_behind'])} | {one['picked']:.2f} | "
        f"{_interval(one['picked_behind'])} |"
        for system, one in tables.items()
    ]
    return "\n".join(lines)


def _signed(number: float | None) -> str:
    return "" if number is None else f"{number:+.4f}"


def _interval(found: Sequence[float] | None) -> str:
    return "" if found is None else f"{found[0]:+.4f} ({found[1]:+.4f} to {found[2]:+.4f})"
