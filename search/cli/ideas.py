"""``python -m search ideas``: hypotheses for studies, by a language model or from the scores of a run."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from itertools import islice
from pathlib import Path

from archive.errors import ArchiveError
from archive.paper.literature import Publication, read_literature
from archive.paper.novelty import MISSING, NoveltyFinding, available, history, judge
from archive.query.query import Reader, open_reader
from archive.query.questions import which_run
from archive.query.server import SqlServer
from archive.records import Run
from archive.research_ideas import ResearchIdea
from archive.storage.store import Archive
from archive.tree import Tree
from operators.llm.base import LlmError
from operators.llm.meter import Meter
from operators.sanitize import quote
from prepare.config import SettingsError
from prepare.output import DONE, FAILED, Parser, many
from search import factory, settings
from search.cli.ablate import AblationError, located
from search.cli.terminal import show, show_error, show_json
from search.config import Config
from search.study.hypotheses import hypotheses
from search.study.ideas import IdeaRequest, facts_of, ideas_of, known_in_words
from search.study.online import OnlineIndex, found_online, index_of

_DESCRIPTION = """\
Record hypotheses for studies in the archive. A language model proposes them, and reflects on them --rounds times with
what the program found on their novelty; without one they come from the scores of the run: parameters, steps that no
ablation has taken out, merges that were never tried. An idea is novel only if nothing similar is in the archive and in
the files of --literature; without such a file it is known or undecided. --online asks an index on the Internet, too; an
idea on which it is silent is never novel.
"""
_MOST_SILENCES = 3
"""Deadlines that one command waits for: an index that hangs costs no more, however many ideas there are."""
_IDEAS = "SELECT name, hypothesis FROM research_ideas ORDER BY made_at, idea"


@dataclass(frozen=True)
class LiteratureStore:
    """What novelty is compared with, beside the archive: files, and an index that is asked for each idea."""

    files: tuple[Publication, ...]
    index: OnlineIndex | None
    seconds: float
    """The index's time for one idea."""
    silences: list[str] = field(default_factory=list)
    """The titles on which the index was silent. After ``_MOST_SILENCES`` of them it is not asked again."""

    @property
    def empty(self) -> bool:
        return not self.files and self.index is None

    def judged(self, idea: ResearchIdea, past: Sequence[Publication]) -> NoveltyFinding:
        """Return the novelty of an idea: not ``novel`` where the index is silent."""
        online = () if self.index is None else self._online(self.index, idea.title)
        finding = judge(f"{idea.title}. {idea.hypothesis}", past, (*self.files, *(online or ())))
        return NoveltyFinding("undecided") if online is None and finding.novelty == "novel" else finding

    def _online(self, index: OnlineIndex, title: str) -> tuple[Publication, ...] | None:
        """Return what the index has; None if it is silent, now or several times before."""
        if len(self.silences) >= _MOST_SILENCES:
            return None
        found = found_online(index, title, self.seconds)
        if found is None:
            self.silences.append(title)
        return found


def ideas(arguments: Sequence[str]) -> int:
    """Run the command. Returns 0, or 1 where there is no run or no answer. Raises SettingsError."""
    options = _parser().parse_intermixed_args(arguments)
    config = settings.config_for(options.overrides, factory.device_for, options.config_dir)
    try:
        _ideas(options, config)
    except (AblationError, ArchiveError, LlmError) as error:
        show_error(error)
        return FAILED
    return DONE


def _parser() -> argparse.ArgumentParser:
    parser = Parser(
        prog="python -m search ideas",
        usage="python -m search ideas [--from FILE] [--count N] [--literature FILE] [--online NAME] [run=NAME]",
        description=_DESCRIPTION,
    )
    count, rounds, seconds = (settings.whole_number(*ends) for ends in ((1, 50), (0, 9), (1, 600)))
    parser.add_argument(
        "overrides", metavar="NAME=VALUE", nargs="*", help="archive=, run=, llm= and what belongs to it"
    )
    parser.add_argument(
        "--from", dest="topic", metavar="FILE", type=Path, help="a text on what the model is to look at"
    )
    parser.add_argument("--count", metavar="N", type=count, default=5, help="new ideas at most (5)")
    parser.add_argument("--rounds", metavar="N", type=rounds, default=2, help="of reflection by the model (2)")
    parser.add_argument(
        "--literature", metavar="FILE", type=Path, action="append", default=[], help=".bib, or .jsonl of abstracts"
    )
    parser.add_argument("--online", metavar="NAME", help="an index to ask, too: openalex or semanticscholar")
    parser.add_argument("--deadline", metavar="S", type=seconds, default=20, help="seconds for one idea (20)")
    parser.add_argument("--json", action="store_true", help="print an array of objects")
    parser.add_argument("--config-dir", metavar="DIR", help="a conf/ folder of your own")
    return parser


