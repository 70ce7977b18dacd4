"""SQL on an archive, and short forms of the usual questions; see ``python -m archive --help``."""

from __future__ import annotations

import sys
from pathlib import Path

# A file in the current directory (an exported train.py, say) must not stand in for our packages.
_HOUSE = str(Path(__file__).resolve().parent.parent)
_HERE = {"", str(Path.cwd())}
sys.path[:] = [_HOUSE, *(p for p in sys.path if p not in {_HOUSE, *_HERE}), str(Path.cwd())]

import argparse  # noqa: E402
import json  # noqa: E402
import shlex  # noqa: E402
import time  # noqa: E402
from collections.abc import Callable, Sequence  # noqa: E402

from archive.cli import commands  # noqa: E402
from archive.cli.tail import follow  # noqa: E402
from archive.errors import ArchiveError, QueryRefused  # noqa: E402
from archive.query import tables as display  # noqa: E402
from archive.query.query import (  # noqa: E402
    DEFAULT_NAME,
    ENVIRONMENT_VARIABLE,
    ArchiveReader,
    open_reader,
    which_archive,
)
from archive.query.select import MOST_ROWS, SECONDS, Result  # noqa: E402

_HELP = """\
python -m archive                       a prompt for SQL; .help tells what it knows
python -m archive "SELECT ..."          any read-only SQL, also while a search runs
python -m archive summary               what won, is it real, why, what was tried, what it cost, how to take it home
python -m archive leaderboard           the best nodes of the run worked on last
python -m archive lineage ID            how a node came about
python -m archive show ID               a node: idea, parents, evaluations, source
python -m archive diff A B              what one node's text has that another's has not
python -m archive runs                  the runs in the archive
python -m archive compare               the runs of the last sweep, by what was swept, with the spread over seeds
python -m archive compare --by KEY      the same by any setting: policy, operators, task.seconds
python -m archive compare RUN ...       runs side by side
python -m archive events                what happened in a run
python -m archive tail                  the same, and what happens from now on, until Ctrl-C
python -m archive export --all --branch NAME    every leaf that scored better than the root, as NAME/ID
python -m archive export [ID] --patch DIR       its steps as patches, for git am
python -m archive report --out FILE     a page that answers most questions, for any browser, offline
python -m archive serve                 the same page, live, on this machine
python -m archive export [ID] --branch NAME     the lineage of a node (default: the champion) as a git branch
python -m archive merge OTHER ...       bring the runs of other archives into this one
python -m archive check                 whether everything in the archive fits together
"""

_EPILOG = (
    f"""\
ID is any start of a node's id that fits one node. FILE is $%s, or {DEFAULT_NAME} in the current directory.

tables   runs nodes parents files sources moves refusals evaluations curves llm_requests llm_calls decisions
         events
views    leaderboard progress noise operator_stats change_kind_stats model_stats calls spending failures ideas suspects
         violations throughput early_correlation ablations programs run_summary scores gains lineage('ID')
         children('ID') ancestry(['ID', ...])

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
  python -m archive diff 3fa9 71c0
  python -m archive runs --json
  python -m archive compare
  python -m archive compare --by policy,operators
  python -m archive compare shakespeare-1 shakespeare-2
  python -m archive events --limit 100
  python -m archive tail --run shakespeare-1
  python -m archive report --out night.html --plots plots
  python -m archive export 3fa9 --branch best --repo ../my-model
  python -m archive merge laptop.duckdb server.duckdb --archive all.duckdb
  python -m archive check && echo fine
"""
    % ENVIRONMENT_VARIABLE
)

_ARGUMENTS = {
    "summary": (0, 0),
    "leaderboard": (0, 0),
    "lineage": (1, 1),
    "show": (1, 1),
    "diff": (2, 2),
    "runs": (0, 0),
    "compare": (0, 20),
    "events": (0, 0),
    "tail": (0, 0),
    "export": (0, 1),
    "merge": (1, 100),
    "check": (0, 0),
    "report": (0, 0),
    "serve": (0, 0),
}
"""Command -> fewest and most words after it."""

