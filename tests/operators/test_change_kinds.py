"""Kinds of change: read from Markdown, sampled by their gains, never stuck, recorded."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from garden import Garden
from scripts import edit, metered

from archive.llm_calls import LlmCall
from archive.records import Candidate
from operators.rewrite.improve import Improve
from operators.rewrite.prompt.change_kinds import ChangeKind, gain_of, read_change_kinds, reward, sampled_kind
from operators.rewrite.prompt.templates import Templates

SOURCE = "RATE = 0.001\n\n\ndef train(session):\n    return RATE\n"
AIMS = read_change_kinds(Garden().task.prompt_info.change_kinds or "")
"""Of language-model tasks."""


def test_the_kinds_are_headings_of_a_file() -> None:
    names = ["architecture", "optimiser", "schedule", "regularisation", "data order", "numerics", "speed",
             "hyperparameters"]  # fmt: skip
    assert [aim.name for aim in AIMS] == names
    usual = read_change_kinds(Templates().text("aims"))
    assert [aim.name for aim in usual] == ["algorithm", "data structure", "numerics", "vectorisation", "parallelism",
                                           "parameters", "robustness", "simplification"]  # fmt: skip
    assert all(len(aim.description) > 40 and "\n" not in aim.description for aim in (*AIMS, *usual))
    assert read_change_kinds("# a\nx\ny\n## b c\nz") == (ChangeKind("a", "x y"), ChangeKind("b c", "z"))
    with pytest.raises(ValueError, match="has no section"):
        read_change_kinds("nothing")
    with pytest.raises(ValueError, match="two sections named 'a'"):
        read_change_kinds("# a\nx\n# a\ny\n")


def chosen(garden: Garden, seed: int, sigma: float | None = 0.01) -> str:
    return sampled_kind(AIMS, garden.tree, sigma, np.random.default_rng(seed)).name


def test_at_the_start_all_are_alike_and_the_choice_is_the_generators(garden: Garden) -> None:
    garden.plant(SOURCE, 3.0)
    counts = Counter(chosen(garden, seed) for seed in range(800))
    assert set(counts) == {aim.name for aim in AIMS}
    assert min(counts.values()) > 60
    assert [chosen(garden, seed) for seed in range(20)] == [chosen(garden, seed) for seed in range(20)]


def search(garden: Garden, gains: Callable[[str, int], float | None], proposals: int) -> list[str]:
    """Every proposal becomes a child of the root that gains so much; None is a crash."""
    root = garden.tree.nodes[0]
    taken = []
    for i in range(proposals):
        aim = chosen(garden, i)
        node = garden.grow(SOURCE + f"x = {i}\n", (root.node_id,), "improve", aim=aim)
        gain = gains(aim, i)
        garden.fail(node) if gain is None else garden.score(node, 3.0 - gain)
        taken.append(aim)
    return taken


def test_what_gains_is_tried_more_and_nothing_is_given_up(garden: Garden) -> None:
    garden.plant(SOURCE, 3.0)
    taken = Counter(search(garden, lambda aim, i: 0.1 if aim == "schedule" else -0.02, 300))
    assert taken["schedule"] > 150
    assert min(taken[aim.name] for aim in AIMS) >= 5, "what is not tried is forgotten"


@pytest.mark.slow
def test_it_does_not_get_stuck_on_what_gained_once(garden: Garden) -> None:
    garden.plant(SOURCE, 3.0)
    taken = search(garden, lambda aim, i: 0.1 if aim == ("hyperparameters" if i < 200 else "speed") else None, 300)
    assert Counter(taken[100:200])["hyperparameters"] > 50
    late = Counter(taken[240:])
    assert late["speed"] > 30
    assert late["hyperparameters"] < 15


def test_rewards(gardens: Callable[..., Garden]) -> None:
    assert reward(None, 0.1) == reward(-1.0, 0.1) == reward(0.0, 0.0) == 0.0
    assert reward(0.2, 0.1) == 0.5
    assert reward(1e9, 0.1) < 1.0
    for direction, better in (("minimise", 2.5), ("maximise", 3.5)):
        garden = gardens(direction)
        root = garden.plant(SOURCE, 3.0)
        other = garden.grow(SOURCE + "a = 1\n", (root.node_id,), score=2.9 if direction == "minimise" else 3.1)
        merged = garden.grow(SOURCE + "b = 1\n", (root.node_id, other.node_id), score=better)
        assert gain_of(garden.tree, merged.node_id) == pytest.approx(0.4), "over the better parent"
        assert gain_of(garden.tree, root.node_id) is None


def test_pending_children_and_those_of_cheats_teach_nothing(garden: Garden) -> None:
    root = garden.plant(SOURCE, 3.0)
    before = [chosen(garden, seed) for seed in range(60)]
    for i in range(30):
        garden.grow(SOURCE + f"x = {i}\n", (root.node_id,), "improve", aim="speed")
    assert [chosen(garden, seed) for seed in range(60)] == before
    cheat = garden.grow(SOURCE + "c = 1\n", (root.node_id,), "improve", score=0.1, aim="numerics")
    garden.fail(cheat, "invalid", violation=True, purpose="confirm")
    heir = garden.grow(SOURCE + "d = 1\n", (cheat.node_id,), "improve", score=0.01, aim="numerics")
    assert gain_of(garden.tree, heir.node_id) is None


def test_the_aim_is_told_and_kept_with_the_node_and_each_call(garden: Garden) -> None:
    root = garden.plant(SOURCE, 3.0)
    calls: list[LlmCall] = []
    meter, model = metered(["nonsense", edit("RATE = 0.001", "RATE = 0.002")], calls)
    child = garden.ask(Improve(meter), root.node_id)
    assert isinstance(child, Candidate)
    aim = next(aim for aim in AIMS if aim.name == child.aim)
    assert f"**{aim.name}**: {aim.description}" in model.prompts[0].text
    assert [call.aim for call in calls] == [aim.name] * 2


def test_an_answer_that_was_paid_for_keeps_the_aim_that_was_asked_for(garden: Garden) -> None:
    """After a resume the tree knows more, and credit might choose another aim than the answer was made for."""
    root = garden.plant(SOURCE, 3.0)
    calls: list[LlmCall] = []
    meter, _ = metered([edit("RATE = 0.001", "RATE = 0.002")], calls)
    first = garden.ask(Improve(meter), root.node_id)
    assert isinstance(first, Candidate)
    asked = next(aim.name for aim in AIMS if aim.name != first.aim)
    paid = replace(calls[0], aim=asked)
    meter, model = metered([], lookup=lambda run, move, turn: paid)
    again = garden.ask(Improve(meter), root.node_id)
    assert isinstance(again, Candidate)
    assert again.aim == asked
    assert model.prompts == []
    meter, _ = metered([], lookup=lambda run, move, turn: replace(paid, aim="of another file"))
    unknown = garden.ask(Improve(meter), root.node_id)
    assert isinstance(unknown, Candidate)
    assert unknown.aim in {aim.name for aim in AIMS}


def test_a_file_of_ones_own_has_other_kinds(garden: Garden, tmp_path: Path) -> None:
    (tmp_path / "aims.md").write_text("# tokeniser\nhow bytes become tokens\n")
    root = garden.plant(SOURCE, 3.0)
    meter, model = metered([edit("RATE = 0.001", "RATE = 0.002")])
    child = garden.ask(Improve(meter, prompts=str(tmp_path)), root.node_id)
    assert isinstance(child, Candidate)
    assert child.aim == "tokeniser"
    assert "**tokeniser**: how bytes become tokens" in model.prompts[0].text
    (tmp_path / "aims.md").write_text("no headings")
    with pytest.raises(ValueError, match="has no section"):
        Improve(meter, prompts=str(tmp_path))
