"""Truncation of prompts: the order, the sections that are never cut, and the note on what is left out."""

from __future__ import annotations

import pytest
from garden import Garden
from hypothesis import given
from hypothesis import strategies as st
from scripts import metered

from operators.base import NoCandidate
from operators.rewrite.debug import Debug
from operators.rewrite.improve import Improve
from operators.rewrite.prompt.truncation import LEFT_OUT_FIRST, Listing, TooLong, fit, tokens

SOURCE = "RATE = 0.001\n\n\ndef train(session):\n    return RATE\n"


def listing(name: str, lines: int, keep: str = "tail") -> Listing:
    return Listing(tuple(f"- {name} {i} " + "x" * 80 for i in range(lines)), name, "- nothing", keep)  # type: ignore[arg-type]


def test_what_fits_is_left_alone() -> None:
    parts = {"source": "the program", "lessons": listing("lesson", 3, "head"), "siblings": Listing((), "s", "- none")}
    texts = fit(parts, 100, 10_000)
    assert texts["source"] == "the program"
    assert texts["siblings"] == "- none"
    assert "left out" not in "".join(texts.values())


def test_parts_go_in_the_stated_order_and_the_program_never() -> None:
    order = (
        "lessons", "others", "relatives", "in_flight", "best",
        "siblings", "ancestors", "knobs", "feedback", "change", "log",
    )  # fmt: skip
    assert order == LEFT_OUT_FIRST
    parts = {name: listing(name, 10) for name in order} | {"source": "S" * 300}
    shortened: list[tuple[str, ...]] = []
    for limit in range(6000, 400, -50):
        try:
            texts = fit(parts, 0, limit)
        except TooLong:
            break
        assert texts["source"] == "S" * 300
        assert sum(map(tokens, texts.values())) <= limit
        shortened.append(tuple(name for name in LEFT_OUT_FIRST if "more left out" in texts[name]))
    assert shortened[0] == ()
    assert all(names == LEFT_OUT_FIRST[: len(names)] for names in shortened), "nothing before what comes first is gone"
    assert shortened[-1] == LEFT_OUT_FIRST


def test_the_important_end_stays() -> None:
    tail = fit({"siblings": listing("try", 20)}, 0, 300)["siblings"]
    assert "try 19 " in tail
    assert "try 0 " not in tail
    assert tail.splitlines()[1].endswith("more left out]"), "where the gap is"
    head = fit({"lessons": listing("lesson", 20, "head")}, 0, 300)["lessons"]
    assert "lesson 0 " in head
    assert "lesson 19 " not in head
    assert head.splitlines()[-2].endswith("more left out]")


@given(st.lists(st.integers(0, 30), min_size=3, max_size=3), st.integers(0, 2000))
def test_no_prompt_is_longer_than_its_limit(lines: list[int], limit: int) -> None:
    parts = {name: listing(name, count) for name, count in zip(("lessons", "siblings", "log"), lines, strict=True)}
    try:
        assert 10 + sum(map(tokens, fit(parts, 10, limit).values())) <= limit
    except TooLong:
        least = 10 + sum(tokens(part.text(len(part.lines))) for part in parts.values())
        assert least > limit


def test_a_whole_prompt_keeps_to_the_meters_limit(garden: Garden) -> None:
    root = garden.plant(SOURCE, 3.0)
    for i in range(40):
        garden.grow(SOURCE + f"x = {i}\n", (root.node_id,), "improve", f"idea {i} " + "y" * 150, 3.1)
    failed = garden.grow(SOURCE + "y = 1\n", (root.node_id,), "improve", "it fails")
    garden.fail(failed, log="\n".join(f"line {i} " + "z" * 60 for i in range(400)))
    sizes = {}
    for limit in (1900, 2500, 30_000):
        for kind, node in ((Improve, root), (Debug, failed)):
            meter, model = metered(["nonsense", "nonsense"], prompt_tokens=limit)
            garden.ask(kind(meter), node.node_id)
            sizes[kind, limit] = tokens(model.prompts[0].text)
            assert sizes[kind, limit] <= limit
            assert "RATE = 0.001" in model.prompts[0].text
    assert sizes[Improve, 1900] < sizes[Improve, 2500] < sizes[Improve, 30_000]
    assert sizes[Debug, 1900] < sizes[Debug, 30_000]


@pytest.mark.slow
def test_a_program_that_does_not_fit_is_refused_with_what_to_do(garden: Garden) -> None:
    root = garden.plant(SOURCE + "x = 1\n" * 3000, 3.0)
    meter, model = metered([], prompt_tokens=3000)
    refused = garden.ask(Improve(meter), root.node_id)
    assert isinstance(refused, NoCandidate)
    assert "alone take about" in refused.reason
    assert "llm.prompt_tokens is 3,000; raise it" in refused.reason
    assert model.prompts == []


def test_the_limit_must_leave_room_for_a_program() -> None:
    with pytest.raises(ValueError, match=r"llm.prompt_tokens is 999; expected at least 1000"):
        metered([], prompt_tokens=999)
