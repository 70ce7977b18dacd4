"""The arguments of ``python -m archive``: a command with its own options, or a SQL statement in place of a command."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from archive.cli import actions
from archive.query.query import DEFAULT_NAME, ENVIRONMENT_VARIABLE
from archive.query.select import MOST_ROWS, SECONDS
from prepare.command_line import command
from prepare.output import Parser

COMMANDS = {
    "sql": "any read-only SQL, also while a search runs; the word sql may be left out, - reads standard input",
    "summary": "what won, whether it is real, why, what was tried, what it cost, how to export it",
    "leaderboard": "the best nodes of a run",
    "lineage": "how a node came about",
    "show": "a node: idea, parents, evaluations, source",
    "certificate": "the JSON that proves the score of a node's best screening",
    "diff": "the changes from one node's text to another's",
    "runs": "the runs in the archive",
    "compare": "the runs of the last sweep by what was swept, with the spread over seeds; named runs side by side",
    "events": "what happened in a run",
    "tail": "the same, and what happens from now on, until Ctrl-C",
    "steer": "tell the running search what to do: instruct, propose, pin, ban, free, pause, resume, budget, stop",
    "export": "the lineage of a node (default: the champion) as a git branch or as patches",
    "report": "one page that answers most questions, for any browser, offline",
    "serve": "the same page, live, on this machine",
    "paper": "a paper on a study, in which every number is a query: LaTeX, HTML, and PDF where pdflatex is installed",
    "audit": "whether a paper says what the archive says: exit status 1 if not",
    "review": "a review of a paper in the field's form: by checks alone, or by a language model too (llm=NAME)",
    "merge": "bring the runs of other archives into this one",
    "backup": "a copy of the archive in one new file, also while a search writes to it",
    "repair": "keep what is readable of an archive whose log is damaged",
    "check": "whether everything in the archive fits together: exit status 1 if not",
}

ORDERS = {
    "instruct": "words for all prompts from now on, as the user's own",
    "propose": "a candidate of one's own, evaluated next",
    "pin": "proposals start from this node and its descendants, while an operator applies there",
    "ban": "this node and its descendants are no parents, no leaders and no finalists",
    "free": "take a pin or a ban back",
    "pause": "start no evaluation until resume",
    "resume": "end a pause",
    "budget": "raise the budget of this run",
    "stop": "end this session when the running evaluations have ended; the run can be resumed",
}
"""What ``steer`` takes."""

_PROGRAM = "python -m archive"
_USAGE = 'python -m archive COMMAND | "SQL" [options]'
_EPILOG = f"""\
python -m archive COMMAND --help lists the options of a command. Without a command: summary on a terminal, else SQL from
standard input. ID is any start of a node's id that fits one node. FILE is ${ENVIRONMENT_VARIABLE}, or
{DEFAULT_NAME} in the current directory.

tables   runs nodes parents files sources moves refusals evaluations curves window_scores case_scores
         trainings judgements stage_answers llm_requests llm_calls decisions events studies study_runs
         research_ideas
views    leaderboard progress noise operator_stats change_kind_stats model_stats calls spending failures ideas suspects
         violations claims repeats cases throughput early_correlation ablations programs run_summary scores gains
         study_evaluations items
         lineage('ID') children('ID') ancestry(['ID', ...])

examples
  python -m archive "SELECT node_id, score, idea FROM leaderboard LIMIT 5"
  python -m archive "SELECT text FROM programs WHERE starts_with(node_id, '3fa9')" --json
  python -m archive "DESCRIBE evaluations"
  python -m archive "SELECT * FROM curves" --csv > curves.csv
  python -m archive "SELECT * FROM progress" --parquet progress.parquet
  python -m archive summary --run shakespeare-1
  python -m archive leaderboard --run shakespeare-1 --limit 20
  python -m archive lineage 3fa9
  python -m archive show 3fa9 --archive elsewhere.duckdb
  python -m archive certificate 3fa9 > best.json
  python -m archive diff 3fa9 71c0
  python -m archive runs --json
  python -m archive compare
  python -m archive compare --by policy,operators
  python -m archive compare shakespeare-1 shakespeare-2
  python -m archive events --limit 100
  python -m archive tail --run shakespeare-1
  python -m archive steer instruct "try a cosine schedule"
  python -m archive steer propose mine.py --parent 3fa9
  python -m archive steer pin 3fa9
  python -m archive steer budget +50
  python -m archive report --out night.html --plots plots
  python -m archive serve --port 8000
  python -m archive paper circles --out papers
  python -m archive audit papers/circles-1
  python -m archive review papers/circles-1
  python -m archive review papers/circles-1 --calibrate
  python -m archive export 3fa9 --branch best --repo ../my-model
  python -m archive export --all --branch night
  python -m archive export --patch steps
  python -m archive merge laptop.duckdb server.duckdb --archive all.duckdb
  python -m archive backup monday.duckdb
  python -m archive repair
  python -m archive check && echo fine
