"""hybrid: the model names new parameters with ranges, and tune searches them."""

from __future__ import annotations

import pytest
from garden import Garden
from scripts import edit, metered

from archive.records import Candidate
from operators.base import NoCandidate
from operators.languages.files import Editable
from operators.numeric.observations import search_space
from operators.numeric.proposer.ranges import ParameterRange
from operators.numeric.search_space import has_invalid_range, range_of
from operators.numeric.tune import Tune
from operators.rewrite.hybrid import Hybrid
from operators.rewrite.prompt.about import tune

SOURCE = "RATE = 0.001\n\n\ndef train(session):\n    return fit(RATE)\n"
GATED = edit(
    "RATE = 0.001\n\n\ndef train(session):\n    return fit(RATE)",
    "RATE = 0.001\nGATE = 0.5  # tune: 0..1\nSTEPS = 4  # tune: 1|2|4|8\n\n\n"
    "def train(session):\n    return fit(RATE, GATE, steps=STEPS)",
)


def test_what_the_model_names_tune_searches(garden: Garden) -> None:
    root = garden.plant(SOURCE, 3.0)
    meter, _ = metered([GATED])
    child = garden.ask(Hybrid(meter), root.node_id)
    assert isinstance(child, Candidate)
    space = search_space(child.files, Editable())
    assert space["train.py", "GATE"] == ParameterRange(0.0, 1.0)
    assert space["train.py", "STEPS"].choices == (1, 2, 4, 8)
    node = garden.grow(dict(child.files), (root.node_id,), "hybrid", score=2.9)
    settings = [garden.ask(Tune(), node.node_id, seed=seed) for seed in range(12)]
    texts = [setting.files["train.py"] for setting in settings if isinstance(setting, Candidate)]
    assert any("GATE = 0.5 " not in text for text in texts)
    assert any("STEPS = 4 " not in text for text in texts)


@pytest.mark.parametrize(
    ("replace", "reason"),
    [
        ("RATE = 0.002", "no new module-level constant with a range"),
        ("RATE = 0.001\nGATE = 0.5", "no new module-level constant with a range"),
        ("RATE = 0.001\nGATE = 0.5  # tune: no", "no new module-level constant with a range"),
        ("RATE = 0.001\nGATE = 0.5  # tune: between 0 and 1", "GATE: `tune: between 0 and 1`"),
        ("RATE = 0.001\nGATE = 0.5  # tune: 1..0", "GATE: `tune: 1..0`"),
        ("RATE = 0.001\nGATE = 0.5  # tune: 0..1\nx = RATE", "GATE is defined and never used"),
    ],
)
def test_constants_outside_of_the_grammar_are_reported(garden: Garden, replace: str, reason: str) -> None:
    root = garden.plant(SOURCE, 3.0)
    meter, model = metered([edit("RATE = 0.001", replace), GATED])
    assert isinstance(garden.ask(Hybrid(meter), root.node_id), Candidate), "one repair"
    assert reason in model.prompts[1].messages[-1].text
    meter, _ = metered([edit("RATE = 0.001", replace)] * 2)
    refused = garden.ask(Hybrid(meter), root.node_id)
    assert isinstance(refused, NoCandidate)
    assert reason in refused.reason


def test_the_grammar_that_prompts_teach_is_the_one_that_is_read() -> None:
    """Every example of the system text, as a program: each has the range that it says, and none is misread."""
    from operators.languages.parameters import find_parameters

    lines = [line for line in tune(["train.py"]).splitlines() if line.startswith("    ") and " = " in line]
    found = {c.name: c for c in find_parameters("\n".join(line.strip() for line in lines) + "\n")}
    assert list(found) == ["WIDTH", "RATE", "SHARE", "PARTS", "METHOD", "TIED", "LENGTH"]
    assert not any(map(has_invalid_range, found.values()))
    ranges = {name: range_of(constant) for name, constant in found.items()}
    assert ranges["WIDTH"] == ParameterRange(16, 512, "log", integer=True, step=16)
    assert ranges["RATE"] == ParameterRange(1e-4, 1e-1, "log")
    assert ranges["SHARE"] == ParameterRange(0.0, 0.5)
    assert ranges["PARTS"] is not None
    assert ranges["PARTS"].choices == (1, 2, 4, 8)
    assert ranges["METHOD"] == ParameterRange(0, 2, integer=True, choices=(0, 1, 2), unordered=True)
    assert ranges["TIED"] is not None
    assert ranges["LENGTH"] is None
