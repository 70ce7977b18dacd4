"""Calibration: flaws that are planted in copies of a sound paper, and how many of them its checks find.

A control is a copy with an honest sentence more: a check that finds fault with it raises a false alarm.
"""

from __future__ import annotations

import re
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Literal, get_args

from archive.paper.audit import audit, facts_of
from archive.paper.build import PaperError, read_sections, read_text
from archive.paper.document import Document
from archive.paper.literals import BOUND
from archive.paper.numbers import RememberingReader, Study
from archive.query.query import Reader, held, open_reader
from archive.storage.backup import copied
from archive.storage.database import connect

FlawKind = Literal["changed_number", "missing_ablation", "leaked_test", "duplicate_section"]
KINDS: tuple[FlawKind, ...] = get_args(FlawKind)
_MOST = 4
"""Numbers that are changed in one section."""
_LEAK = (
    "The cases of the claims were also scored while the search ran, and its programs were chosen by these scores, "
    "so that the reported comparison is on data that the search has seen."
)
_LEAKED_ROWS = "UPDATE evaluations SET split = 'holdout' WHERE purpose = 'screen' AND run = ?"
_COPIES = (("method", "related"), ("background", "limitations"), ("introduction", "background"))
"""Section -> where its text stands a second time."""


@dataclass(frozen=True)
class Plant:
    """A flaw, or a control (``kind`` None). Sections, one file, or the rows of the archive are other than they were."""

    kind: FlawKind | None
    words: str
    sections: Mapping[str, str]
    file: tuple[str, str] | None = None
    """Name and text of a file that does not follow from the sections."""
    leaks: bool = False
    """Whether the search's evaluations are on the cases of the claim."""


@dataclass(frozen=True)
class HitRate:
    """How many of some papers were found fault with, and which were not (of controls: which were)."""

    found: int
    of: int
    exceptions: tuple[str, ...]

    def __str__(self) -> str:
        return f"{self.found} of {self.of}"


def controls(sections: Mapping[str, str]) -> Iterator[Plant]:
    """Yield the paper as it is, and with an honest sentence more in each section."""
    yield Plant(None, "the paper as it is", sections)
    for name in sections:
        more = f"{sections[name].rstrip()} The section {name} was read again (see SHA-256) before this was built.\n"
        yield Plant(None, f"a sentence more in {name}", {**sections, name: more})


def plants(folder: Path, study: Study) -> Iterator[Plant]:
    """Yield papers with one flaw each. Raises PaperError."""
    sections = read_sections(folder)
    for name in (*BOUND, "introduction", "method"):
        yield from islice(_typed(study, sections, name), _MOST)
    yield from _changed_file(folder, sections)
    yield from _exchanged(sections)
    yield from _without_ablation(sections)
    yield Plant("leaked_test", "said in the method", {**sections, "method": f"{sections['method'].rstrip()} {_LEAK}\n"})
    yield Plant("leaked_test", "in the rows of the archive", sections, leaks=True)
    for source, target in _COPIES:
        twice = {**sections, target: f"{sections[target].rstrip()}\n\n{sections[source]}"}
        yield Plant("duplicate_section", f"{source} again in {target}", twice)


def _typed(study: Study, sections: Mapping[str, str], name: str) -> Iterator[Plant]:
    r"""Yield papers in which one ``\tw{KEY}`` of a section is a typed number that is not the value."""
    for key in dict.fromkeys(re.findall(r"\\tw\{([^{}]*)\}", sections[name])):
        shown = study.shown(key)
        other = another(shown)
        if study.is_text(key) or other == shown:
            continue
        text = sections[name].replace(rf"\tw{{{key}}}", other, 1)
        yield Plant("changed_number", f"{name}: {key} is {shown}, typed as {other}", {**sections, name: text})


def another(shown: str) -> str:
    """Return a number with another first digit."""
    return re.sub(r"[1-9]", lambda match: str(int(match[0]) % 9 + 1), shown, count=1)


def _changed_file(folder: Path, sections: Mapping[str, str]) -> Iterator[Plant]:
    for name, pattern in (("paper.tex", r"(\\twdef\{gain\}\{\$)([^$]*)"), ("paper.html", r"(interval )([-\d.]+)")):
        text = read_text(folder / name, folder)
        changed = re.sub(pattern, lambda match: match[1] + another(match[2]), text, count=1)
        if changed != text:
            yield Plant("changed_number", f"in {name} alone", sections, (name, changed))