"""


def parse(arguments: Sequence[str] | None, on_terminal: bool) -> argparse.Namespace:
    """Return the options and, as ``action``, the function that takes them. Exits with status 2 for senseless arguments.

    ``on_terminal``: whether standard input is a terminal, so that no statement can come from it.
    """
    # The options that all commands share may stand anywhere, so they are taken out first.
    options, words = _common().parse_known_args(arguments)
    root = _root()
    _, unknown = root.parse_known_args(_as_command(root, words, on_terminal), namespace=options)
    own: argparse.ArgumentParser = options.parser
    if options.command == "review":  # argparse takes no words of a list on both sides of an option
        options.overrides += [word for word in unknown if _is_setting(word)]
        unknown = [word for word in unknown if not _is_setting(word)]
    if unknown:
        own.error(f"{options.command} does not take {' '.join(unknown)}")
    if (options.csv or options.parquet) and options.command in actions.NO_TABLE:
        own.error(f"{options.command} gives no table; use --json")
    if options.command == "export":
        _check_export(own, options)
    return options


def _is_setting(word: str) -> bool:
    return "=" in word and not word.startswith("-")


def _as_command(root: argparse.ArgumentParser, words: list[str], on_terminal: bool) -> list[str]:
    """Return the words with a command in front."""
    if not words:
        return ["summary"] if on_terminal else ["sql", "-"]
    first = words[0]
    if first in COMMANDS or first.startswith("--") or first == "-h":
        return words
    if len(words) > 1 and not words[1].startswith("-"):
        root.error(f'put the statement in quotes: {command("archive")} "{" ".join(words)}"')
    if first.isidentifier():
        import difflib

        close = difflib.get_close_matches(first, COMMANDS, n=1)
        hint = f"did you mean {close[0]}?" if close else f"the commands are {', '.join(COMMANDS)}"
        root.error(f"unknown command {first!r}; {hint}")
    return ["sql", *words]


def _check_export(parser: argparse.ArgumentParser, options: argparse.Namespace) -> None:
    if options.patch is not None and (options.all or options.repo):
        parser.error("--patch goes without --all and --repo: patches are files, and git am applies them")
    if (options.results_tsv or options.adas) and (options.all or options.repo or options.id):
        named = "--adas" if options.adas else "--results-tsv"
        parser.error(f"{named} prints a whole run, so it takes no id and goes without --all and --repo")
    if options.all and options.id is not None:
        parser.error(f"--all exports every leaf, so it takes no id, got: {options.id}")


# ---------------------------------------------------------------- the parsers


def _common() -> argparse.ArgumentParser:
    parser = Parser(prog=_PROGRAM, usage=_USAGE, add_help=False, allow_abbrev=False)
    parser.add_argument("--archive", metavar="FILE", help="the archive to read")
    form = parser.add_mutually_exclusive_group()
    form.add_argument("--json", action="store_true", help="print an array of objects")
    form.add_argument("--csv", action="store_true", help="print comma-separated values with a header line")
    form.add_argument("--parquet", metavar="FILE", help="write a Parquet file")
    parser.add_argument(
        "--timeout", type=_seconds, default=SECONDS, metavar="SECONDS", help=f"of a query (default {SECONDS:g})"
    )
    return parser


def _root() -> argparse.ArgumentParser:
    root = Parser(
        prog=_PROGRAM,
        usage=_USAGE,
        description="Ask an archive, also while a search writes to it.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        parents=[_common()],
    )
    group = root.add_subparsers(title="commands", dest="command", metavar="COMMAND", prog=_PROGRAM)
    note = "Options of every command: --archive FILE, --json, --csv, --parquet FILE, --timeout SECONDS."
    for name, words in COMMANDS.items():
        parser = group.add_parser(name, help=words, description=f"{words[0].upper()}{words[1:]}.", epilog=note)
        parser.set_defaults(action=getattr(actions, name), parser=parser)
        _OPTIONS[name](parser)
    return root


def _sql(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("statement", metavar="STATEMENT", help="one statement in quotes; - reads standard input")


def _run(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--run", metavar="NAME", help="the run (default: worked on last)")


def _run_and_limit(parser: argparse.ArgumentParser) -> None:
    _run(parser)
    parser.add_argument("--limit", type=_rows, default=20, metavar="N", help="rows (default 20)")


def _node(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("id", metavar="ID", help="the start of a node's id")


def _two_nodes(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("a", metavar="A", help="the start of a node's id")
    parser.add_argument("b", metavar="B", help="the start of another's")


def _nothing(parser: argparse.ArgumentParser) -> None:
    pass


def _compare(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("runs", nargs="*", metavar="RUN", help="the names of runs, to see them side by side")
    parser.add_argument("--by", metavar="KEY", help="the settings to compare, such as policy,operators")


def _export(parser: argparse.ArgumentParser) -> None:
    _run(parser)
    parser.add_argument("id", nargs="?", metavar="ID", help="the start of a node's id")
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--branch", metavar="NAME", help="the branch to make")
    what.add_argument("--patch", metavar="DIR", help="write the steps as patches into this folder, for git am")
    what.add_argument("--results-tsv", action="store_true", help="print the run as the results.tsv of autoresearch")
    what.add_argument("--adas", action="store_true", help="print a run's agents as an archive of ADAS (JSON)")
    parser.add_argument("--all", action="store_true", help="every leaf that scored better than the root, as NAME/ID")
    parser.add_argument("--repo", metavar="DIR", help="the git repository (default: the current directory)")


def _steer(parser: argparse.ArgumentParser) -> None:
    orders = parser.add_subparsers(dest="order", metavar="ORDER", required=True)
    for name, words in ORDERS.items():
        order = orders.add_parser(name, help=words, description=f"{words[0].upper()}{words[1:]}.")
        if name == "instruct":
            order.add_argument("words", metavar="WORDS", help="in quotes; empty withdraws those so far")
        elif name == "propose":
            order.add_argument("file", metavar="FILE", help="the file, or a folder of files that may change")
            order.add_argument("--parent", metavar="ID", help="the node that it came from (default: the leader)")
        elif name == "budget":
            order.add_argument("added", type=_added, metavar="+N", help="evaluations: +50; hours: +2h")
        elif name == "stop":
            order.add_argument("words", nargs="*", metavar="after this", help="may be left out")
        elif name in ("pin", "ban", "free"):
            _node(order)


def _report(parser: argparse.ArgumentParser) -> None:
    _run(parser)
    parser.add_argument("--out", metavar="FILE", required=True, help="the HTML file to write")
    parser.add_argument("--plots", metavar="DIR", help="write its plots there too, as PNG and SVG")
    parser.add_argument("--alone", action="store_true", help="leave the archive's other runs out")


def _serve(parser: argparse.ArgumentParser) -> None:
    _run(parser)
    parser.add_argument("--port", type=_port, default=0, metavar="N", help="the port (default: any that is free)")


def _paper(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("study", metavar="STUDY", help="a study of the archive")
    parser.add_argument("--out", metavar="DIR", required=True, help="the folder for DIR/STUDY-1, DIR/STUDY-2 ...")
    parser.add_argument("--pages", type=int, choices=(4, 8), default=8, help="pages at most (default 8)")
    parser.add_argument(
        "--draft", metavar="PAPER", help="an earlier attempt, whose sections/*.tex may have been edited"
    )


def _audit(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("paper", metavar="PAPER", help="the folder of a paper")


def _review(parser: argparse.ArgumentParser) -> None:
    _audit(parser)
    parser.add_argument("overrides", metavar="NAME=VALUE", nargs="*", help="llm=NAME ...: as python -m search review")
    parser.add_argument("--reviewers", metavar="N", default="3", help="language models that are asked (default 3)")
    parser.add_argument("--calibrate", action="store_true", help="plant flaws, and print hit and false-alarm rates")


def _merge(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("others", nargs="+", metavar="OTHER", help="the files of other archives")


def _backup(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("file", metavar="FILE", help="the new file")


_OPTIONS = {
    "sql": _sql, "summary": _run, "leaderboard": _run_and_limit, "lineage": _node, "show": _node, "certificate": _node,
    "diff": _two_nodes,
    "runs": _nothing, "compare": _compare, "events": _run_and_limit, "tail": _run_and_limit, "export": _export,
    "steer": _steer, "report": _report, "serve": _serve, "paper": _paper, "audit": _audit, "review": _review,
    "merge": _merge, "backup": _backup,
    "repair": _nothing, "check": _nothing,
}  # fmt: skip


def _seconds(text: str) -> float:
    value = float(text)
    if not 0 < value <= 86_400:
        raise argparse.ArgumentTypeError(f"expected seconds above 0 and up to 86400, got {text}")
    return value


def _added(text: str) -> tuple[str, float]:
    limit = "hours" if text.endswith("h") else "evaluations"
    digits = text.removeprefix("+").removesuffix("h")
    if not (text.startswith("+") and digits.replace(".", "", limit == "hours").isdecimal()):
        raise argparse.ArgumentTypeError(f"expected evaluations such as +50 or hours such as +2h, got {text}")
    return limit, float(digits) if limit == "hours" else int(digits)


def _rows(text: str) -> int:
    value = int(text)
    if not 0 < value <= MOST_ROWS:
        raise argparse.ArgumentTypeError(f"expected a whole number from 1 to {MOST_ROWS}, got {text}")
    return value


def _port(text: str) -> int:
    if not text.isdigit() or int(text) > 65_535:
        raise argparse.ArgumentTypeError(f"expected a port from 0 (any that is free) to 65535, got {text}")
    return int(text)