_WANTS = {
    "lineage": "the start of a node's id",
    "show": "the start of a node's id",
    "diff": "the starts of two nodes' ids",
    "compare": "the names of runs",
    "export": "at most the start of an id",
    "merge": "the files of other archives",
}

_BELONGS = {
    "run": ("summary", "leaderboard", "events", "tail", "export", "report", "serve"),
    "limit": ("leaderboard", "events", "tail"),
    "by": ("compare",),
    "branch": ("export",),
    "all": ("export",),
    "patch": ("export",),
    "repo": ("export",),
    "out": ("report",),
    "plots": ("report",),
    "port": ("serve",),
}
"""Option -> the commands that take it."""

_NO_TABLE = ("summary", "show", "diff", "tail", "export", "merge", "report", "serve")
_AT_THE_PROMPT = {"summary", "leaderboard", "lineage", "show", "diff", "runs", "compare", "events", "check"}
_LOOK_AGAIN = 1.0
"""Seconds between two looks of ``tail``."""


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m archive",
        usage="python -m archive SQL | COMMAND [ID] [options]",
        description=_HELP,
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "words",
        nargs="*",
        metavar="SQL | COMMAND",
        help="a statement in quotes, or a command; - reads SQL from standard input",
    )
    parser.add_argument("--archive", metavar="FILE", help="the archive to read")
    form = parser.add_mutually_exclusive_group()
    form.add_argument("--json", action="store_true", help="an array of objects")
    form.add_argument("--csv", action="store_true", help="comma-separated values with a header line")
    form.add_argument("--parquet", metavar="FILE", help="a Parquet file")
    parser.add_argument("--run", metavar="NAME", help="the run (default: worked on last)")
    parser.add_argument("--limit", type=_positive_int, metavar="N", help="leaderboard, events, tail: rows (default 20)")
    parser.add_argument("--by", metavar="KEY", help="compare: the settings to compare, such as policy,operators")
    parser.add_argument("--branch", metavar="NAME", help="export: the branch to make")
    parser.add_argument(
        "--all", action="store_true", default=None, help="export: every leaf above the root, as NAME/ID"
    )
    parser.add_argument("--patch", metavar="DIR", help="export: the steps as patches in this folder, not as a branch")
    parser.add_argument("--repo", metavar="DIR", help="export: the git repository (default: the current directory)")
    parser.add_argument("--out", metavar="FILE", help="report: the HTML file to write")
    parser.add_argument("--plots", metavar="DIR", help="report: write its plots there too, as PNG and SVG")
    parser.add_argument("--port", type=_port, metavar="N", help="serve: the port (default: any that is free)")
    parser.add_argument(
        "--timeout", type=_positive, default=SECONDS, metavar="SECONDS", help=f"of a query (default {SECONDS:g})"
    )
    return parser


def _positive(text: str) -> float:
    value = float(text)
    if not 0 < value <= 86_400:
        raise argparse.ArgumentTypeError(f"expected seconds above 0 and up to 86400, got {text}")
    return value


def _positive_int(text: str) -> int:
    value = int(text)
    if not 0 < value <= MOST_ROWS:
        raise argparse.ArgumentTypeError(f"expected a whole number from 1 to {MOST_ROWS}, got {text}")
    return value


def _port(text: str) -> int:
    if not text.isdigit() or int(text) > 65_535:
        raise argparse.ArgumentTypeError(f"expected a port from 0 (any that is free) to 65535, got {text}")
    return int(text)


