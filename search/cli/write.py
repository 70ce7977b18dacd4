"""``python -m search write STUDY``: a paper on a study whose sections a language model writes, each of them checked."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from archive.errors import ArchiveError
from archive.paper.build import Built, build, next_attempt
from archive.paper.numbers import Study
from archive.query.query import open_reader
from archive.query.server import SqlServer
from archive.storage.store import Archive
from operators.llm.base import LlmError
from prepare.output import DONE, FAILED, Parser
from search import factory, settings
from search.cli.terminal import progress_aside, show, show_error, show_json
from search.config import Config
from search.study.writing import write as sections_of

_DESCRIPTION = """\
Write a paper on a study with a language model: section by section, each checked as python -m archive paper checks it,
sent back with what is wrong at most --repairs times, and left as the program writes it if that does not help.
"""


def write(arguments: Sequence[str]) -> int:
    """Run the command. Returns 0, or 1 where the paper has findings. Raises SettingsError."""
    options = _parser().parse_intermixed_args(arguments)
    config = settings.config_for(options.overrides, factory.device_for, options.config_dir)
    try:
        with progress_aside(options.json):
            built, plain = _write(options, config)
    except (ArchiveError, LlmError) as error:
        show_error(error)
        return FAILED
    if options.json:
        show_json({**built.facts(), "left_plain": plain})
    return FAILED if built.findings else DONE


def _parser() -> argparse.ArgumentParser:
    parser = Parser(
        prog="python -m search write",
        usage="python -m search write STUDY --out DIR [--pages 4|8] [--repairs N] [archive=FILE] [llm=NAME] [--json]",
        description=_DESCRIPTION,
    )
    parser.add_argument("study", metavar="STUDY", help="a study of the archive")
    parser.add_argument("overrides", metavar="NAME=VALUE", nargs="*", help="archive=, llm= and what belongs to it")
    parser.add_argument("--out", metavar="DIR", type=Path, required=True, help="the folder for DIR/STUDY-1 ...")
    parser.add_argument("--pages", type=int, choices=(4, 8), default=8, help="pages at most (8)")
    parser.add_argument("--repairs", type=settings.whole_number(0, 9), default=2, help="of each section at most (2)")
    parser.add_argument("--config-dir", metavar="DIR", help="a conf/ folder of your own")
    parser.add_argument("--json", action="store_true", help="print an object at the end; the rest on standard error")
    return parser


def _write(options: argparse.Namespace, config: Config) -> tuple[Built, dict[str, str]]:
    """Return the paper, and why sections were left plain, by their names."""
    with Archive.open(config.archive) as archive, SqlServer(archive):
        study = Study.of(open_reader(config.archive), options.study)
        run = next(iter(study.registered.runs))
        instead = f"python -m archive paper {options.study} --out {options.out}"
        meter, line = factory.require_llm(config, archive, run, instead)
        show(line)
        sections: dict[str, str] = {}
        plain: dict[str, str] = {}
        for each in sections_of(study, meter, run, next_attempt(options.out, study.name), options.repairs):
            sections[each.name] = each.text
            plain |= {each.name: each.plain} if each.plain else {}
            show(f"  {each.name}: {f'left plain: {each.plain}' if each.plain else 'written'}")
        built = build(study, sections, options.out, options.pages)
    for finding in built.findings:
        show(f"{finding.code}: {finding}")
    show(str(built.pdf or built.folder / "paper.html"))
    return built, plain
