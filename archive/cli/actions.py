"""The commands of ``python -m archive``: one function each, from its options to the exit status.

Slow imports (scipy, numpy, web) stay inside the functions that need them: a query takes 0.1 s in all.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

from archive.cli import commands
from archive.query import tables as display
from archive.query.query import ArchiveReader, open_reader, which_archive
from archive.query.questions import which_run
from archive.query.select import MOST_ROWS, Result
from prepare.command_line import command
from prepare.output import many, printable

NO_TABLE = (
    "summary", "show", "certificate", "diff", "tail", "steer", "export", "merge", "backup", "repair", "report", "serve",
    "paper", "audit", "review",
)  # fmt: skip
"""Commands whose answer is no table, so that it cannot be CSV or Parquet."""
_LOOK_AGAIN = 1.0
"""Seconds between two looks of ``tail``."""

Options = argparse.Namespace


def _reader(options: Options) -> ArchiveReader:
    return open_reader(options.archive, seconds=options.timeout)


# ---------------------------------------------------------------- tables


def sql(options: Options) -> int:
    reader = _reader(options)
    return _print(reader.query(sys.stdin.read() if options.statement == "-" else options.statement), options)


def leaderboard(options: Options) -> int:
    return _table(options, lambda reader: commands.leaderboard(reader, options.run, options.limit))


def lineage(options: Options) -> int:
    return _table(options, lambda reader: commands.lineage(reader, options.id))


def runs(options: Options) -> int:
    return _table(options, commands.runs)


def events(options: Options) -> int:
    return _table(options, lambda reader: commands.events(reader, options.run, options.limit))


def compare(options: Options) -> int:
    if options.runs and options.by is None:
        return _table(options, lambda reader: commands.compare(reader, options.runs))
    from archive.cli.compare import by_key  # its intervals need scipy

    return _table(options, lambda reader: by_key(reader, options.by, options.runs))


def check(options: Options) -> int:
    from archive.query.verify import not_ended, verify

    reader = _reader(options)
    running = reader.is_live()
    found = verify(reader, idle=not running)
    if found.rows or options.json or options.csv or options.parquet:
        _print(found, options)
    else:
        print(f"{reader.path}: everything fits together")
    for run, evaluations in [] if running else not_ended(reader):
        print(
            f"run {display.cell(run)} has not come to its end: {evaluations:,} evaluations. If the file was copied "
            f"while its search ran, the latest are missing here: {command('archive')} backup FILE copies all",
            file=sys.stderr,
        )
    return 1 if found.rows else 0


def _table(options: Options, ask: Callable[[ArchiveReader], Result]) -> int:
    reader = _reader(options)
    with reader.held():
        result = ask(reader)
    return _print(result, options)


def _print(result: Result, options: Options) -> int:
    if options.parquet:
        display.write_parquet(result, Path(options.parquet))
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
    return 0


# ---------------------------------------------------------------- texts


def summary(options: Options) -> int:
    from archive.cli.summary import summary_facts, summary_text

    reader = _reader(options)
    with reader.held():
        facts = summary_facts(reader, options.run)
    print(json.dumps(facts, indent=2) if options.json else summary_text(facts, options.archive or None))
    return 0


def show(options: Options) -> int:
    reader = _reader(options)
    with reader.held():
        facts = commands.node_facts(reader, options.id)
    print(json.dumps(facts, indent=2) if options.json else commands.node_text(facts))
    return 0


def certificate(options: Options) -> int:
    reader = _reader(options)
    with reader.held():
        text = commands.certificate(reader, options.id)
    print(json.dumps(json.loads(text), indent=2))  # escapes what is not ASCII
    return 0


def diff(options: Options) -> int:
    reader = _reader(options)
    with reader.held():
        text = commands.difference(reader, options.a, options.b)
    print(json.dumps({"diff": text}) if options.json else text)
    return 0


def tail(options: Options) -> int:
    reader = _reader(options)
    for each in commands.follow(reader, which_run(reader, options.run), options.limit, _again):
        print(json.dumps(each.facts()) if options.json else each, flush=True)
    return 0


def steer(options: Options) -> int:
    from archive.cli.steer import order_of
    from archive.query.steer import steer

    reader = _reader(options)
    done = steer(reader.path, order_of(reader, options))
    print(json.dumps({"done": done}) if options.json else printable(done))
    return 0


def _again() -> bool:
    time.sleep(_LOOK_AGAIN)
    return True


# ---------------------------------------------------------------- files


def export(options: Options) -> int:
    from archive.export import export

    reader, repo = _reader(options), Path(options.repo or ".")
    if options.results_tsv:
        from archive.export.results import results_rows, results_tsv

        as_json = options.json
        print(json.dumps(results_rows(reader, options.run), indent=2) if as_json else results_tsv(reader, options.run))
        return 0
    if options.adas:
        from archive.export.adas import adas_archive

        print(adas_archive(reader, options.run))
        return 0
    if options.patch is not None:
        return _export_patches(reader, options)
    if not options.all:
        with reader.held():
            done = export.export_lineage(reader, options.id, options.branch, repo)
        print(json.dumps(_facts(done)) if options.json else export.what_to_type(done))
        return 0
    with reader.held():
        leaves = export.export_leaves(reader, options.run, options.branch, repo)
    if options.json:
        print(json.dumps([_facts(leaf) for leaf in leaves]))
        return 0
    for leaf in leaves:
        print(f"{leaf.branch}  {leaf.commits} commits, {leaf.tip[:12]}")
    print(f"wrote {len(leaves)} branches to {leaves[0].repo}, the best first; screening scores claim nothing")
    return 0


def _export_patches(reader: ArchiveReader, options: Options) -> int:
    from archive.export import export

    folder = Path(options.patch)
    patches, note = export.export_patches(reader, options.id, folder)
    facts = {"patches": list(map(str, patches)), "note": note}
    print(json.dumps(facts) if options.json else export.what_to_apply(folder, len(patches), note))
    return 0


def _facts(exported: object) -> dict[str, object]:
    return {key: str(value) if isinstance(value, Path) else value for key, value in vars(exported).items()}


def report(options: Options) -> int:
    from archive.report.command import write_report

    plots = Path(options.plots) if options.plots is not None else None
    written = write_report(_reader(options), options.run, Path(options.out), plots, alone=options.alone)
    if options.json:
        print(json.dumps({"run": written.run, "nodes": written.nodes, "files": list(map(str, written.files))}))
        return 0
    for file in written.files:
        print(f"wrote {file} ({file.stat().st_size / 1e6:.1f} MB)")
    return 0


def serve(options: Options) -> int:
    from archive.report.serve import announce, serve

    serve(_reader(options), options.run, options.port, _announce_as_json if options.json else announce)
    return 0


def _announce_as_json(address: str) -> None:
    print(json.dumps({"address": address}), flush=True)


def merge(options: Options) -> int:
    from archive.storage.merge import merge

    merged = merge(which_archive(options.archive), [Path(other) for other in options.others])
    if options.json:
        print(json.dumps([asdict(each) for each in merged], indent=2))
        return 0
    for each in merged:
        print(printable(str(each)))
    return 0


def backup(options: Options) -> int:
    from archive.query.verify import verify
    from archive.storage.backup import copied

    target = Path(options.file)
    with copied(which_archive(options.archive), target) as copy:
        reader = open_reader(copy, seconds=options.timeout)
        with reader.held():
            found = verify(reader)
            counts = "SELECT (SELECT count(*) FROM runs), (SELECT count(*) FROM evaluations WHERE outcome <> 'lost')"
            ((runs, evaluations),) = reader.query(counts).rows
    size = target.stat().st_size
    if options.json:
        faults = [dict(zip(found.columns, map(display.plain, row), strict=True)) for row in found.rows]
        facts = {"file": str(target), "runs": runs, "evaluations": evaluations, "bytes": size, "faults": faults}
        print(json.dumps(facts, indent=2))
        return 1 if found.rows else 0
    print(f"wrote {target}: {many(runs, 'run')}, {many(evaluations, 'evaluation')} ({size / 1e6:.1f} MB)")
    if found.rows:
        display.print_table(found)
    return 1 if found.rows else 0


def repair(options: Options) -> int:
    from archive.storage.backup import repair

    path = which_archive(options.archive)
    done = repair(path)
    if options.json:
        print(json.dumps({"archive": str(path), "damaged": bool(done), "done": done}, indent=2))
        return 0
    for line in done or [f"{path}: its log is sound, nothing was changed"]:
        print(printable(line))
    return 0


# ---------------------------------------------------------------- papers


def paper(options: Options) -> int:
    """Build a paper. Returns 1 if it has findings, which are printed."""
    from archive.paper import prose
    from archive.paper.build import build, read_sections
    from archive.paper.numbers import Study

    reader = _reader(options)
    with reader.held():
        study = Study.of(reader, options.study)
        sections = prose.sections(study) if options.draft is None else read_sections(Path(options.draft))
        built = build(study, sections, Path(options.out), options.pages)
    if options.json:
        print(json.dumps(built.facts(), indent=2))
        return 1 if built.findings else 0
    for finding in built.findings:
        print(f"{finding.code}: {printable(str(finding))}", file=sys.stderr)
    if built.findings:
        print(
            f"{built.folder}: {many(len(built.findings), 'finding')}; "
            f"edit its sections and build with --draft {built.folder}"
        )
        return 1
    print(built.pdf or f"{built.folder / 'paper.html'} (no PDF: {built.note})")
    return 0


def audit(options: Options) -> int:
    from archive.paper.audit import audit as faults_of
    from archive.paper.audit import unread_pdf

    reader = _reader(options)
    with reader.held():
        found = faults_of(Path(options.paper), reader)
    if options.json:
        print(json.dumps([asdict(fault) for fault in found], indent=2))
        return 1 if found else 0
    for fault in found:
        print(printable(str(fault)))
    if not found:
        print(f"{options.paper}: every number, reference, run and setting is as the archive has it")
        if unread_pdf(Path(options.paper)):
            print("paper.pdf was not compared: there is no pdflatex here to make it again")
    return 1 if found else 0


def review(options: Options) -> int:
    from archive.paper.review import in_words
    from archive.paper.review import review as review_of

    if options.overrides:
        return _review_by_models(options)
    if options.calibrate:
        return _calibrate(options)
    reader = _reader(options)
    with reader.held():
        found = review_of(Path(options.paper), reader)
    print(json.dumps(asdict(found), indent=2) if options.json else printable(in_words(found)))
    return 0


def _review_by_models(options: Options) -> int:
    """Run ``python -m search review``, a process of its own: language models lie above this package."""
    import subprocess

    more = [*(["--calibrate"] if options.calibrate else []), *(["--json"] if options.json else [])]
    words = ["review", options.paper, "--reviewers", options.reviewers, *more, *options.overrides]
    return subprocess.call([sys.executable, "-m", "search", *words, f"archive={which_archive(options.archive)}"])


def _calibrate(options: Options) -> int:
    from archive.paper.planted import check_rates, rates_in_words

    found = check_rates(Path(options.paper), which_archive(options.archive))
    rows = {kind or "false_alarms": asdict(each) for kind, each in found.items()}
    print(json.dumps(rows, indent=2) if options.json else rates_in_words(found))
    return 0