def _check(parser: argparse.ArgumentParser, options: argparse.Namespace) -> None:
    """Exits with status 2, and what to type instead, for words and options that do not go together."""
    words: list[str] = options.words
    if not words:
        return
    name = words[0]
    if name in _ARGUMENTS:
        fewest, most = _ARGUMENTS[name]
        if not fewest <= len(words) - 1 <= most:
            parser.error(
                f"{name} takes {_WANTS.get(name, 'nothing')} after it, got: {' '.join(words[1:]) or 'nothing'}"
            )
    elif len(words) > 1:
        parser.error(f'put the statement in quotes: python -m archive "{" ".join(words)}"')
    elif name.isidentifier():
        import difflib

        close = difflib.get_close_matches(name, _ARGUMENTS, n=1)
        hint = f"did you mean {close[0]}?" if close else f"the commands are {', '.join(_ARGUMENTS)}"
        parser.error(f"unknown command {name!r}; {hint}")
    for option, owners in _BELONGS.items():
        if getattr(options, option) is not None and name not in owners:
            parser.error(f"--{option} belongs to {' and '.join(owners)}")
    if name == "export":
        _check_export(parser, options)
    if name == "report" and options.out is None:
        parser.error("report needs the file to write: --out FILE")
    if (options.csv or options.parquet) and name in _NO_TABLE:
        parser.error(f"{name} gives no table; use --json")


def _check_export(parser: argparse.ArgumentParser, options: argparse.Namespace) -> None:
    if options.patch is None and options.branch is None:
        parser.error("export needs the name of a branch to make: --branch NAME (or a folder for patches: --patch DIR)")
    if options.patch is not None and (options.branch or options.all or options.repo):
        parser.error("--patch goes without --branch, --all and --repo: patches are files, and git am applies them")
    if options.all and len(options.words) > 1:
        parser.error(f"--all exports every leaf, so it takes no id, got: {options.words[1]}")


def _run(options: argparse.Namespace) -> int:
    """One command or statement. Returns the exit status."""
    name, words, limit = options.words[0], options.words[1:], options.limit or 20
    if name == "merge":
        from archive.storage.merge import merge

        for line in merge(Path(options.archive or which_archive()), [Path(word) for word in words]):
            print(display.printable(line))
        return 0
    reader = open_reader(options.archive, seconds=options.timeout)
    tables: dict[str, Callable[[], Result]] = {
        "leaderboard": lambda: commands.leaderboard(reader, options.run, limit),
        "lineage": lambda: commands.lineage(reader, words[0]),
        "runs": lambda: commands.runs(reader),
        "events": lambda: commands.events(reader, options.run, limit),
        "compare": lambda: _compare(reader, options.by, words),
    }
    if name == "show":
        with reader.held():
            facts = commands.node_facts(reader, words[0])
        print(json.dumps(facts, indent=2) if options.json else commands.node_text(facts))
    elif name == "summary":
        _summarise(reader, options)
    elif name == "diff":
        with reader.held():
            text = commands.difference(reader, *words)
        print(json.dumps({"diff": text}) if options.json else text)
    elif name == "tail":
        run = commands.which_run(reader, options.run)
        for line in follow(reader, run, limit, _again):
            print(line, flush=True)
    elif name == "check":
        return _check_archive(reader, options)
    elif name == "export":
        _export(reader, options)
    elif name == "report":
        _report(reader, options)
    elif name == "serve":
        from archive.report.serve import serve

        serve(reader, options.run, options.port or 0)
    elif name in tables:
        with reader.held():
            result = tables[name]()
        _print(result, options)
    else:
        _print(reader.query(sys.stdin.read() if name == "-" else name), options)
    return 0


def _compare(reader: ArchiveReader, by: str | None, names: Sequence[str]) -> Result:
    if names and by is None:
        return commands.compare(reader, names)
    from archive.cli.compare import by_key  # its intervals need scipy

    return by_key(reader, by, names)


def _again() -> bool:
    time.sleep(_LOOK_AGAIN)
    return True


def _check_archive(reader: ArchiveReader, options: argparse.Namespace) -> int:
    from archive.query.verify import verify

    found = verify(reader)
    if found.rows or options.json or options.csv or options.parquet:
        _print(found, options)
    else:
        print(f"{reader.path}: everything fits together")
    return 1 if found.rows else 0


