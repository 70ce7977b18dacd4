"""Tune: deterministic, inside its ranges, never a known program, and it learns."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable
from typing import Literal

import numpy as np
import pytest
from garden import Garden

from archive.records import Candidate
from operators.base import NoCandidate
from operators.languages.files import Editable
from operators.languages.parameters import Number, read_parameters, set_parameters
from operators.numeric.observations import lineage_files, observe, search_space
from operators.numeric.proposer.proposals import WARM, changed_keys
from operators.numeric.proposer.surrogate import GpSurrogate
from operators.numeric.tpe import suggest
from operators.numeric.tune import Tune

SOURCE = """\
SEED = 3
RATE = 0.001
WIDTH = 64
BATCH = 16   # tune: 4|8|16|32
DROPOUT = 0.0  # tune: 0..0.5
DEPTH = 2  # tune: 1..6
NOTE = "text"
"""


def loss(values: dict[str, Number]) -> float:
    """A bowl with its floor at RATE 0.008, WIDTH 160, BATCH 8, DROPOUT 0.1, DEPTH 4."""
    return (
        0.1 * math.log2(values["RATE"] / 0.008) ** 2
        + 0.2 * math.log2(values["WIDTH"] / 160) ** 2
        + 0.1 * math.log2(values["BATCH"] / 8) ** 2
        + 4.0 * (values["DROPOUT"] - 0.1) ** 2
        + 0.05 * (values["DEPTH"] - 4) ** 2
    )


def child(garden: Garden, parent: str, seed: int = 0, operator: Tune | None = None) -> Candidate:
    candidate = garden.ask(operator or Tune(), parent, seed=seed)
    assert isinstance(candidate, Candidate), candidate
    return candidate


def forest(garden: Garden, count: int, seed: int = 0) -> str:
    """A root with ``count`` random scored children; returns the root's id."""
    root = garden.plant(SOURCE, loss(read_parameters(SOURCE)))
    rng = np.random.default_rng(seed)
    for _ in range(count):
        values: dict[str, Number] = {
            "RATE": float(10 ** rng.uniform(-4, -1.5)),
            "WIDTH": int(rng.integers(2, 32)) * 8,
            "DEPTH": int(rng.integers(1, 7)),
        }
        text = set_parameters(SOURCE, values)
        garden.grow(text, (root.node_id,), score=loss(read_parameters(text)))
    return root.node_id


@pytest.mark.parametrize("count", [0, 30])
def test_the_same_generator_gives_the_same_child(gardens: Callable[..., Garden], count: int) -> None:
    first, second, other = gardens(), gardens(), gardens()
    roots = [forest(garden, count) for garden in (first, second, other)]
    assert child(first, roots[0], seed=1) == child(second, roots[1], seed=1)
    assert child(first, roots[0], seed=1).files != child(other, roots[2], seed=2).files


@pytest.mark.parametrize("count", [0, 30])
def test_a_child_changes_constants_within_their_ranges(garden: Garden, count: int) -> None:
    """One to three of them; with a model, values of other programs may come in together as well."""
    root = forest(garden, count)
    start = read_parameters(SOURCE)
    space = {name: span for (_, name), span in search_space({"train.py": SOURCE}, Editable()).items()}
    assert set(space) == {"RATE", "WIDTH", "BATCH", "DROPOUT", "DEPTH"}
    for seed in range(40):
        candidate = child(garden, root, seed=seed)
        values = read_parameters(candidate.files["train.py"])
        changed = {name for name in values if values[name] != start[name]}
        assert 1 <= len(changed) <= (5 if count else 3)
        assert changed <= set(space)
        assert all(space[name].low <= values[name] <= space[name].high for name in changed)
        assert values["BATCH"] in (4, 8, 16, 32)
        assert values["WIDTH"] % 8 == 0
        assert set_parameters(candidate.files["train.py"], start) == SOURCE
        assert all(f"{name} {start[name]!r} -> {values[name]!r}" in candidate.idea for name in changed)


