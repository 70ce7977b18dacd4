"""``python -m archive paper`` and ``audit``: a number without a row is refused, and what was changed is found."""

from __future__ import annotations

import gzip
import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import duckdb
import pytest
from archive_sample import HOUSE
from hypothesis import given
from hypothesis import strategies as st
from study_sample import a_study

from archive.__main__ import main
from archive.paper import build, prose
from archive.paper.audit import audit
from archive.paper.bibliography import SHIPPED, BibliographyError, entries
from archive.paper.document import Document
from archive.paper.floats import _is_beyond, _worst_drawn, as_csv
from archive.paper.lint import lint
from archive.paper.markup import MarkupError, escape, tokens, unescaped
from archive.paper.numbers import QUANTITIES, Study, UnknownNumber
from archive.query.query import open_reader


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return a_study(tmp_path_factory.mktemp("study") / "a.duckdb")


@pytest.fixture(scope="module")
def study(archive: Path) -> Iterator[Study]:
    reader = open_reader(archive)
    with reader.held():
        yield Study.of(reader, "small")


@pytest.fixture(scope="module")
def built(archive: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Without pdfLaTeX, whose seconds the tests of the text do not need."""
    out = tmp_path_factory.mktemp("papers")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(build, "LATEX", "no-such-latex")
        assert main(["paper", "small", "--out", str(out), "--archive", str(archive)]) == 0
    return out / "small-1"


@pytest.fixture
def paper(built: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(built, tmp_path / "paper"))


def changed(study: Study, section: str, old: str, new: str) -> Document:
    sections = prose.sections(study)
    assert old in sections[section]
    return Document(study, {**sections, section: sections[section].replace(old, new, 1)})


def codes(document: Document) -> list[str]:
    return [finding.code for finding in lint(document)]


# ---------------------------------------------------------------- numbers


def test_the_numbers_are_those_of_the_rows(study: Study) -> None:
    shown = {key: study.shown(key) for key in ("runs", "evaluations", "evaluations.failed", "gain", "runs.champion")}
    assert shown == {
        "runs": "3",
        "evaluations": "51",
        "evaluations.failed": "3",
        "gain": "0.5500",
        "runs.champion": "3",
    }
    assert study.shown("baseline") == "3.0100"
    assert study.shown("best@small-1/tuning") == "2.7600"
    low, high = study.interval("gain") or (0, 0)
    assert low == pytest.approx(0.55 - 4.3026527 * 0.05 / 3**0.5)  # Student's t, two degrees of freedom
    assert high == pytest.approx(0.55 + 4.3026527 * 0.05 / 3**0.5)
    ablated = study.reader.query("SELECT node_id FROM nodes WHERE operator = 'revert' AND run = 'small-1'").rows[0][0]
    assert study.shown(f"loss@{ablated}") == "0.2500"
    assert 0 < study.value(f"loss.low@{ablated}") < 0.25 < study.value(f"loss.high@{ablated}")


@pytest.mark.parametrize(
    "key", ["gains", "gain@small-1", "best@small-1", "best@small-1/tuning/x", "x'; DROP", "", "Gain"]
)
def test_a_key_that_names_nothing_is_refused(study: Study, key: str) -> None:
    with pytest.raises(UnknownNumber, match="the names are"):
        study.shown(key)


@pytest.mark.parametrize("name", QUANTITIES)
def test_every_quantity_has_an_answer(study: Study, name: str) -> None:
    node = study.reader.query("SELECT node_id FROM nodes WHERE operator = 'revert'").rows[0][0]
    arguments = {"loss": [node], "best": ["small-1", "tuning"]}.get(name.split(".")[0], ["small-1"])
    if name in ("plan.stage", "evaluations.stage", "best.mean", "best.low", "best.high"):
        arguments = ["tuning"]
    count = QUANTITIES[name].arguments
    shown = study.shown(f"{name}@{'/'.join(arguments[:count])}" if count else name)
    assert shown != "n/a" or name in ("plan.patience", "plan.smallest")


# ---------------------------------------------------------------- the checks of the text


def test_the_plain_paper_has_no_findings(study: Study) -> None:
    assert lint(Document(study, prose.sections(study))) == []


@pytest.mark.parametrize("literal", ["0.93", "17", "1e-3", "99\\%", "$0.93$", "\\emph{0.93}", "12,345"])
def test_a_number_that_is_not_bound_is_refused_with_its_line(study: Study, literal: str) -> None:
    text = prose.sections(study)["results"]
    line = text[: text.index("\\tw{baseline}")].count("\n") + 1
    (finding,) = lint(changed(study, "results", "\\tw{baseline}", literal))
    assert (finding.code, finding.line) == ("unbound", line)
    assert finding.words.split()[0] == re.sub(r"\\emph|[^\d.,e-]", "", literal)


def test_settings_of_the_plan_may_be_written(study: Study) -> None:
    assert (
        codes(
            changed(
                study,
                "results",
                "\\tw{baseline}",
                "at most 108 evaluations of 26 toys, with a 95\\% interval at the level 0.95",
            )
        )
        == []
    )


@pytest.mark.parametrize(
    ("section", "old", "new", "code"),
    [
        ("results", "The baseline", "The \\input{/etc/passwd} baseline", "markup"),
        ("results", "The baseline", "The \\write18{id} baseline", "markup"),
        ("results", "\\tw{baseline}", "\\tw{baselines}", "unknown"),
        ("results", "\\twfigure{stages}", "\\twfigure{spectrum}", "unknown"),
        ("related", "romera2024mathematical", "smith2031everything", "citation"),
        ("related", "FunSearch", "TODO: FunSearch", "placeholder"),
        ("related", "FunSearch", "Conclusions here. FunSearch", "placeholder"),
        ("results", "\\twfigure{stages}", "", "figure"),
        ("results", "\\twfigure{stages}", "\\twfigure{stages}\n\n\\twfigure{stages}", "figure"),
        ("results", "\\twfigure{stages}", "\\twfigure{stages}\n\n\\twfigure{curves}", "figure"),
        ("results", "\\twtable{runs}", "", "unreported"),
        ("limitations", "\\tw{deviations}", "none", "unreported"),
        ("setup", "\\twtable{settings}", "", "unreported"),
        ("introduction", "\\tw{runs} independent", "41 independent", "unbound"),
        ("method", "\\tw{plan.stage@tuning}", "22", "unbound"),
        ("results", "gain is \\tw{gain}", "gain is \\tw{gain.high}", "bound"),
        ("results", "\\tw{gain.low} to ", "", "bound"),
        ("abstract", "\\tw{verdict}", "supported", "unreported"),
        ("results", "\\tw{verdict}", "supported", "unreported"),
        ("related", "FunSearch", "\x0cFunSearch", "markup"),
    ],
)
def test_what_is_wrong_is_found(study: Study, section: str, old: str, new: str, code: str) -> None:
    assert code in codes(changed(study, section, old, new))


@pytest.mark.parametrize(
    ("section", "old", "new"),
    [
        ("related", "FunSearch", "Since 2024, FunSearch"),  # in the entry that the sentence cites
        ("method", "The baseline", "With A = 1, the baseline"),  # in the seed program
        ("introduction", "Reports", "GPT-4 and SHA-256 are names. Reports"),
        ("results", "In the claims", "The gain is at least \\tw{gain.low}. In the claims"),
    ],
)
def test_honest_sentences_raise_no_alarm(study: Study, section: str, old: str, new: str) -> None:
    assert old in prose.sections(study)[section]
    assert codes(changed(study, section, old, new)) == []


def test_a_score_far_from_the_others_does_not_stretch_the_axis() -> None:
    rows = [("r", 1, n, "tuning", score, best) for n, (score, best) in enumerate([(3, 3), (2, 2), (3.9, 2), (9, 2)])]
    assert _worst_drawn(rows, larger=False) == 4
    assert [_is_beyond(row[4], 4, larger=False) for row in rows] == [False, False, False, True]
    assert _worst_drawn(rows[:3], larger=False) is None
    assert _worst_drawn([("r", 1, 0, "tuning", None, None)], larger=True) is None


def test_a_section_that_is_there_twice_or_not_at_all(study: Study) -> None:
    sections = prose.sections(study)
    assert "repeated" in codes(Document(study, {**sections, "related": sections["related"] + sections["method"]}))
    assert codes(Document(study, {**sections, "related": " \n"}))[0] == "section"


@pytest.mark.slow
def test_an_improvement_whose_interval_holds_zero_is_not_claimed(tmp_path: Path, study: Study) -> None:
    reader = open_reader(a_study(tmp_path / "a.duckdb", (0.5, -0.4, 0.1)))
    noisy = Study.of(reader, "small")
    assert codes(Document(noisy, prose.sections(noisy))) == []
    assert (noisy.shown("verdict"), study.shown("verdict")) == ("not supported", "supported")
    claim = "The search improves the program by \\tw{gain}. In"
    assert codes(
        changed(noisy, "results", "In\n" if "In\n" in prose.sections(noisy)["results"] else "In ", f"{claim} ")
    ) == ["claim"]
    assert codes(changed(study, "results", "In ", f"{claim} ")) == []
    own = "Run two improves by \\tw{claim.gain@small-2}. In "
    assert "claim" in codes(changed(noisy, "results", "In ", own))


@pytest.mark.slow
def test_a_study_of_programs_of_several_sizes_has_a_scaling_figure(tmp_path: Path, study: Study) -> None:
    assert "fig:scaling" not in prose.sections(study)["results"]
    path = a_study(tmp_path / "a.duckdb")
    sized = "UPDATE evaluations SET metrics = json_object('parameters', {}) WHERE score IS NOT NULL"
    for size, shown in (("1000", False), ("1000 * ascii(node_id)", True)):
        with duckdb.connect(str(path)) as raw:
            raw.execute(sized.format(size))
        sized_study = Study.of(open_reader(path), "small")
        sections = prose.sections(sized_study)
        assert ("\\twfigure{scaling}" in sections["results"]) == shown
    assert lint(Document(sized_study, sections)) == []
    lines = as_csv("scaling", sized_study).splitlines()
    assert lines[0] == "run,seed,node,parameters,score,evaluations"
    programs = "SELECT count(DISTINCT node_id) FROM study_evaluations WHERE purpose = 'screen' AND score IS NOT NULL"
    assert [(len(lines) - 1,)] == sized_study.reader.query(programs).rows


# ---------------------------------------------------------------- the small LaTeX


@given(st.text(max_size=60))
def test_escaped_text_is_read_as_text(text: str) -> None:
    found = list(tokens(rf"{escape(text)} \texttt{{{escape(text)}}}"))
    assert {token.kind for token in found} <= {"text", "escaped", "texttt"}
    plain = "".join(c if c.isprintable() and ord(c) < 0x180 else "?" for c in " ".join(text.split()))
    assert unescaped(found[-1].text) == plain


@given(st.text(alphabet="\\{}$&%#_^~ab0.\n", max_size=30))
def test_no_text_gets_a_command_through(text: str) -> None:
    try:
        found = list(tokens(text))
    except MarkupError:
        return
    assert "".join(token.raw for token in found) == text
    rest = "".join(token.raw for token in found if token.kind == "text")
    assert not set(rest) & set("\\{}$&%#_^~")


# ---------------------------------------------------------------- references


def test_the_references_that_come_along_can_be_read() -> None:
    found = entries(SHIPPED.read_text(encoding="utf-8"))
    assert found["auer2002finite"].text.startswith("Peter Auer, Nicolo Cesa-Bianchi, Paul Fischer. Finite-time")
    assert found["romera2024mathematical"].text.startswith("Bernardino Romera-Paredes et al. Mathematical")
    assert all(reference.fields["year"].isdigit() for reference in found.values())


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("@article{a, title={T}, year=2000}", "no author"),
        ("@article{a, author={A}, title={T}, year=2000} @misc{a, author={A}, title={T}, year={2001}}", "twice"),
        ("@article{a, author={A, title={T}", "without an end"),
        ("@misc{a, author={A}, title={A T.}, year=1} @misc{b, author={B}, title={a {T}}, year=2}", "a and b have one"),
        ("@article{a, author={A}, title={T}, year=2000", "brace"),
    ],
)
def test_a_bibliography_that_cannot_be_used_says_why(text: str, words: str) -> None:
    with pytest.raises(BibliographyError, match=words):
        entries(text)


# ---------------------------------------------------------------- building


@pytest.mark.slow
def test_each_attempt_is_a_new_folder(archive: Path, built: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(build, "LATEX", "no-such-latex")
    before = {path: path.read_bytes() for path in built.rglob("*") if path.is_file()}
    words = ["paper", "small", "--out", str(built.parent), "--archive", str(archive), "--draft", str(built)]
    assert main(words) == 0
    assert {path: path.read_bytes() for path in built.rglob("*") if path.is_file()} == before
    again = built.parent / "small-2"
    assert (again / "paper.tex").read_bytes() == (built / "paper.tex").read_bytes()
    shutil.rmtree(again)


def test_a_command_that_is_killed_leaves_no_attempt(
    study: Study, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The next one has the same number, so that a model's answers to it are not paid for twice."""

    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(build, "draw", killed)
    with pytest.raises(KeyboardInterrupt):
        build.build(study, prose.sections(study), tmp_path, 8)
    assert build.next_attempt(tmp_path, "small") == 1


@pytest.mark.slow
def test_without_latex_there_is_html_of_the_same_content(built: Path) -> None:
    page, source = ((built / name).read_text() for name in ("paper.html", "paper.tex"))
    numbers = json.loads((built / "numbers.json").read_text())
    assert numbers["gain"]["value"] == "0.5500"
    assert "0.5500 (95% interval 0.4258 to 0.6742" in re.sub(r"\s+", " ", page)
    for run in ("small-1", "small-2", "small-3"):
        assert run in page
        assert run in source
    assert not (built / "paper.pdf").exists()


@pytest.mark.slow
def test_a_draft_with_an_invented_number_is_not_built(
    archive: Path, paper: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    section = paper / "sections" / "results.tex"
    section.write_text(section.read_text().replace("\\tw{gain}", "0.93", 1))
    words = ["paper", "small", "--out", str(tmp_path / "out"), "--archive", str(archive), "--draft", str(paper)]
    assert main(words) == 1
    said = capsys.readouterr().err
    assert re.search(r"unbound: results line \d+: 0\.93 is neither bound", said)
    assert (tmp_path / "out" / "small-1" / "findings.txt").read_text()
    assert not (tmp_path / "out" / "small-1" / "paper.tex").exists()


def test_an_unknown_study_names_those_that_are_there(
    archive: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["paper", "large", "--out", str(tmp_path), "--archive", str(archive)]) == 1
    assert "no study 'large'; there are small" in capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="no pdflatex here")
def test_pdflatex_makes_a_paper_within_its_limit(archive: Path, tmp_path: Path) -> None:
    """pdfLaTeX is a process."""
    assert main(["paper", "small", "--out", str(tmp_path), "--pages", "4", "--archive", str(archive)]) == 0
    pdf = tmp_path / "small-1" / "paper.pdf"
    assert pdf.read_bytes().startswith(b"%PDF")
    elsewhere = Path(shutil.copytree(pdf.parent, tmp_path / "elsewhere"))
    assert main(["audit", str(elsewhere), "--archive", str(archive)]) == 0, "it is typeset alike in another folder"
    (elsewhere / "paper.pdf").write_bytes(pdf.read_bytes().replace(b"endobj", b"endobj ", 1))
    reader = open_reader(archive)
    with reader.held():
        assert [fault.code for fault in audit(elsewhere, reader)] == ["pdf"]
    study = Study.of(open_reader(archive), "small")
    assert [each.code for each in build.build(study, prose.sections(study), tmp_path, 1).findings] == ["pages"]


# ---------------------------------------------------------------- the audit


@pytest.mark.slow
def test_a_paper_is_as_the_archive_has_it(
    archive: Path, paper: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    elsewhere = shutil.copy(archive, tmp_path / "theirs.duckdb")
    assert main(["audit", str(paper), "--archive", str(elsewhere)]) == 0
    capsys.readouterr()
    for kind in ("pdf", "png"):  # the picture of other rows
        shutil.copy(paper / f"figures/stages.{kind}", paper / f"figures/progress.{kind}")
    assert main(["audit", str(paper), "--archive", str(elsewhere), "--json"]) == 1
    pictures = [fault["words"] for fault in json.loads(capsys.readouterr().out)]
    assert pictures == [f"figures/progress.{kind} is not the picture of its rows" for kind in ("pdf", "png")]
    rewrite(paper / "sections/results.tex", "\\tw{baseline}", "2.1")
    assert main(["audit", str(paper), "--archive", str(elsewhere), "--json"]) == 1
    assert "text" in {fault["code"] for fault in json.loads(capsys.readouterr().out)}


def faults(paper: Path, archive: Path) -> set[str]:
    reader = open_reader(archive)
    with reader.held():
        return {fault.code for fault in audit(paper, reader, pictures=False)}


def rewrite(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("file", "old", "new", "code"),
    [
        ("paper.tex", "\\twdef{gain}{$0.5500$}", "\\twdef{gain}{$0.9500$}", "number"),
        ("paper.tex", "\\tw{baseline}", "2.1", "latex"),
        ("paper.tex", "small-2 &", "small-9 &", "latex"),
        ("paper.tex", "\\begin{document}\n", "\\begin{document}\x0c", "latex"),
        ("paper.html", "0.5500", "0.9500", "html"),
        ("numbers.json", "0.5500", "0.9500", "number"),
        ("sections/results.tex", "\\tw{baseline}", "2.1", "text"),
        ("sections/results.tex", "\\twtable{runs}", "", "text"),
        ("sections/related.tex", "lu2024aiscientist", "nobody2024", "text"),
        ("sections/related.tex", "FunSearch", "FunSearch and others", "latex"),
        ("figures/progress.csv", "2.75", "2.05", "figure"),
        ("paper.json", '"digest": "', '"digest": "0', "plan"),
    ],
)
def test_what_was_changed_in_a_paper_is_found(
    archive: Path, paper: Path, file: str, old: str, new: str, code: str
) -> None:
    rewrite(paper / file, old, new)
    assert code in faults(paper, archive)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("statement", "code"),
    [
        ("UPDATE evaluations SET score = score - 0.1 WHERE outcome = 'scored' AND run = 'small-2'", "number"),
        ("DELETE FROM runs WHERE run = 'small-3'", "run"),
        ("DELETE FROM evaluations WHERE run = 'small-3' AND move = 5", "run"),
        ("INSERT INTO evaluations SELECT * FROM evaluations WHERE run = 'small-3' AND move = 5", "archive"),
        ("UPDATE decisions SET detail = replace(detail, '3.02', '3.22')", "claim"),
        ("UPDATE runs SET seed = 9 WHERE run = 'small-3'", "settings"),
        ("UPDATE studies SET plan = replace(plan, '0.95', '0.5')", "plan"),
        ('UPDATE runs SET identity = json_merge_patch(identity, \'{"task": {"seconds": 99}}\')', "settings"),
    ],
)
def test_what_was_changed_in_an_archive_is_found(
    archive: Path, paper: Path, tmp_path: Path, statement: str, code: str
) -> None:
    path = Path(shutil.copy(archive, tmp_path / "theirs.duckdb"))
    with duckdb.connect(str(path)) as raw:
        raw.execute(statement)
    assert code in faults(paper, path)


def test_an_audit_reads_nothing_outside_of_the_paper(
    archive: Path, paper: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (paper / "paper.tex").unlink()
    (paper / "paper.tex").symlink_to("/etc/hostname")
    assert main(["audit", str(paper), "--archive", str(archive)]) == 1
    assert "lies outside of the paper" in capsys.readouterr().err


@pytest.mark.slow
def test_a_merged_study_keeps_its_plan_and_its_runs(archive: Path, paper: Path, tmp_path: Path) -> None:
    both = tmp_path / "both.duckdb"
    for _ in range(2):  # the second time there is nothing new
        assert main(["merge", str(archive), "--archive", str(both)]) == 0
    assert faults(paper, both) == set()
    assert open_reader(both).query("SELECT count(*) FROM study_runs").rows == [(3,)]
    assert main(["check", "--archive", str(both)]) == 0


# ---------------------------------------------------------------- the study that comes along


def test_the_shipped_study_says_what_the_page_says(tmp_path: Path) -> None:
    docs = HOUSE / "docs"
    path = tmp_path / "circles.duckdb"
    path.write_bytes(gzip.decompress((docs / "studies" / "circles.duckdb.gz").read_bytes()))
    reader = open_reader(path)
    with reader.held():
        study = Study.of(reader, "circles")
        assert lint(Document(study, prose.sections(study))) == []
        assert study.shown("deviations") == "none"
        keys = ("baseline", "final", "gain", "gain.low", "gain.high", "evaluations")
        page = " ".join((docs / "studies.md").read_text().split())
        assert [key for key in keys if f"{study.shown(key)} " not in page] == []