def _converse(parser: argparse.ArgumentParser, options: argparse.Namespace) -> None:
    """The prompt: each statement and short form is answered as if it had been typed alone."""
    from archive.cli.shell import converse, history

    def answer(text: str) -> None:
        words = shlex.split(text) if text.split(" ", 1)[0] in _AT_THE_PROMPT else [text]
        one = argparse.Namespace(**{**vars(options), "words": words})
        try:
            _check(parser, one)
            _run(one)
        except SystemExit:  # what to type instead has been said
            return
        except KeyboardInterrupt:
            print("stopped")
        except (ArchiveError, ValueError) as error:
            print(f"error: {display.printable(str(error))}")

    print(f"{open_reader(options.archive).path}; .help tells what to type, .quit or Ctrl-D ends")
    with history():
        converse(input, answer, print, _AT_THE_PROMPT)


def _print(result: Result, options: argparse.Namespace) -> None:
    if options.parquet:
        from archive.query.parquet import write_parquet

        write_parquet(result, Path(options.parquet))
        print(f"{options.parquet}: {len(result.rows)} rows")
    elif options.json:
        print(display.as_json(result))
    elif options.csv:
        print(display.as_csv(result, for_terminal=sys.stdout.isatty()))
    else:
        display.print_table(result)
    if result.truncated:
        print(
            f"cut after {len(result.rows)} rows (at most {MOST_ROWS} rows or 64 MB come at once); "
            "use LIMIT and OFFSET with ORDER BY to get the rest",
            file=sys.stderr,
        )


def _export(reader: ArchiveReader, options: argparse.Namespace) -> None:
    from archive.export import export

    start = options.words[1] if len(options.words) > 1 else None
    repo = Path(options.repo or ".")
    done: list[export.Exported]
    if options.patch is not None:
        patches, note = export.export_patches(reader, start, Path(options.patch))
        folder = Path(options.patch)
        print(
            json.dumps({"patches": list(map(str, patches)), "note": note})
            if options.json
            else export.what_to_apply(folder, len(patches), note)
        )
        return
    if options.all:
        done = export.export_leaves(reader, options.run, options.branch, repo)
    else:
        done = [export.export_lineage(reader, start, options.branch, repo)]
    if options.json:
        facts = [
            {key: str(value) if isinstance(value, Path) else value for key, value in vars(each).items()}
            for each in done
        ]
        print(json.dumps(facts if options.all else facts[0]))
    elif options.all:
        for each in done:
            print(f"{each.branch}  {each.commits} commits, {each.tip[:12]}")
        print(f"wrote {len(done)} branches to {done[0].repo}, the best first; screening scores claim nothing")
    else:
        print(export.what_to_type(done[0]))


def _summarise(reader: ArchiveReader, options: argparse.Namespace) -> None:
    from archive.cli.summary import summary_facts, summary_text

    with reader.held():
        facts = summary_facts(reader, options.run)
    archive = f" --archive {shlex.quote(options.archive)}" if options.archive else ""
    print(json.dumps(facts, indent=2) if options.json else summary_text(facts, archive))


def _report(reader: ArchiveReader, options: argparse.Namespace) -> None:
    from archive.report.command import write_report

    plots = Path(options.plots) if options.plots is not None else None
    written = write_report(reader, options.run, Path(options.out), plots)
    if options.json:
        print(json.dumps({"run": written.run, "nodes": written.nodes, "files": list(map(str, written.files))}))
        return
    for file in written.files:
        print(f"wrote {file} ({file.stat().st_size / 1e6:.1f} MB)")


def main(arguments: Sequence[str] | None = None) -> int:
    """Returns the exit status: 0, 1 for what failed, 2 for what is not allowed or not understood."""
    parser = _parser()
    options = parser.parse_intermixed_args(arguments)
    _check(parser, options)
    try:
        if not options.words and sys.stdin.isatty():
            _converse(parser, options)
            return 0
        if not options.words:
            options.words = ["-"]
        status = _run(options)
        sys.stdout.flush()
        return status
    except QueryRefused as error:
        print(f"error: {display.printable(str(error))}", file=sys.stderr)
        return 2
    except ArchiveError as error:
        print(f"error: {display.printable(str(error))}", file=sys.stderr)
        return 1
    except BrokenPipeError:
        display.silence_stdout()
    except KeyboardInterrupt:
        return 130
    return 0


if __name__ == "__main__":
    display.leave(main())