DECLARED = """\
HEADS = 4  # tune: 1|2|4|8
WIDTH = 64  # tune: 8..100 log step 8
KERNEL = 3  # tune: 1..9 step 2
DROPOUT = 0.2  # tune: 0..0.5 step 0.1
FLAG = True
CLIP = 1.0
"""
FOREIGN = (
    "HEADS = 6\nWIDTH = 100\nKERNEL = 4\nDROPOUT = 0.33\nFLAG = 1\nCLIP = 70.0\n",
    "HEADS = 2.0\nWIDTH = 32.0\nKERNEL = 7.0\nDROPOUT = 0\nFLAG = 0.0\nCLIP = 3\n",
    "HEADS = True\nWIDTH = True\nKERNEL = True\nDROPOUT = 0.45\nFLAG = 2\nCLIP = True\n",
)


@pytest.mark.parametrize("proposer", ["surrogate", "tpe"])
@pytest.mark.parametrize("count", [0, 24])
def test_no_set_step_or_type_is_left_whatever_other_branches_hold(
    garden: Garden, count: int, proposer: Literal["surrogate", "tpe"]
) -> None:
    """The best programs of the tree have values that this one's comments and types do not allow."""
    root = garden.plant(DECLARED, 1.0)
    for i in range(count):
        garden.grow(FOREIGN[i % 3] + f"x = {i}\n", (root.node_id,), "improve", score=0.1 + i / 100)
    space = search_space({"train.py": DECLARED}, Editable())
    parent, operator = root, Tune(proposer=proposer)
    for seed in range(40):
        candidate = child(garden, parent.node_id, seed, operator)
        values = read_parameters(candidate.files["train.py"])
        assert all(values[name] in span for (_, name), span in space.items()), values
        parent = garden.grow(dict(candidate.files), candidate.parents, score=0.9 - seed / 1000)


def test_derived_ranges_are_those_of_the_root_in_all_generations(garden: Garden) -> None:
    parent = garden.plant("CLIP = 1.0\nWIDTH = 64\n", 1.0)
    found = set()
    for seed in range(60):
        candidate = child(garden, parent.node_id, seed)
        values = read_parameters(candidate.files["train.py"])
        assert 0.1 <= values["CLIP"] <= 10
        assert 16 <= values["WIDTH"] <= 256
        found.add(float(values["CLIP"]))
        grown = garden.grow(dict(candidate.files), candidate.parents, score=float(values["CLIP"]))
        parent = grown if values["CLIP"] < 0.75 else parent
    assert max(found) > 3 > 0.3 > min(found), "a parent with a small value still reaches the whole range"


def test_a_program_that_left_the_range_gives_a_new_one_to_its_descendants(garden: Garden) -> None:
    root = garden.plant("CLIP = 1.0\n", 1.0)
    far = garden.grow("CLIP = 50.0\nprint(CLIP)\n", (root.node_id,), "improve", score=0.5)
    near = garden.grow("CLIP = 40.0\nprint(CLIP)\n", (far.node_id,), score=0.4)
    for node, low, high in ((root, 0.1, 10), (far, 5, 500), (near, 5, 500)):
        files = node.candidate.files
        (span,) = search_space(files, Editable(), lineage_files(garden.tree, node.node_id)).values()
        assert (span.low, span.high) == (pytest.approx(low), pytest.approx(high))


def test_a_parent_that_was_tried_often_makes_bolder_moves(garden: Garden) -> None:
    keys = [("train.py", name) for name in "abcdef"]

    def changes(scored: int, visits: int) -> float:
        rng = np.random.default_rng(0)
        return float(np.mean([len(changed_keys(keys, scored, visits, WARM, rng)) for _ in range(400)]))

    assert changes(0, 0) == 3.0
    assert changes(200, 0) == pytest.approx(1.8, abs=0.1)
    assert changes(200, 100) == pytest.approx(2.7, abs=0.1)


def climb(garden: Garden, seed: int, operator: Tune) -> float:
    """The best loss after 30 children, each of the leader."""
    sign = 1 if garden.direction == "minimise" else -1
    garden.plant(SOURCE, sign * loss(read_parameters(SOURCE)))
    for _ in range(30):
        leader = garden.tree.leader()
        assert leader is not None
        candidate = child(garden, leader, seed=seed, operator=operator)
        score = sign * loss(read_parameters(candidate.files["train.py"]))
        garden.grow(dict(candidate.files), candidate.parents, score=score)
    return float(np.min(sign * garden.tree.means))


