"""``python -m search review PAPER``: a paper reviewed by checks and by an ensemble of language models."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from archive.errors import ArchiveError
from archive.paper.audit import facts_of
from archive.paper.numbers import Study
from archive.paper.planted import FlawKind, HitRate, check_rates, rates_in_words
from archive.paper.review import Opinion, Panel, in_words, ratings_in_words, review, text_of
from archive.query.query import open_reader
from archive.query.server import SqlServer
from archive.storage.store import Archive
from operators.llm.base import LlmError
from operators.llm.meter import Meter
from prepare.output import DONE, FAILED, Parser, many
from search import factory, settings
from search.cli.terminal import show, show_error, show_json
from search.config import Config
from search.study.calibration import reviewer_rates
from search.study.reviewing import reviews_of

_DESCRIPTION = """\
Review a paper in the field's form: by the checks of python -m archive review, and by language models, whose form is
checked and whose ratings are shown with their spread. A fault that a check finds is a reason to reject whatever they
say. --calibrate plants flaws in copies of the paper and shows how many are found, and how many false alarms there are.
"""


def review_paper(arguments: Sequence[str]) -> int:
    """Run the command. Returns 0, or 1 where no review is in the form. Raises SettingsError."""
    options = _parser().parse_intermixed_args(arguments)
    config = settings.config_for(options.overrides, factory.device_for, options.config_dir)
    try:
        return _calibrate(options, config) if options.calibrate else _review(options, config)
    except (ArchiveError, LlmError) as error:
        show_error(error)
        return FAILED


def _parser() -> argparse.ArgumentParser:
    parser = Parser(
        prog="python -m search review",
        usage="python -m search review PAPER [--reviewers N] [--calibrate] [--json] [archive=FILE] [llm=NAME]",
        description=_DESCRIPTION,
    )
    parser.add_argument("paper", metavar="PAPER", type=Path, help="the folder of a paper")
    parser.add_argument("overrides", metavar="NAME=VALUE", nargs="*", help="archive=, llm= and what belongs to it")
    parser.add_argument("--reviewers", type=settings.whole_number(1, 20), default=3, metavar="N", help="(3)")
    parser.add_argument("--calibrate", action="store_true", help="plant flaws, and print hit and false-alarm rates")
    parser.add_argument("--json", action="store_true", help="print an object")
    parser.add_argument("--config-dir", metavar="DIR", help="a conf/ folder of your own")
    return parser


def _study_of(options: argparse.Namespace, config: Config) -> Study:
    return Study.of(open_reader(config.archive), facts_of(options.paper)["study"])


def _meter(config: Config, archive: Archive, study: Study, say: bool) -> Meter:
    """Return the model, whose calls are charged to the first run of the study. Raises SettingsError without one."""
    run = next(iter(study.registered.runs))
    meter, line = factory.require_llm(config, archive, run, "python -m archive review PAPER")
    if say:
        show(line)
    return meter


def _review(options: argparse.Namespace, config: Config) -> int:
    with Archive.open(config.archive) as archive, SqlServer(archive):
        study = _study_of(options, config)
        checks = review(options.paper, study.reader)
        meter = _meter(config, archive, study, not options.json)
        run = next(iter(study.registered.runs))
        answers = tuple(reviews_of(text_of(options.paper), options.reviewers, meter, run))
    panel = Panel(checks, tuple(each for each in answers if isinstance(each, Opinion)))
    failed = {each.reviewer: each.reason for each in answers if not isinstance(each, Opinion)}
    if options.json:
        show_json(_as_object(panel, failed))
    else:
        _show(panel, failed)
    return DONE if panel.opinions else FAILED


def _as_object(panel: Panel, failed: dict[int, str]) -> dict[str, Any]:
    opinions = [
        {"reviewer": each.reviewer, **asdict(each.review), "flaws": sorted(each.flaws)} for each in panel.opinions
    ]
    ratings = {name: asdict(each) for name, each in panel.ratings.items()}
    return {
        "checks": asdict(panel.checks),
        "reviews": opinions,
        "failed": failed,
        "ratings": ratings,
        "decision": panel.decision,
    }


def _show(panel: Panel, failed: dict[int, str]) -> None:
    show(f"\nBy checks:\n{in_words(panel.checks)}")
    for each in panel.opinions:
        flaws = ", ".join(sorted(each.flaws)) or "none"
        show(f"\nReviewer {each.reviewer}:\n{in_words(each.review)}\nFlaws named: {flaws}")
    for reviewer, reason in failed.items():
        show(f"\nReviewer {reviewer}: no review in the form: {reason}")
    if panel.opinions:
        words = "median, and lowest to highest"
        show(f"\n{many(len(panel.opinions), 'reviewer')}, {words}:\n{ratings_in_words(panel.ratings)}")
    show(f"Decision: {panel.decision}")


def _calibrate(options: argparse.Namespace, config: Config) -> int:
    checks = check_rates(options.paper, Path(config.archive))
    with Archive.open(config.archive) as archive, SqlServer(archive):
        study = _study_of(options, config)
        meter = _meter(config, archive, study, not options.json)
        run = next(iter(study.registered.runs))
        reviewers = reviewer_rates(options.paper, study, options.reviewers, meter, run)
    if options.json:
        show_json({"checks": _counts(checks), "reviewers": _counts(reviewers)})
    else:
        show(rates_in_words(checks, reviewers))
    return DONE


def _counts(rates: dict[FlawKind | None, HitRate]) -> dict[str, Any]:
    return {kind or "false_alarms": asdict(each) for kind, each in rates.items()}
