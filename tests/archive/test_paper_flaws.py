"""Flaws of each kind, planted in the text of a paper: every one has a finding, and honest sentences have none."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Sequence
from itertools import accumulate
from pathlib import Path

import duckdb
import pytest
from study_sample import a_study

from archive.paper.document import Document
from archive.paper.lint import lint
from archive.paper.numbers import Study
from archive.query.query import open_reader

DIGITS = (
    "The gain is .93.", "It is 3x faster.", "It is 2-fold faster.", "The gain was 0,55 in all.",
    "The final programs reach 19,2.", "It reaches \\emph{0}.\\emph{93}.", "It reaches 1\\textbf{08} of it.",
    "It reaches $9 \\times 10^{2}$.", "It reaches $10^{3}$.", "It reaches $0.9 3$.", "The gain is baseline-0.93.",
    "It rises from 1.93-2.57 in all.", "The gain is ½.", "The gain is ².", "It needed 1e-3 of it.",
    "The gain is 5 points.", "The gain is $p<0.05$.", "The gain is x2.", "The baseline scores \\texttt{3.2}.",
    "It takes 3/4 of it.", "The gain is 0.5×10.", "The gain is -1.", "It is as good as 3:1.",
)  # fmt: skip
WORDS = (
    "The score rose twofold.", "Scores doubled.", "The loss is half of it.", "It is three\n  times as small.",
    "It is ninety percent less.", "A third of the loss is gone.", "The loss fell by an order of magnitude.",
    "The gain is twenty-five.", "All runs passed their claim.", "None of the evaluations failed.",
    "Every run improved.", "Two of the runs were champions.", "Only one run failed.", "Most seeds improved.",
)  # fmt: skip
SETTINGS = (
    "The gain is 0.95.", "The mean gain is 10.", "The interval has a level of 90\\%.", "It needed 4 tries.",
    "108 evaluations were made.",
)  # fmt: skip
BINDINGS = (
    "The gain is 0.9\\tw{runs}.", "The gain is 1\\tw{gain}.", "\\tw{runs}\\tw{runs} runs were made.",
    "The gain is \\tw{gain}\\%.", "The gain is -\\tw{gain}.", "The gain is \\tw{gain} times.", 
    "The gain is \\tw{gain}e3.",
    "The gain is \\tw{gain} thousand.", "The gain is \\tw{gain}$^{2}$.", "The mean gain is \\tw{baseline}.",
    "The final program scores \\tw{baseline}.", "The baseline scores \\tw{final}.", "The baseline scores \\tw{gain}.",
    "The mean gain is \\tw{claim.gain@small-1}.", "Run small-2 gains \\tw{claim.gain@small-1} in its claim.",
    "Run small-2 gains \\tw{gain} in its claim.", "The best is \\tw{best.mean@research} after tuning.",
    "The gain of run small-1 is \\tw{claim.gain@small-1} (interval \\tw{claim.gain.low@small-2} to "
    "\\tw{claim.gain.high@small-2}), and small-2 was made, too.",
    "The mean gain is \\tw{gain}, between \\tw{gain.high} and \\tw{gain.low}.",
    "The best is \\tw{best.mean@research} after tuning and \\tw{best.mean@tuning} after research.",
)  # fmt: skip
SOURCES = (
    "As Smith et al. showed, this is known.", "See arXiv:2401.01234 for it.", "This is known [12].",
    "Smith and Jones showed that it is.", "See https://example.org for more.", "It was shown (Smith, 2031).",
)  # fmt: skip
CLAIMS = (
    "The search improves the program.", "Without doubt the search improves the program.",
    "The search improves the program and is not slower.", "Our final programs are better.",
    "The final programs beat the baseline.", "The final program surpasses the baseline.", "Our search lowers the loss.",
    "The search is effective.", "The search succeeds.", "The hypothesis holds.", "The final program works best of all.",
    "The search raises the score.", "Our tuning pays off.", "The gain is significant.", "The search helps.",
    "These results confirm the hypothesis.", "Not only does the search improve the program, it is fast.",
    "The final program wins against the baseline.", "The gain over the baseline is real.",
    "The interval lies above zero, and the hypothesis is supported.",
    "The final programs score lower loss than the baseline.",
)  # fmt: skip
LEAKS = (
    "The test set was used to select programs.", "Programs were tuned on the held-out data.",
    "The search has seen the cases of the claims.", "Candidates were picked by their holdout score.",
    "Early stopping used the test data.", "We trained on the test cases.",
)  # fmt: skip
METHOD = (
    "The constant A = 2 here.", "Here B = 1 and A = 2.", "It has 41 layers.", "The search doubled the score.",
    "It was run with forty seeds.", "There are seven stages.", "It gains several percent.", "It has fifteen parts.",
    "With sets of 512 vectors it runs~\\cite{romera2024mathematical}.",
    "A search was published by Auer in 2003~\\cite{auer2002finite}.",
)  # fmt: skip
HONEST = {
    "results": (
        "At most 108 evaluations were planned.", "The 95\\% interval is wide.", "The hypothesis speaks of 26 toys.",
        "The three seeds differ.", "In \\tw{runs.champion} of \\tw{runs.made} runs the claim passed.",
        "Run small-2 gains \\tw{claim.gain@small-2} in its claim.", "The gain is at least \\tw{gain.low}.",
        "The mean gain is \\tw{gain}, between \\tw{gain.low} and \\tw{gain.high}.", "GPT-4 and SHA-256 are names.",
        "The final programs score \\tw{final} on average, and the baseline \\tw{baseline}.", "Losses come early.",
        "The search improves the program by \\tw{gain}.",
    ),
    "method": (
        "With A = 1, the baseline is small.", "The baseline sets B = 2.", "There are four stages.",
        "Student published it in 1908~\\cite{student1908probable}.", "It has two parts.",
        "A surrogate needs fewer evaluations than random search~\\cite{bergstra2012random}.",
        "The held-out data are not read by the search.", "The test data stay hidden until the claim.",
        "Lu et al. describe a system that writes papers~\\cite{lu2024aiscientist}.",
    ),
}  # fmt: skip
MODEST = (
    "The search does not improve the program.", "Whether the search improves the program is open.",
    "The interval holds zero, so no improvement is shown.", "We cannot claim that it is better than the baseline.",
    "The hypothesis is not supported.", "The baseline is not beaten.", "A search may improve a program.",
    "We test whether tuning improves a toy.",
    "FunSearch improves programs by a language model~\\cite{romera2024mathematical}.",
)  # fmt: skip


@pytest.fixture(scope="module")
def studies(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Study, Study]]:
    """A study that gains, and one whose interval holds zero."""
    sound = a_study(tmp_path_factory.mktemp("studies") / "a.duckdb")
    noisy = Path(shutil.copy(sound, sound.with_name("b.duckdb")))
    with duckdb.connect(str(noisy)) as raw:
        worse = {"baseline": [3.0, 3.02], "champion": [3.4, 3.42], "low": -0.5, "high": -0.3}
        raw.execute("UPDATE decisions SET detail = ? WHERE run = 'small-2'", [json.dumps(worse)])
    readers = [open_reader(sound), open_reader(noisy)]
    with readers[0].held(), readers[1].held():
        yield Study.of(readers[0], "small"), Study.of(readers[1], "small")


def unfound(study: Study, section: str, statements: Sequence[str], code: str | None = None) -> list[str]:
    """Return the statements, each a paragraph of one section, without a finding (of a code)."""
    found = lint(Document(study, {section: "\n\n".join(statements)}))
    lines = {each.line for each in found if each.section == section and code in (None, each.code)}
    places = accumulate((2 + text.count("\n") for text in statements), initial=1)
    return [
        text for place, text in zip(places, statements, strict=False) if not lines & {place, place + text.count("\n")}
    ]


@pytest.mark.parametrize(
    ("section", "statements", "code"),
    [
        ("results", DIGITS, "unbound"), ("abstract", WORDS, "unbound"), ("results", SETTINGS, "unbound"),
        ("method", METHOD, "unbound"), ("results", BINDINGS, None), ("related", SOURCES, "citation"),
        ("setup", LEAKS, "leak"),
    ],
)  # fmt: skip
def test_every_flaw_of_a_kind_is_found(
    studies: tuple[Study, Study], section: str, statements: Sequence[str], code: str | None
) -> None:
    assert unfound(studies[0], section, statements, code) == []


@pytest.mark.parametrize("section", ["abstract", "results", "introduction", "limitations"])
def test_no_claim_gets_past_an_interval_that_holds_zero(studies: tuple[Study, Study], section: str) -> None:
    assert unfound(studies[1], section, CLAIMS, "claim") == []
    assert unfound(studies[0], section, CLAIMS, "claim") == list(CLAIMS)
    of_one = ("The search improves the program (\\tw{claim.gain@small-1} in run small-1).",)
    assert unfound(studies[1], "results", of_one, "claim") == []


@pytest.mark.parametrize("sign", ["0٫93", "①", "0\u200b.93", "９", "Ⅻ", "0\u00ad.93", "0\r93"])
def test_signs_that_a_reader_cannot_tell_apart_are_refused(studies: tuple[Study, Study], sign: str) -> None:
    (finding,) = [each for each in lint(Document(studies[0], {"results": f"A.\n\nIt is {sign}."})) if each.line]
    assert (finding.code, finding.line) == ("markup", 3)


def test_a_metric_is_not_described_the_wrong_way_round(studies: tuple[Study, Study]) -> None:
    statements = ("Smaller is better.", "It is a loss (larger values\nare better).")
    assert unfound(studies[0], "method", statements, "claim") == ["Smaller is better."]


def test_honest_sentences_have_no_finding(studies: tuple[Study, Study]) -> None:
    for section, statements in HONEST.items():
        assert unfound(studies[0], section, statements) == list(statements)
    for section in ("results", "introduction"):
        assert unfound(studies[1], section, MODEST) == list(MODEST)


def test_a_section_that_stands_there_again_in_other_words_is_found(studies: tuple[Study, Study]) -> None:
    text = "A stage begins when all evaluations of the runs before it have ended, and not a moment earlier than that."
    other = text.replace("begins", "starts").replace("moment", "second")
    found = lint(Document(studies[0], {"method": text, "related": other}))
    assert [each.section for each in found if each.code == "repeated"] == ["related"]