@pytest.mark.slow
@pytest.mark.parametrize("proposer", ["surrogate", "tpe"])
def test_thirty_steps_beat_thirty_random_steps(
    gardens: Callable[..., Garden], proposer: Literal["surrogate", "tpe"]
) -> None:
    """The random kernel is tune's own cold one, which never learns from what was scored."""
    learned = [climb(gardens(), seed, Tune(proposer=proposer)) for seed in range(10)]
    random = [climb(gardens(), seed, Tune(warm=10**6)) for seed in range(10)]
    assert np.mean(learned) < 0.8 * np.mean(random)
    assert max(learned) < 0.25 * loss(read_parameters(SOURCE))


def test_the_direction_is_heeded(gardens: Callable[..., Garden]) -> None:
    """Maximising the negative gives the very same search."""
    assert climb(gardens("minimise"), 0, Tune()) == climb(gardens("maximise"), 0, Tune())


def test_a_pending_child_is_not_proposed_again(garden: Garden) -> None:
    """The liar: with a proposal pending, TPE moves away from it, and so does the surrogate."""
    root = forest(garden, 30)
    ranges = {key: span for key, span in search_space({"train.py": SOURCE}, Editable()).items() if key[1] == "RATE"}
    files = {"train.py": SOURCE}

    def rates() -> list[float]:
        trials = observe(garden.tree, files, 80)
        return [float(suggest(trials, ranges, "minimise", seed)["train.py", "RATE"]) for seed in range(60)]

    def improvement(rate: float) -> float:
        model = GpSurrogate(observe(garden.tree, files, 80), ranges, "minimise")
        return float(model.predict([{("train.py", "RATE"): rate}]).improvement[0])

    before = rates()
    favourite = float(np.median(before))
    trials, hoped = observe(garden.tree, files, 80), improvement(favourite)
    for _ in range(8):
        garden.grow(SOURCE.replace("0.001", repr(favourite)), (root,))
    pending = observe(garden.tree, files, 80)[len(trials) :]
    assert [(trial.values["train.py", "RATE"], trial.state) for trial in pending] == [(favourite, "pending")] * 8
    assert improvement(favourite) < 0.7 * hoped

    def near(found: list[float]) -> int:
        return sum(abs(math.log2(rate / favourite)) < 0.25 for rate in found)

    assert near(rates()) < 0.7 * near(before)


def test_a_failure_by_constants_is_no_score_and_other_failures_are_left_out(garden: Garden) -> None:
    root = forest(garden, 3)
    blown = garden.grow(SOURCE.replace("64", "256"), (root,))
    garden.fail(blown, "out_of_memory")
    broken = garden.grow(SOURCE + "raise RuntimeError\n", (root,), "improve")
    garden.fail(broken)
    garden.grow("OTHER = 5\n", (root,), "draft", score=0.0)
    trials = observe(garden.tree, {"train.py": SOURCE}, 80)
    assert [trial.state for trial in trials] == ["scored"] * 4 + ["failed"], "nothing in common, nothing to learn from"
    assert trials[-1].values["train.py", "WIDTH"] == 256


def test_programs_are_marked_that_differ_in_values_only(garden: Garden) -> None:
    root = garden.plant(SOURCE, 1.0)
    other = garden.grow("import math\n" + SOURCE + "GAIN = 0.5\n", (root.node_id,), "hybrid", score=0.7)
    files = other.candidate.files
    tuned = garden.grow(set_parameters(files["train.py"], {"WIDTH": 96}), (other.node_id,), score=0.8)
    garden.grow(set_parameters(files["train.py"], {"WIDTH": 32}), (other.node_id,))
    assert [(one.score, one.same_code) for one in observe(garden.tree, files, 80)] == [
        (1.0, False), (0.7, True), (0.8, True), (None, True)
    ]  # fmt: skip
    assert [one.same_code for one in observe(garden.tree, root.candidate.files, 80)] == [True, False, False, False]
    assert observe(garden.tree, {"train.py": "GAIN = 1.0\n"}, 80)[0].values["train.py", "GAIN"] == 0.5
    assert tuned