def _exchanged(sections: Mapping[str, str]) -> Iterator[Plant]:
    text = sections["results"].replace(r"\tw{gain}", r"\tw{gain.high}", 1)
    if text != sections["results"]:
        words = "results: the upper end of the interval in place of the mean gain"
        yield Plant("changed_number", words, {**sections, "results": text})


def _without_ablation(sections: Mapping[str, str]) -> Iterator[Plant]:
    """Yield papers without the section, without its figure and table, and without the table."""
    text = sections["ablations"]
    if r"\twtable{ablation}" not in text:
        return
    yield Plant("missing_ablation", "nothing was ablated", {**sections, "ablations": "Nothing was ablated here.\n"})
    yield Plant("missing_ablation", "an empty section", {**sections, "ablations": ""})
    without = re.sub(r"\s*\(?[^().]*Table~\\ref\{tab:ablation\}\)?", "", text).replace(r"\twtable{ablation}", "")
    yield Plant("missing_ablation", "without the table", {**sections, "ablations": without})


def check_rates(folder: Path, archive: Path) -> dict[FlawKind | None, HitRate]:
    """Return how many plants of each kind, and under None how many controls, the checks find fault with.

    Raises PaperError for a paper that has faults already.
    """
    with tempfile.TemporaryDirectory(prefix="treewright-") as scratch, held(open_reader(archive)) as file:
        reader = RememberingReader(file)  # one for all audits
        study = Study.of(reader, facts_of(folder)["study"])
        if audit(folder, reader):
            raise PaperError(
                f"flaws are planted in a sound paper, and {folder} has faults: see python -m archive audit"
            )
        whole, leaked = Path(shutil.copytree(folder, Path(scratch) / "paper")), Path(scratch) / "leaked.duckdb"
        _leak(archive, leaked, next(iter(study.registered.runs)))
        seen: dict[FlawKind | None, list[tuple[str, bool]]] = {kind: [] for kind in (*KINDS, None)}
        with held(open_reader(leaked)) as of_leaked:
            for each in (*controls(read_sections(folder)), *plants(folder, study)):
                found = _found(whole, each, study, of_leaked if each.leaks else reader)
                seen[each.kind].append((each.words, found))
    return {kind: rate(results, sound=kind is None) for kind, results in seen.items() if results}


def rate(results: list[tuple[str, bool]], sound: bool) -> HitRate:
    """Return the rate of (what it was, whether it was found fault with)."""
    return HitRate(sum(hit for _, hit in results), len(results), tuple(name for name, hit in results if hit is sound))


def rates_in_words(
    checks: Mapping[FlawKind | None, HitRate], reviewers: Mapping[FlawKind | None, HitRate] | None = None
) -> str:
    """Return hit rates and false alarms as a table, with what the checks missed."""
    rows = [["planted flaw", "checks", *(["reviewers"] if reviewers is not None else [])]]
    for kind in (*KINDS, None):
        name = "false alarms" if kind is None else kind.replace("_", " ")
        rows.append([name, *(str(rates.get(kind, "none")) for rates in (checks, reviewers) if rates is not None)])
    lines = ["".join(f"{cell:<19}" for cell in row).rstrip() for row in rows]
    for kind, each in checks.items():
        verb = "raised a false alarm on" if kind is None else "missed"
        lines += [f"the checks {verb}: {words}" for words in each.exceptions]
    return "\n".join(lines)


def _leak(archive: Path, target: Path, run: str) -> None:
    """Copy the archive, with a run whose search has read the cases of the claim."""
    with copied(archive, target):
        pass
    with connect(target, read_only=False) as raw:
        raw.execute(_LEAKED_ROWS, [run])


def _found(paper: Path, plant: Plant, study: Study, reader: Reader) -> bool:
    """Return whether the audit has a fault of the paper, which is written over with the plant."""
    document = Document(study, plant.sections)
    for name, text in plant.sections.items():
        (paper / "sections" / f"{name}.tex").write_text(text, encoding="utf-8")
    files = {"paper.tex": document.latex(), "paper.html": document.html(), **dict([plant.file] if plant.file else [])}
    for name, text in files.items():
        (paper / name).write_text(text, encoding="utf-8")
    return bool(audit(paper, reader, pictures=False))
