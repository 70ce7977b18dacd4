"""``python -m search revise PAPER``: the next attempt of a paper, by a language model on what reviewers said."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from archive.errors import ArchiveError
from archive.paper.audit import facts_of
from archive.paper.build import Built, build, read_sections
from archive.paper.document import Document
from archive.paper.numbers import Study
from archive.paper.review import Opinion, ratings, ratings_in_words, readable, text_of
from archive.query.query import open_reader
from archive.query.server import SqlServer
from archive.storage.store import Archive
from operators.llm.base import LlmError
from operators.llm.meter import Meter
from prepare.output import DONE, FAILED, Parser, many
from search import factory, settings
from search.cli.terminal import progress_aside, show, show_error, show_json
from search.config import Config
from search.study.reviewing import reviews_of
from search.study.revising import DRIVING, REPORTING, RevisedSection, difference, revise, revised_sections

_DESCRIPTION = """\
Revise a paper with a language model: reviewers name weaknesses, and each section is written again. A section is taken
only if no check finds more than before and everything that was reported still is. The next attempt has the diff.
Other reviewers, whom the writer does not see, rate the paper before and after; --judge names another model for them.
"""


@dataclass(frozen=True)
class ReviewPair:
    """The reporting reviewers' opinions on the paper before and after."""

    before: tuple[Opinion, ...]
    after: tuple[Opinion, ...]


def revise_paper(arguments: Sequence[str]) -> int:
    """Run the command. Returns 0, or 1 where the revised paper has findings. Raises SettingsError."""
    options = _parser().parse_intermixed_args(arguments)
    config = settings.config_for(options.overrides, factory.device_for, options.config_dir)
    try:
        with progress_aside(options.json):
            built, outcomes = _revise(options, config)
    except (ArchiveError, LlmError) as error:
        show_error(error)
        return FAILED
    if options.json:
        show_json({**({} if built is None else built.facts()), "sections": outcomes})
    return FAILED if built is not None and built.findings else DONE


def _parser() -> argparse.ArgumentParser:
    parser = Parser(
        prog="python -m search revise",
        usage="python -m search revise PAPER [--reviewers N] [--repairs N] [--judge NAME] [llm=NAME] [--json]",
        description=_DESCRIPTION,
    )
    parser.add_argument(
        "paper", metavar="PAPER", type=Path, help="the folder of a paper; the next attempt is beside it"
    )
    parser.add_argument("overrides", metavar="NAME=VALUE", nargs="*", help="archive=, llm= and what belongs to it")
    parser.add_argument(
        "--reviewers", type=settings.whole_number(1, 20), default=3, metavar="N", help="of each kind (3)"
    )
    parser.add_argument("--repairs", type=settings.whole_number(0, 9), default=2, help="of each section at most (2)")
    parser.add_argument("--judge", metavar="NAME", help="llm=NAME of the reviewers that report (the same model)")
    parser.add_argument("--config-dir", metavar="DIR", help="a conf/ folder of your own")
    parser.add_argument("--json", action="store_true", help="print an object at the end; the rest on standard error")
    return parser


def _revise(options: argparse.Namespace, config: Config) -> tuple[Built | None, dict[str, str]]:
    """Return the next attempt, None if no section was revised, and what became of each section."""
    facts, sections = facts_of(options.paper), read_sections(options.paper)
    with Archive.open(config.archive) as archive, SqlServer(archive):
        study = Study.of(open_reader(config.archive), facts["study"])
        run, before = next(iter(study.registered.runs)), Document(study, sections)
        writer = _meter(config, archive, run)
        driving = _opinions(text_of(options.paper), options.reviewers, writer, run, DRIVING)
        revised = []
        for each in revise(before, driving, writer, run, options.repairs):
            revised.append(each)
            show(f"  {each.name}: {_outcome(each)}")
        outcomes = {each.name: _outcome(each) for each in revised}
        if not any(each.accepted for each in revised):
            show("No section was revised, so that there is no further attempt.")
            return None, outcomes
        after = Document(study, revised_sections(revised))
        report = _report(options, config, archive, run, readable(before.latex()), readable(after.latex()))
        pages = 4 if str(facts.get("pages")) == "4" else 8
        built = build(study, after.sections, options.paper.resolve().parent, pages)
        _keep(built, options.paper, driving, revised, report)
    _close(built, report)
    return built, outcomes


def _meter(config: Config, archive: Archive, run: str) -> Meter:
    """Return a model, whose calls are charged to a run. Raises SettingsError without one."""
    instead = "edit sections/*.tex and use python -m archive paper --draft PAPER"
    meter, line = factory.require_llm(config, archive, run, instead)
    show(line)
    return meter


def _opinions(text: str, count: int, llm: Meter, run: str, step: str) -> tuple[Opinion, ...]:
    """Return the reviews in the form. Raises LlmError if there is none."""
    answers = tuple(reviews_of(text, count, llm, run, step))
    found = tuple(each for each in answers if isinstance(each, Opinion))
    if not found:
        reasons = [each.reason for each in answers if not isinstance(each, Opinion)]
        raise LlmError(f"no review is in the form: {'; '.join(reasons)}")
    return found


def _outcome(each: RevisedSection) -> str:
    return f"refused: {each.refused}" if each.refused else "revised" if each.accepted else "as it was"


def _report(options: argparse.Namespace, config: Config, archive: Archive, run: str, *texts: str) -> ReviewPair:
    """Have other reviewers rate the paper before and after. The writer's spending counts against their caps, too."""
    if options.judge is not None:
        words = [*(word for word in options.overrides if not word.startswith("llm")), f"llm={options.judge}"]
        config = settings.config_for(words, factory.device_for, options.config_dir)
    judge = _meter(config, archive, run)
    before, after = (_opinions(text, options.reviewers, judge, run, REPORTING) for text in texts)
    return ReviewPair(before, after)


def _keep(
    built: Built,
    paper: Path,
    driving: tuple[Opinion, ...],
    revised: Sequence[RevisedSection],
    report: ReviewPair,
) -> None:
    """Write the diff, and what was said and decided, beside the revised paper."""
    (built.folder / "revision.diff").write_text(difference(revised), encoding="utf-8")
    facts: dict[str, Any] = {
        "before": paper.resolve().name,
        "sections": {each.name: _outcome(each) for each in revised},
        "driving": [asdict(each.review) for each in driving],
        "ratings": {
            when: {name: asdict(each) for name, each in ratings(opinions).items()}
            for when, opinions in (("before", report.before), ("after", report.after))
        },
    }
    (built.folder / "revision.json").write_text(json.dumps(facts, indent=1), encoding="utf-8")


def _close(built: Built, report: ReviewPair) -> None:
    for when, opinions in (("before", report.before), ("after", report.after)):
        show(f"\n{many(len(opinions), 'other reviewer')}, {when}:\n{ratings_in_words(ratings(opinions))}")
    for finding in built.findings:
        show(f"{finding.code}: {finding}")
    show(f"\n{built.pdf or built.folder / 'paper.html'}\n{built.folder / 'revision.diff'}")
