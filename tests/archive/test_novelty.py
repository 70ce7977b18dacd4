"""Novelty of an idea: known, novel only against a store of literature, undecided otherwise."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from study_sample import a_study

from archive.paper import novelty
from archive.paper.bibliography import SHIPPED
from archive.paper.literature import LiteratureError, Publication, read_literature
from archive.paper.novelty import NoveltyFinding, history, judge
from archive.query.query import open_reader

needs_bm25s = pytest.mark.skipif(not novelty.available(), reason="bm25s, of the extra [ideas], is not installed")
PAPER = Publication("p", "A warm restart of the learning rate improves the training of residual networks")
OTHER = Publication("o", "Packing circles of equal radius into a square with a penalty on overlaps")
STORE = (PAPER, OTHER)


@needs_bm25s
def test_what_is_in_the_store_is_known_with_its_place() -> None:
    found = judge("Training residual networks with a warm restart of the learning rate", (), STORE)
    assert (found.novelty, found.closest) == ("known", "p")
    assert str(found) == "known (closest: p)"


@needs_bm25s
def test_what_nothing_resembles_is_novel_only_beside_literature() -> None:
    idea = "Sparse attention patterns chosen by gradient variance lower perplexity"
    assert judge(idea, (), STORE) == NoveltyFinding("novel", None, 0.0)
    assert judge(idea, STORE, ()).novelty == "undecided", "a history is no literature"
    assert judge(idea, (), ()).novelty == "undecided"


@needs_bm25s
def test_history_makes_an_idea_known_without_literature() -> None:
    assert judge(PAPER.text + " today", (PAPER,), ()).novelty == "known"


@needs_bm25s
def test_between_the_two_limits_it_is_undecided() -> None:
    found = judge("A penalty on overlaps of circles, decided by rational polytopes", (), STORE)
    assert found.similarity is not None
    assert novelty.NOVEL <= found.similarity < novelty.KNOWN
    assert (found.novelty, found.closest) == ("undecided", "o")


def test_few_words_decide_nothing() -> None:
    assert judge("Better attention", (), STORE).novelty == "undecided"


def test_without_the_library_it_is_never_novel(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(novelty, "available", lambda: False)
    assert judge("Sparse attention patterns chosen by gradient variance", (), STORE) == NoveltyFinding("undecided")
    assert judge(PAPER.text.upper(), (), STORE).novelty == "known", "an equal text needs no library"


@given(st.text(max_size=60), st.lists(st.text(max_size=60), max_size=3))
def test_any_text_has_a_novelty_and_without_literature_it_is_not_novel(text: str, known: list[str]) -> None:
    documents = [Publication(str(n), each) for n, each in enumerate(known)]
    assert judge(text, documents, ()).novelty != "novel"
    assert judge(text, (), [*documents, Publication("itself", text)]).novelty == "known"


def test_the_history_has_studies_and_ideas(tmp_path: Path) -> None:
    found = {each.place: each.text for each in history(open_reader(a_study(tmp_path / "a.duckdb")))}
    assert found["study small"] == "Constants of a toy. A larger A lowers the loss of 26 toys."
    assert any(place.startswith("node ") for place in found)


def test_a_store_is_read_from_both_kinds(tmp_path: Path) -> None:
    lines = tmp_path / "a.jsonl"
    lines.write_text(json.dumps({"title": "Muon", "abstract": "A momentum."}) + "\n\n" + json.dumps({"title": "Adam"}))
    found = read_literature([SHIPPED, lines])
    assert [each.place for each in found[-2:]] == ["line 1 of a.jsonl: Muon", "line 3 of a.jsonl: Adam"]
    assert found[-2].text == "Muon. A momentum."
    assert found[0].place.endswith(found[0].text.split(". ")[0])


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("a.jsonl", '{"title": "Muon"}\n{"abstract": "A"}', "line 2: expected an object"),
        ("a.jsonl", "[" * 100_000, "line 1: expected an object"),
        ("a.jsonl", '{"title": 3}', "line 1: expected an object"),
        ("a.bib", "@article{x, title = {T}}", "the reference x has no author"),
        ("a.txt", "T", "neither .bib nor .jsonl"),
    ],
)
def test_what_is_no_store_is_refused_with_its_place(tmp_path: Path, name: str, text: str, message: str) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(LiteratureError, match=message):
        read_literature([tmp_path / name])


def test_a_missing_store_is_refused(tmp_path: Path) -> None:
    with pytest.raises(LiteratureError, match="cannot be read"):
        read_literature([tmp_path / "none.bib"])
