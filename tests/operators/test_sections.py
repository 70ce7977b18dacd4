"""Sections of a prompt agree with SQL over the archive, show nothing of claims, and put stable parts first."""

from __future__ import annotations

import math
import re
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from archived import a_run, stored
from garden import Garden
from scripts import edit, metered

from archive.noise import SeedDeviation
from archive.records import Candidate, Conditions, CurvePoint, Node
from archive.storage.store import Archive
from operators.languages.parameters import set_parameters
from operators.llm.base import Prompt
from operators.rewrite.debug import Debug
from operators.rewrite.draft import Draft
from operators.rewrite.hybrid import Hybrid
from operators.rewrite.improve import Improve
from operators.rewrite.operator import LlmOperator
from operators.rewrite.prompt import sections
from operators.rewrite.simplify import Simplify

SOURCE = (
    "RATE = 0.001  # tune: 1e-4..1e-2 log\nWIDTH = 64  # tune: about 60\n\n\ndef train(session):\n    return RATE\n"
)
CANARIES = ("7.777", "8.888", "6.666", "canary")


def family(garden: Garden) -> dict[str, str]:
    """root -> parent -> (worse, better, crashed, cheat, pending, merged), with canaries where nobody may look."""
    root = garden.plant(SOURCE, 3.64)
    parent = garden.grow(SOURCE + "p = 1\n", (root.node_id,), "improve", "raise the rate", 3.21, aim="schedule")
    garden.score(parent, 3.23, seed=1)
    other = garden.grow(SOURCE + "o = 1\n", (root.node_id,), "tune", "RATE 0.001 -> 0.002", 3.4)
    worse = garden.grow(SOURCE + "w = 1\n", (parent.node_id,), "improve", "wider model", 3.5, aim="architecture")
    better = garden.grow(SOURCE + "b = 1\n", (parent.node_id,), "hybrid", "a gate", 3.0)
    crashed = garden.grow(SOURCE + "c = 1\n", (parent.node_id,), "improve", "rotary positions", aim="architecture")
    garden.fail(crashed, "crashed", "RuntimeError: shapes differ", log="Traceback: shapes [3] and [4]")
    merged = garden.grow(SOURCE + "m = 1\n", (better.node_id, other.node_id), "crossover", "merge", 2.9)
    pending = garden.grow(SOURCE + "q = 1\n", (parent.node_id,), "improve", "cosine schedule", aim="schedule")
    nodes = {"root": root, "parent": parent, "other": other, "worse": worse, "better": better, "crashed": crashed,
             "merged": merged, "pending": pending}  # fmt: skip
    for i, node in enumerate(list(nodes.values())[:-1]):
        garden.score(node, 7.777 + i, purpose="confirm", seed=90)
        garden.score(node, 8.888 + i, purpose="report", seed=91)
        garden.score(node, 6.666 + i, seed=92, conditions=Conditions("elsewhere", 10.0, "cpu"))
    garden.fail(nodes["parent"], "crashed", "canary of select", purpose="confirm", log="canary")
    garden.fail(nodes["crashed"], "crashed", "canary of holdout", purpose="report", log="canary")
    return {name: node.node_id for name, node in nodes.items()}


def shown(garden: Garden, kind: type[LlmOperator], node: str, **more: object) -> Prompt:
    meter, model = metered([edit("RATE = 0.001", "RATE = 0.002")] * 2)
    garden.ask(kind(meter), node, **more)  # type: ignore[call-arg]
    return model.prompts[0]


EVERY = [(Improve, "parent"), (Hybrid, "merged"), (Simplify, "better"), (Draft, "root"), (Debug, "crashed")]


@pytest.mark.parametrize(("kind", "name"), EVERY)
def test_no_prompt_has_anything_of_the_claim_or_of_other_conditions(
    garden: Garden, tmp_path: Path, kind: type[LlmOperator], name: str
) -> None:
    node = family(garden)[name]
    with Archive.open(tmp_path / "a.duckdb") as archive:
        stored(archive, garden, a_run())
        text = shown(garden, kind, node, query=archive.query, run="night").text
    assert not [canary for canary in CANARIES if canary in text]
    assert not re.search(r"holdout|\bselect\b|confirm", text)


