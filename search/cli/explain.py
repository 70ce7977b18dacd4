"""``python -m search explain ID``: a node's gain by case, and by each parameter that differs from the seed's.

By case the gain is that of the recorded scores; by parameter it is an estimate from the scores of the node's run
(``operators/numeric/parameter_effects.py``). No evaluation is made and nothing is written.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from archive.difference import compare, gains_by_case, measurements
from archive.errors import ArchiveError
from archive.interval import NoInterval
from archive.storage.store import Archive
from archive.tree import Tree
from operators.numeric.parameter_effects import Explanation, explain_parameters
from operators.numeric.proposer.proposals import WARM
from prepare.command_line import command
from prepare.config import SettingsError
from prepare.output import Parser
from search.cli.ablate import AblationError, located
from search.cli.terminal import show, show_error, show_json
from search.display.live import clean

_ARCHIVE = "treewright.duckdb"
_WIDTH = 64
_DESCRIPTION = """\
Estimate how much a node gains by each parameter whose value differs from the seed program's, from the scores of all
programs of its run with the same code; where the task has cases, print the gain paired by case, too. No evaluation is
made; `python -m search ablate ID` measures, changes of the code included.
"""


def explain(arguments: Sequence[str]) -> int:
    """Run the command. Returns the exit status: 0 done, 1 failed. Raises SettingsError."""
    parser = Parser(
        prog="python -m search explain",
        usage="python -m search explain ID [archive=FILE] [--json]",
        description=_DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("node", metavar="ID", help="a prefix of a node's id that matches exactly one node")
    parser.add_argument("--json", action="store_true", help="print an object")
    parser.add_argument("overrides", metavar="archive=FILE", nargs="*", help="the archive (treewright.duckdb)")
    options = parser.parse_intermixed_args(arguments)
    if strange := [word for word in options.overrides if not word.startswith("archive=")]:
        raise SettingsError(f"{strange[0]}: only archive= can be set here")
    named = [word.partition("=")[2] for word in options.overrides]
    try:
        path = Path(named[-1] if named else _ARCHIVE).expanduser()
        if options.json:
            show_json(facts(path, options.node))
        else:
            show(_explained(path, options.node))
    except (AblationError, ArchiveError) as error:
        show_error(error)
        return 1
    return 0


def _explained(path: Path, start: str) -> str:
    if not path.exists():
        raise AblationError(f"there is no archive {path}; name it with archive=FILE")
    with Archive.open(path) as archive:
        _, node_id, tree = located(archive, start)
        found, paired = explain_parameters(tree, node_id), by_case(tree, node_id)
        if found is None and paired:
            return "\n".join(paired)
        if found is None:
            raise AblationError(
                f"too few programs of {tree.run!r} with the code of {node_id[:8]} are scored: {WARM} are needed. "
                f"{command('search', 'ablate')} {node_id[:8]} measures instead."
            )
        return "\n".join([*paired, described(node_id, found)])


def facts(path: Path, start: str) -> dict[str, object]:
    """Return what the scores tell of a node as plain values. ``parameters`` is None with too few programs.

    Raises AblationError and ArchiveError.
    """
    if not path.exists():
        raise AblationError(f"there is no archive {path}; name it with archive=FILE")
    with Archive.open(path) as archive:
        run, node_id, tree = located(archive, start)
        found = explain_parameters(tree, node_id)
        sides = [measurements(tree.comparable(each)) for each in (tree.root, node_id)]
        gain = compare(sides[0], sides[1], tree.direction, deterministic=tree.deterministic)
        return {
            "run": run.run,
            "node": node_id,
            "gain": None if isinstance(gain, NoInterval) else asdict(gain),
            "gains_by_case": gains_by_case(sides[0], sides[1], tree.direction),
            "programs": None if found is None else found.programs,
            "code_changed": None if found is None else found.code_changed,
            "parameters": None if found is None else [{**asdict(e), "verdict": e.verdict} for e in found.effects],
        }


def by_case(tree: Tree, node_id: str) -> list[str]:
    """Return the node's gain over the seed program, paired by case; empty for a task without cases."""
    sides = [measurements(tree.comparable(each)) for each in (tree.root, node_id)]
    found = compare(sides[0], sides[1], tree.direction, deterministic=tree.deterministic)
    if isinstance(found, NoInterval) or not found.cases:
        return []
    how = f"95% interval {found.low:+.4g} to {found.high:+.4g}" if not tree.deterministic else "exact on these cases"
    note = f"; {found.note}" if found.note else ""
    gains = sorted(gains_by_case(sides[0], sides[1], tree.direction).items(), key=lambda item: item[1])
    better, worse = (sum(sign * gain > 0 for _, gain in gains) for sign in (1, -1))
    least, most = (f"{clean(name, 40)} {gain:+.4g}" for name, gain in (gains[0], gains[-1]))
    basis = f"{found.cases} cases, paired; {how}{note}"
    return [
        f"Gain of {node_id[:8]} over the seed program on val: {found.gain:+.4g} ({basis})",
        f"  better on {better} of {len(gains)} cases, worse on {worse}; least {least}, most {most}",
    ]


def described(node_id: str, found: Explanation) -> str:
    """Return one line for each parameter, the most helpful first."""
    short = node_id[:8]
    ablate = command("search", f"ablate {short}")
    left_out = f"Changes of the code are not judged: {ablate} measures them."
    if not found.effects:
        none = f"{short} differs from the seed program in no parameter."
        return f"{none} {left_out}" if found.code_changed else none
    lines = [f"Gain of {short} by each parameter, in deviations of the scores ({found.programs} programs, same code):"]
    for effect in found.effects:
        words = clean(f"{effect.name} {effect.seed_value!r} -> {effect.value!r}", _WIDTH)
        lines.append(f"  {words:<{_WIDTH}} {effect.gain:+.2f} ± {effect.deviation:.2f}  {effect.verdict}")
    lines.append(f"These are estimates: no evaluation was made. {ablate} measures.")
    return "\n".join([*lines, left_out] if found.code_changed else lines)
