"""Parts of the page that it loads when a view needs them: calls, cases, failures, refusals, and analyses.

An analysis is a function of another package, found by the entry point of this project that names it: what it reads of a
program, this package does not know how to read. Entry points of other projects are ignored.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from importlib.metadata import PackageNotFoundError, distribution
from typing import Any

from archive.query.query import Reader, held
from archive.query.texts import chunks
from archive.report.calls import calls, moves_in_order, texts
from archive.report.details import SHOWN_CASES, all_cases, program
from archive.report.failures import failures, refusals
from archive.report.heatmap import heatmap

Analysis = Callable[[Reader, str], Any]
"""A function of an archive and a run's name; returns plain JSON values."""
GROUP = "treewright.report"
_OURS = ("operators", "search", "train")
_PARTS: Mapping[str, Analysis] = {"calls": calls, "cases": heatmap, "failures": failures, "refusals": refusals}
_AT_ONCE = 50
"""Programs and texts that are read while a free file stays open: a search waits meanwhile."""
_TEXTS = re.compile(r"texts-([0-9]{1,9})")
_FILES = re.compile(r"files-([0-9a-zA-Z]{1,64})")
_CASES_OF = re.compile(r"cases-([0-9a-zA-Z]{1,64})")


def installed_analyses() -> dict[str, Analysis]:
    """Return the analyses that this project's own entry points name; none where it is not installed."""
    try:
        points = distribution("treewright").entry_points.select(group=GROUP)
    except PackageNotFoundError:
        return {}
    return {point.name: point.load() for point in points if point.module.partition(".")[0] in _OURS}


def part(reader: Reader, run: str, name: str, analyses: Mapping[str, Analysis]) -> Any:
    """Return a part of the page by its name; None if there is no such part. Raises ArchiveError."""
    with held(reader) as one:
        if (found := _TEXTS.fullmatch(name)) is not None:
            return texts(one, run, [int(found[1])])[int(found[1])]
        if (found := _FILES.fullmatch(name)) is not None:
            return program(one, found[1])
        if (found := _CASES_OF.fullmatch(name)) is not None:
            return all_cases(one, found[1])
        make = _PARTS.get(name) or analyses.get(name)
        return None if make is None else make(one, run)


def all_parts(
    reader: Reader, run: str, analyses: Mapping[str, Analysis], programs: Iterable[str] = ()
) -> Iterator[tuple[str, Any]]:
    """Yield (name, part) of all parts: the texts of calls come last, those of the best lineage first.

    Args:
        programs: Ids of the nodes whose programs are parts, too.
    """
    with held(reader) as one:
        found = {name: part(one, run, name, analyses) for name in (*_PARTS, *analyses)}
    yield from found.items()
    more = found["cases"]["nodes"] if found["cases"]["all_cases"] > SHOWN_CASES else ()
    named = [*(f"files-{node_id}" for node_id in programs), *(f"cases-{node_id}" for node_id in more)]
    for some in chunks(named, _AT_ONCE):
        with held(reader) as one:
            made = [(name, part(one, run, name, analyses)) for name in some]
        yield from (each for each in made if each[1] is not None)
    for moves in chunks(list(moves_in_order(found["calls"])), _AT_ONCE):
        with held(reader) as one:
            said = texts(one, run, moves)
        yield from ((f"texts-{move}", said[move]) for move in moves)
