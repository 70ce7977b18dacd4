"""simplify, with a model, must make the program shorter; prune removes a step without a model."""

from __future__ import annotations

import pytest
from garden import Garden
from scripts import edit, metered

from archive.records import Candidate
from operators.base import NoCandidate
from operators.recombine.prune import Prune
from operators.rewrite.simplify import Simplify

SOURCE = """\
RATE = 0.001


def train(session):
    model = build(RATE)
    model = warm(model)
    return fit(model)


def predict(state, task):
    return state
"""


def test_a_shorter_program_is_a_candidate_and_a_longer_one_is_told(garden: Garden) -> None:
    root = garden.plant(SOURCE, 3.0)
    longer = edit("    return fit(model)", "    return fit(fit(model))")
    shorter = edit("    model = warm(model)\n", "", "no warming")
    meter, model = metered([longer, shorter])
    child = garden.ask(Simplify(meter), root.node_id)
    assert child == Candidate(
        {"train.py": SOURCE.replace("    model = warm(model)\n", "")}, (root.node_id,), "simplify", "no warming"
    )
    assert "did not become simpler" in model.prompts[1].messages[-1].text
    assert "remove one thing" in model.prompts[0].text


@pytest.mark.parametrize(
    ("search", "replace"),
    [
        ("    model = build(RATE)\n    model = warm(model)", "    model = warm(build(RATE))  # one line less"),
        ("RATE = 0.001", "RATE = 1e-4"),
    ],
)
def test_what_counts_is_the_syntax_tree(garden: Garden, search: str, replace: str) -> None:
    root = garden.plant(SOURCE, 3.0)
    meter, _ = metered([edit(search, replace)] * 2)
    done = garden.ask(Simplify(meter), root.node_id)
    if "warm" in search:
        assert isinstance(done, Candidate), "an assignment less"
    else:
        assert isinstance(done, NoCandidate)
        assert "did not become simpler" in done.reason


def lineage(garden: Garden) -> list[str]:
    """root -> gate (gained much) -> clip (gained nothing) -> norm (gained a little) -> rate (a constant)."""
    texts = [SOURCE]
    texts.append(texts[-1].replace("    model = build(RATE)\n", "    model = build(RATE)\n    model = gate(model)\n"))
    texts.append(texts[-1].replace("    return fit(model)\n", "    state = fit(model)\n    return clip(state)\n"))
    texts.append(texts[-1].replace("    return state\n", "    state = norm(state)\n    return state\n"))
    texts.append(texts[-1].replace("0.001", "0.002"))
    ids = [garden.plant(texts[0], 3.0).node_id]
    for text, score, idea in zip(texts[1:], (2.5, 2.51, 2.4, 2.3), ("a gate", "clipping", "norm", "rate"), strict=True):
        ids.append(garden.grow(text, (ids[-1],), "improve", idea, score).node_id)
    return ids


def test_prune_takes_out_the_step_that_gained_least(garden: Garden) -> None:
    ids = lineage(garden)
    leaf = garden.tree[ids[-1]].candidate.files["train.py"]
    pruned = garden.ask(Prune(), ids[-1])
    expected = leaf.replace("    state = fit(model)\n    return clip(state)\n", "    return fit(model)\n")
    assert pruned == Candidate({"train.py": expected}, (ids[-1],), "prune", f"without {ids[2][:8]}: clipping")
    assert "RATE = 0.002" in expected
    assert "gate(model)" in expected, "all that came before and after it stays"


def test_prune_goes_on_with_the_next_step_and_then_says_why_not(garden: Garden) -> None:
    ids = lineage(garden)
    without_clip = garden.ask(Prune(), ids[-1])
    assert isinstance(without_clip, Candidate)
    garden.grow(dict(without_clip.files), (ids[-1],), "prune", score=2.4)
    for place, idea in ((3, "norm"), (1, "a gate")):
        pruned = garden.ask(Prune(), ids[-1])
        assert isinstance(pruned, Candidate)
        assert pruned.idea == f"without {ids[place][:8]}: {idea}", "the less it gained, the sooner"
        garden.grow(dict(pruned.files), (ids[-1],), "prune", score=2.9)
    nothing = garden.ask(Prune(), ids[-1])
    assert isinstance(nothing, NoCandidate)
    assert "known already" in nothing.reason


def test_prune_applies_where_code_was_added(garden: Garden) -> None:
    ids = lineage(garden)
    prune = Prune()
    assert [prune.applies(garden.tree, node) for node in ids] == [False, True, True, True, True]
    tuned = garden.grow(SOURCE.replace("0.001", "0.1"), (ids[0],), "tune", score=3.1)
    assert not prune.applies(garden.tree, tuned.node_id), "constants are for tune"
    failed = garden.grow(SOURCE + "x = 1\n", (ids[1],))
    garden.fail(failed)
    assert not prune.applies(garden.tree, failed.node_id)
    refused = garden.ask(prune, tuned.node_id)
    assert isinstance(refused, NoCandidate)
    assert "it has no step that made it longer" in refused.reason


def test_prune_leaves_merges_alone(garden: Garden) -> None:
    ids = lineage(garden)
    other = garden.grow(
        SOURCE.replace("    return state", "    state = back(state)\n    return state"), (ids[0],), "improve", score=2.9
    )
    text = (
        garden.tree[ids[2]]
        .candidate.files["train.py"]
        .replace("    return state", "    state = back(state)\n    return state")
    )
    merged = garden.grow(text, (ids[2], other.node_id), "crossover", "merge", 2.6)
    tuned = garden.grow(text.replace("0.001", "0.01"), (merged.node_id,), "tune", score=2.2)
    pruned = garden.ask(Prune(), tuned.node_id)
    assert isinstance(pruned, Candidate)
    assert "back(state)" in pruned.files["train.py"]
    assert "clip" not in pruned.files["train.py"]
