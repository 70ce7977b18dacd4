"""The groups of conf/operators and conf/llm: each instantiates, and a missing key leaves out what it must."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import pytest
from omegaconf import OmegaConf

import conf
from operators.build import build_meter, build_operators, missing_key
from operators.llm.meter import Meter
from operators.llm.scripted import Scripted

CONF = Path(conf.__file__).parent


def load(group: str, name: str) -> dict[str, Any]:
    """A file of a group, as it is inside of the whole configuration: operators ask for ``prompts``."""
    whole = OmegaConf.create({"prompts": None, group: OmegaConf.load(CONF / group / f"{name}.yaml")})
    return cast(dict[str, Any], OmegaConf.to_container(whole, resolve=True))[group]


def meter() -> Meter:
    return Meter(Scripted(), max_dollars=1, max_tokens=1000, record=lambda call: None)


AUTHORS = ["improve", "hybrid", "simplify", "draft", "debug"]
EVERYTHING = ["tune", "crossover", "prune", *AUTHORS]


@pytest.mark.parametrize(
    ("name", "with_model", "without"),
    [
        ("auto", EVERYTHING, ["tune", "crossover", "prune"]),
        ("numeric", ["tune", "crossover"], ["tune", "crossover"]),
        ("tune", ["tune"], ["tune"]),
        ("llm", [*AUTHORS, "crossover"], None),
        ("all", EVERYTHING, None),
    ],
)
def test_every_group_of_operators(name: str, with_model: list[str], without: list[str] | None) -> None:
    entries = load("operators", name)
    toolbox = build_operators(entries, meter())
    assert list(toolbox.operators) == list(toolbox.weights) == with_model
    assert all(operator.name == key for key, operator in toolbox.operators.items())
    assert toolbox.left_out == ()
    assert [key for key, operator in toolbox.operators.items() if operator.needs_llm] == [
        key for key in with_model if "llm" in entries[key]
    ]
    if without is None:
        with pytest.raises(ValueError, match="Set ANTHROPIC_API_KEY, or choose operators=numeric"):
            build_operators(entries, None)
    else:
        kept = build_operators(entries, None)
        assert list(kept.operators) == without
        assert set(kept.left_out) == set(with_model) - set(without)


def test_a_group_lists_no_file_that_is_untested() -> None:
    assert {path.stem for path in (CONF / "operators").glob("*.yaml")} == {"auto", "numeric", "tune", "llm", "all"}
    assert {path.stem for path in (CONF / "llm").glob("*.yaml")} == {"claude", "scripted", "none"}


def test_claude_needs_its_key(monkeypatch: pytest.MonkeyPatch) -> None:
    config = load("llm", "claude")
    monkeypatch.delenv("ANTHROPIC_API_KEY", raising=False)
    assert missing_key(config) == "ANTHROPIC_API_KEY"
    assert build_meter(config, lambda call: None) is None
    monkeypatch.setenv("ANTHROPIC_API_KEY", "sk-ant-not-a-key")
    built = build_meter(config, lambda call: None)
    assert built is not None
    assert built.describe() == "claude-sonnet-5-5, at most $2.00 and 1,000,000 tokens"


def test_none_and_scripted() -> None:
    assert build_meter(load("llm", "none"), lambda call: None) is None
    scripted = build_meter(load("llm", "scripted"), lambda call: None)
    assert scripted is not None
    assert isinstance(scripted.model, Scripted)
