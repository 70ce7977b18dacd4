"""``python -m search explain ID``: what each difference of a node from the seed program is worth.

An estimate from all scores of the node's run (``operators/analysis/explain.py``); nothing is trained and nothing is
written."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from archive.errors import ArchiveError
from archive.storage.store import Archive
from operators.analysis.explain import Explanation, explained
from search.cli.ablate import AblationError, located
from search.display.live import clean
from search.settings import SettingsError

_ARCHIVE = "treewright.duckdb"
_WIDTH = 64
_DESCRIPTION = """\
What is each difference of a node from the seed program worth? An estimate, by the scores of all programs of its run
that have it and all that lack it. Nothing is trained; `python -m search ablate ID` measures it.
"""


def explain(arguments: Sequence[str]) -> int:
    """Returns the exit status: 0 done, 1 it could not be done. Raises SettingsError."""
    parser = argparse.ArgumentParser(
        prog="python -m search explain",
        usage="python -m search explain ID [archive=FILE]",
        description=_DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("node", metavar="ID", help="any start of a node's id that fits one node")
    parser.add_argument("overrides", metavar="archive=FILE", nargs="*", help="the archive (treewright.duckdb)")
    options = parser.parse_args(arguments)
    if strange := [word for word in options.overrides if not word.startswith("archive=")]:
        raise SettingsError(f"{strange[0]}: only archive= can be set here")
    named = [word.partition("=")[2] for word in options.overrides]
    try:
        print(_told(Path(named[-1] if named else _ARCHIVE), options.node))
    except (AblationError, ArchiveError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


def _told(path: Path, start: str) -> str:
    if not path.exists():
        raise AblationError(f"there is no archive {path}; name it with archive=FILE")
    with Archive.open(path) as archive:
        _, node_id, tree = located(archive, start)
        found = explained(tree, node_id)
        if found is None:
            raise AblationError(f"too few programs of {tree.run!r} are scored to tell: 8 are needed")
        return told(node_id, found)


def told(node_id: str, found: Explanation) -> str:
    """What helps most first, a line each."""
    if not found.genes:
        return f"{node_id[:8]} differs from the seed program in nothing that the scores could tell of."
    lines = [
        f"By the scores of {found.programs} programs, {node_id[:8]} is better by so many deviations of the scores than "
        "it would be without"
    ]
    for gene in found.genes:
        whose = f"{gene.node_id[:8]} " if gene.node_id else ""
        words = clean(whose + gene.words, _WIDTH)
        lines.append(f"  {words:<{_WIDTH}} {gene.gain:+.2f} ± {gene.deviation:.2f}  {gene.verdict}")
    lines.append(f"An estimate: nothing was trained for it. python -m search ablate {node_id[:8]} measures it.")
    return "\n".join(lines)