def test_a_setting_that_was_tried_with_other_code_is_tried_with_this_code(garden: Garden) -> None:
    root = garden.plant("FLAG = True\nCHOICE = 1  # tune: 1|2\n", 1.0)
    for flag, choice in ((True, 2), (False, 1), (False, 2)):
        garden.grow(set_parameters("FLAG = True\nCHOICE = 1  # tune: 1|2\n", {"FLAG": flag, "CHOICE": choice}),
                    (root.node_id,), score=1.0 - choice)  # fmt: skip
    block = garden.grow("FLAG = True\nCHOICE = 1  # tune: 1|2\nprint(FLAG)\n", (root.node_id,), "improve", score=0.5)
    assert "CHOICE 1 -> 2" in child(garden, block.node_id, operator=Tune(warm=2)).idea


def test_what_was_learned_of_the_constants_outlives_a_change_of_the_code(garden: Garden) -> None:
    """Two programs with a new block tell next to nothing; the model goes where other programs did well."""
    root = forest(garden, 40)
    text = SOURCE + "GAIN = 0.5\n\n\ndef block(x):\n    return GAIN * x\n"
    block = garden.grow(text, (root,), "hybrid", score=loss(read_parameters(SOURCE)) - 0.1)
    garden.grow(set_parameters(text, {"DEPTH": 3}), (block.node_id,), score=loss({**read_parameters(text), "DEPTH": 3}))
    better = []
    for seed in range(20):
        found = read_parameters(child(garden, block.node_id, seed, Tune(warm=1)).files["train.py"])
        better.append(loss(found) < loss(read_parameters(SOURCE)))
    assert np.mean(better) > 0.8


def test_only_the_best_and_the_latest_are_fed(garden: Garden) -> None:
    root = forest(garden, 100)
    means = garden.tree.means
    trials = observe(garden.tree, {"train.py": SOURCE}, 20)
    scores = [trial.score for trial in trials]
    assert len(scores) == 20
    assert set(np.sort(means)[:10]) <= set(scores)
    assert set(means[-8:]) <= set(scores)
    assert root


def test_known_settings_are_avoided_and_then_refused_with_a_reason(garden: Garden) -> None:
    root = garden.plant("FLAG = True\nCHOICE = 1  # tune: 1|2\n", 1.0)
    seen = set()
    for seed in range(3):
        candidate = child(garden, root.node_id, seed=seed)
        seen.add(candidate.files["train.py"])
        garden.grow(dict(candidate.files), candidate.parents, score=1.0)
    assert len(seen) == 3
    refused = garden.ask(Tune(), root.node_id)
    assert isinstance(refused, NoCandidate)
    assert "FLAG, CHOICE" in refused.reason


def test_a_program_without_constants_is_refused_with_the_cure(garden: Garden) -> None:
    root = garden.plant("SEED = 1\nrate = 3\n", 1.0)
    refused = garden.ask(Tune(), root.node_id)
    assert isinstance(refused, NoCandidate)
    assert "# tune:" in refused.reason


def test_it_applies_to_scored_nodes_only(garden: Garden) -> None:
    root = garden.plant(SOURCE, 1.0)
    pending = garden.grow(SOURCE, (root.node_id,))
    assert Tune().applies(garden.tree, root.node_id)
    assert not Tune().applies(garden.tree, pending.node_id)
    bare = garden.grow("x = 1\n", (root.node_id,), score=1.0)
    assert not Tune().applies(garden.tree, bare.node_id), "it has nothing to tune"


@pytest.mark.filterwarnings("error")
def test_optuna_is_silent(garden: Garden, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture) -> None:
    root = forest(garden, 20)
    with caplog.at_level(logging.INFO):
        child(garden, root, operator=Tune(proposer="tpe"))
    assert capfd.readouterr() == ("", "")
    assert not caplog.records


def test_a_proposer_that_there_is_not_is_refused_with_the_key() -> None:
    with pytest.raises(ValueError, match=r"expected surrogate or tpe. Set operators.tune.proposer"):
        Tune(proposer="oracle")  # type: ignore[arg-type]


def test_the_former_name_of_the_surrogate_is_accepted() -> None:
    assert Tune(proposer="genes").proposer == Tune().proposer == "surrogate"