def test_the_history_is_what_the_views_say(garden: Garden, tmp_path: Path) -> None:
    """The same numbers by SQL over the archive: ideas, scores, gains, failures, in the same order."""
    node = family(garden)
    with Archive.open(tmp_path / "a.duckdb") as archive:
        stored(archive, garden, a_run())
        _once_more(archive, garden, garden.tree[node["root"]], 3.64)
        for name in ("merged", "worse", "crashed"):
            rows = archive.query("SELECT node_id, idea, score, gain FROM lineage(?)", [node[name]])
            assert len(rows) > 2
            _agree(sections.ancestors(garden.tree, node[name]).lines, rows)
        rows = archive.query("SELECT node_id, idea, score, gain, outcome FROM children(?)", [node["parent"]])
        lines = sections.siblings(garden.tree, node["parent"]).lines
        assert len(rows) == 4
        _agree(lines, [row[:4] for row in rows])
        assert [("crashed" in line) for line in lines] == [row[4] == "crashed" for row in rows]
        assert [("no result yet" in line) for line in lines] == [row[4] is None for row in rows]


def _once_more(archive: Archive, garden: Garden, node: Node, score: float) -> None:
    """What is compared are evaluations under the conditions of the last one."""
    garden.score(node, score, seed=94)
    last = garden.tree.evaluations[node.node_id][-1]
    archive.record(replace(last, request=replace(last.request, run="night")))


def _agree(lines: tuple[str, ...], rows: list[tuple[str, str, float | None, float | None]]) -> None:
    assert len(lines) == len(rows)
    for line, (node_id, idea, score, gain) in zip(lines, rows, strict=True):
        assert line.startswith(f"- {node_id[:8]} ")
        assert f": {idea}: " in line
        if score is not None:
            assert f": {score:.5g}" in line
        if gain is not None:
            assert f"{'better' if gain > 0 else 'worse'} by {abs(gain):.2g}" in line


def test_what_is_in_flight_is_told_but_for_ones_own_move(garden: Garden) -> None:
    node = family(garden)
    garden.open("improve", (node["root"],))
    lines = sections.in_flight(garden.tree, move_number=10**6).lines
    assert len(lines) == 2
    assert f"improve (schedule) of {node['parent'][:8]}: cosine schedule" in lines[0]
    assert lines[1].endswith(f"of {node['root'][:8]}: not decided yet")
    assert len(sections.in_flight(garden.tree, garden.moves - 1).lines) == 1


def test_a_curve_and_what_was_made_of_it(garden: Garden) -> None:
    root = garden.plant(SOURCE)
    curve = tuple(CurvePoint(step, step / 10, 5.0 - step / 100) for step in range(0, 101, 10))
    garden.score(root, 3.0, curve=curve, metrics={"parameters": 12_345.0})
    text = sections.result(garden.tree, root.node_id, garden.task)
    assert "Its score is 3 bits per byte (one run)." in text
    assert "5 at 0 s, 4.8 at 2 s, 4.5 at 5 s, 4.2 at 8 s, 4 at 10 s" in text
    assert "parameters 12,345" in text


def test_constants_with_their_ranges_and_those_whose_range_cannot_be_read(garden: Garden) -> None:
    root = garden.plant(SOURCE + "DEPTH = 3\nSEED = 4\nTIED = True\n", 1.0)
    child = garden.grow(set_parameters(root.candidate.files["train.py"], {"RATE": 0.01, "DEPTH": 12}), (root.node_id,))
    lines = sections.parameters(garden.tree, child.node_id, garden.task).lines
    assert lines == (
        "- RATE: 0.0001..0.01 log",
        "- WIDTH: 16..256 log step 8 (guessed: `tune: about 60` is not of the form shown above)",
        "- DEPTH: 1..12 log",
        "- TIED: False|True",
    )


RATES = (0.0001, 0.0002, 0.0004, 0.0008, 0.0016, 0.003, 0.005, 0.007, 0.009, 0.01)


def tuned(garden: Garden) -> str:
    """A root whose rate is too low, and children that show it; returns the root."""
    root = garden.plant(SOURCE, 3.0)
    for i, rate in enumerate(RATES * 2):
        text = set_parameters(SOURCE, {"RATE": rate, "WIDTH": 64 + 8 * (i % 5)})
        garden.grow(text, (root.node_id,), score=3.0 - math.log10(rate / 0.001) + 0.001 * i)
    return root.node_id


@pytest.mark.parametrize("kind", [Improve, Hybrid, Simplify])
def test_parameters_reach_the_prompt_and_leave_what_is_cached_alone(garden: Garden, kind: type[LlmOperator]) -> None:
    root = tuned(garden)
    first = shown(garden, kind, root)
    assert "- RATE: 0.0001..0.01 log\n" in first.messages[0].text
    assert '<data kind="constants">' not in first.messages[0].stable
    garden.grow(set_parameters(SOURCE, {"RATE": 0.0095}), (root,), score=5.0)
    second = shown(garden, kind, root)
    assert second.messages[0].stable == first.messages[0].stable
    assert second.messages[0].text != first.messages[0].text