def _ideas(options: argparse.Namespace, config: Config) -> None:
    index = None if options.online is None else index_of(options.online)
    literature = LiteratureStore(read_literature(options.literature), index, options.deadline)
    topic = _topic(options.topic)
    if not Path(config.archive).exists():
        raise AblationError(f"there is no archive {config.archive}; name it with archive=FILE")
    with Archive.open(config.archive) as archive, SqlServer(archive):
        reader = open_reader(config.archive)
        name = which_run(reader, config.run)
        root = archive.query("SELECT node_id FROM nodes WHERE run = ? ORDER BY number LIMIT 1", [name])
        if not root:
            raise AblationError(f"run {name!r} has no program yet; there is nothing to start from")
        run, _, tree = located(archive, root[0][0])
        model = factory.build_llm(config, archive, name, agents=True)
        if model.meter is None:
            found = _from_archive(archive, reader, tree, options.count, literature)
        else:
            found = _from_model(model.meter, reader, run, tree, topic, options, literature)
        with archive.transaction():
            for idea in found:
                archive.suggest(idea)
    _show(found, options, literature, model)


def _topic(path: Path | None) -> str:
    """Return the topic as a section of a prompt; empty without one. Raises SettingsError."""
    if path is None:
        return ""
    try:
        return f"The topic:\n\n{quote(path.read_text(encoding='utf-8'), 'topic', keep='head')}"
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"--from {path} cannot be read as UTF-8 text: {error}") from error


def _known(reader: Reader) -> list[tuple[str, str]]:
    return [(str(name), str(hypothesis)) for name, hypothesis in reader.query(_IDEAS).rows]


def _from_archive(
    archive: Archive, reader: Reader, tree: Tree, count: int, literature: LiteratureStore
) -> tuple[ResearchIdea, ...]:
    """Return hypotheses that are not recorded yet. The history decides what they are; only literature is compared."""
    known = set(_known(reader))
    new = (idea for idea in hypotheses(archive, tree) if (idea.name, idea.hypothesis) not in known)
    found = []
    for idea in islice(new, count):
        finding = literature.judged(idea, ())
        found.append(replace(idea, novelty=finding.novelty, closest=finding.closest))
    return tuple(found)


def _from_model(
    llm: Meter,
    reader: Reader,
    run: Run,
    tree: Tree,
    topic: str,
    options: argparse.Namespace,
    literature: LiteratureStore,
) -> tuple[ResearchIdea, ...]:
    past = history(reader)
    request = IdeaRequest(options.count, facts_of(run, tree), topic, known_in_words(_known(reader)), options.rounds)
    return ideas_of(request, llm, run.run, lambda idea: literature.judged(idea, past))


def _show(
    found: Sequence[ResearchIdea], options: argparse.Namespace, literature: LiteratureStore, model: factory.Llm
) -> None:
    if options.json:
        show_json([asdict(idea) for idea in found])
        return
    if model.meter is not None:
        show(model.line)
    else:
        unread = "; --from is only read by one" if options.topic is not None else ""
        show(f"Without a language model: hypotheses from the scores of the run{unread}.")
    if not available():
        show(MISSING)
    elif literature.empty:
        show("No literature: without --literature no idea is called novel.")
    if literature.index is not None and len(literature.silences) >= _MOST_SILENCES:
        show(f"{literature.index.name} was silent {len(literature.silences)} times, and was not asked again.")
    for idea in found:
        show(f"\n{idea.name}: {idea.title}")
        show(f"  hypothesis: {idea.hypothesis}\n  experiment: {idea.experiment}")
        show(f"  expected effect: {idea.expected_effect}\n  risk: {idea.risk}")
        ratings = f"interestingness {idea.interestingness}, feasibility {idea.feasibility} (of 10)"
        show(f"  {ratings}; {NoveltyFinding(idea.novelty, idea.closest)}")
    show(
        f"\n{many(len(found), 'idea')} recorded in research_ideas."
        if found
        else "\nNo idea that is not recorded already."
    )
