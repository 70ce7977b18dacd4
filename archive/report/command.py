"""``python -m archive report --out FILE [--plots FOLDER]``: the page as one file, and its plots as PNG and SVG."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from archive.errors import ArchiveError
from archive.query.query import Reader
from archive.report.details import details
from archive.report.facts import gather
from archive.report.page import RunData, offline_page
from archive.report.parts import Analysis, all_parts, installed_analyses
from archive.storage.outputs import check_output

MOST_RUNS = 100
"""Further runs on a page: each takes about half a second to read."""


@dataclass(frozen=True)
class Written:
    """The written files and the number of nodes."""

    run: str
    nodes: int
    files: tuple[Path, ...]


def write_report(
    reader: Reader,
    run: str | None,
    out: Path,
    plots: Path | None = None,
    analyses: Mapping[str, Analysis] | None = None,
    alone: bool = False,
) -> Written:
    """Write the page of a run (default: the most recently active one) to ``out``, atomically.

    Args:
        analyses: Further parts of the page by name (default: those that are installed).
        alone: Leave the archive's other runs out; else the page holds those that fit, the smallest first.

    Raises ArchiveError for a place that cannot be written or is an archive, or plots without what draws them.
    """
    check_output(out)
    facts = gather(reader, run)
    nodes = facts["nodes"]
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        descriptor, name = tempfile.mkstemp(dir=out.parent, prefix=f".{out.name}-", suffix=".part")
        unfinished = Path(name)
        try:
            with os.fdopen(descriptor, "w", encoding="utf-8") as file:
                read = installed_analyses() if analyses is None else analyses
                others = () if alone else _others(reader, facts, read)
                file.writelines(offline_page(_data(reader, facts, read), others))
            unfinished.chmod(0o644 & ~_umask())
            unfinished.replace(out)
        finally:
            unfinished.unlink(missing_ok=True)
    except OSError as error:
        raise ArchiveError(f"the report cannot be written to {out}: {error}") from error
    files = [out]
    if plots is not None:
        from archive.report.plots import draw

        files += draw(facts, plots)
    return Written(str(facts["run"]["run"]), len(nodes["id"]), tuple(files))


def _others(reader: Reader, facts: Mapping[str, Any], analyses: Mapping[str, Analysis]) -> Iterator[RunData]:
    """Yield the data of the archive's other runs with candidates, the smallest first."""
    listed = [each for each in facts["runs"] if each["run"] != facts["run"]["run"] and each["candidates"]]
    for each in sorted(listed, key=lambda each: int(each["candidates"]))[:MOST_RUNS]:
        yield _data(reader, gather(reader, each["run"]), analyses)


def _data(reader: Reader, facts: Mapping[str, Any], analyses: Mapping[str, Analysis]) -> RunData:
    """Return a run's data; of programs those of roots and of nodes with a cut diff: others follow from the diffs."""
    ids, parents = facts["nodes"]["id"], facts["nodes"]["parents"]
    whole = [node_id for node_id, above in zip(ids, parents, strict=True) if not above]

    def noted() -> Iterator[dict[str, Any]]:
        for node_id, detail in zip(ids, details(reader, ids, parents), strict=True):
            if detail["cut"]:
                whole.append(node_id)
            yield detail

    return RunData(facts, noted(), all_parts(reader, facts["run"]["run"], analyses, whole))


def _umask() -> int:
    """Return the process's umask, which can only be read by setting it."""
    mask = os.umask(0o077)
    os.umask(mask)
    return mask