def test_the_search_goes_on_while_sql_is_asked(garden: Garden) -> None:
    """The tree's lock can be taken by another thread meanwhile."""
    root = tuned(garden)
    free: list[bool] = []

    def can_be_taken() -> None:
        def take() -> None:
            if garden.tree.lock.acquire(timeout=5):
                garden.tree.lock.release()
                free.append(True)

        thread = threading.Thread(target=take)
        thread.start()
        thread.join()

    def lookup(run: str, move: int, turn: int) -> None:
        can_be_taken()

    meter, _ = metered([edit("    return RATE", "    return 2 * RATE")], lookup=lookup)
    assert isinstance(garden.ask(Improve(meter), root), Candidate)
    assert free == [True] * 2, "the aim that was asked for, the answer that was paid for"


def test_debug_is_shown_what_the_last_step_changed(garden: Garden) -> None:
    node = family(garden)
    text = shown(garden, Debug, node["crashed"]).text
    assert "-p = 1\n+c = 1" in text
    assert "Outcome: crashed after 10 s" in text
    assert "shapes [3] and [4]" in text


def test_two_proposals_of_a_run_begin_alike_byte_for_byte(garden: Garden) -> None:
    """What a provider caches: the system text for all, and the parent's part for all that is made of one parent."""
    node = family(garden)
    first = shown(garden, Improve, node["parent"])
    garden.grow(SOURCE + "n = 1\n", (node["parent"],), "improve", "another idea", 3.3, aim="speed")
    second = shown(garden, Improve, node["parent"], seed=5, sigma=SeedDeviation(0.02, 0.01, 0.03, 4))
    another = shown(garden, Improve, node["better"])
    assert first.system == second.system == another.system
    assert first.messages[0].stable == second.messages[0].stable != another.messages[0].stable
    assert len(first.messages[0].stable) > 300
    assert "another idea" not in first.text
    assert "another idea" in second.messages[0].text, "what is new comes last"
    beginning = f"[system]\n{first.system}\n\n[user]\n{first.messages[0].stable}"
    assert first.text.startswith(beginning)
    assert second.text.startswith(beginning)


def test_operators_that_change_one_program_share_its_part(garden: Garden) -> None:
    node = family(garden)
    prompts = [shown(garden, kind, node["better"]) for kind in (Improve, Simplify, Hybrid)]
    assert len({prompt.messages[0].stable for prompt in prompts}) == 1
    assert len({prompt.messages[0].text for prompt in prompts}) == 3


def test_the_best_are_told_best_first_in_either_direction(gardens: Callable[..., Garden]) -> None:
    for direction, order in (("minimise", [2.5, 2.7, 3.0]), ("maximise", [3.0, 2.7, 2.5])):
        garden = gardens(direction)
        root = garden.plant(SOURCE, 3.0)
        for i, score in enumerate((2.7, 2.5)):
            garden.grow(SOURCE + f"x = {i}\n", (root.node_id,), score=score)
        cheat = garden.grow(SOURCE + "c = 1\n", (root.node_id,), score=9.0 if direction == "maximise" else 0.1)
        garden.fail(cheat, "invalid", violation=True, purpose="confirm")
        found = [re.search(r": ([\d.]+)(?:,|$)", line) for line in sections.best(garden.tree).lines]
        assert [float(match[1]) for match in found if match] == order
        assert len(sections.best(garden.tree, count=2).lines) == 2


TRACEBACK = """\
warming up
Traceback (most recent call last):
  File "/library/worker.py", line 112, in _train
    state = module.train(session)
            ^^^^^^^^^^^^^^^^^^^^^
  File "/candidate/train.py", line 106, in train
    logits = model(rows[:, :-1])
             ^^^^^^^^^^^^^^^^^^^
  File "/site/torch/nn/modules/linear.py", line 134, in forward
    return F.linear(input, self.weight, self.bias)
           ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
RuntimeError: mat1 and mat2 shapes cannot be multiplied
  (256x96 and 256x96)
"""


def test_a_log_keeps_the_frames_of_the_program(garden: Garden) -> None:
    root = garden.plant(SOURCE, 3.0)
    for log, kept in (
        (TRACEBACK, ("warming up", "line 106, in train", "logits = model", "cannot be multiplied", "(256x96")),
        (TRACEBACK.replace("/candidate/", "/site/"), ("worker.py", "linear.py", "cannot be multiplied")),
        (TRACEBACK.replace("/candidate/", "/tmp/treewright-1-2/candidate/"), ("line 106, in train", "cannot be")),
    ):
        failed = garden.grow(SOURCE + f"x = {len(garden.tree)}\n", (root.node_id,), "improve")
        garden.fail(failed, log=log)
        text = sections.log(garden.tree, failed.node_id).text()
        assert all(part in text for part in kept), text
        assert ("F.linear" in text) == ("linear.py" in kept)
        assert ("_train" in text) == ("worker.py" in kept)
