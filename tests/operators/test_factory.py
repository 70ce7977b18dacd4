"""The groups of conf/operators and conf/llm: each can be built, and a missing key leaves out the right operators."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import pytest
from omegaconf import OmegaConf

import conf
from operators.config import LlmConfig, OperatorConfig
from operators.factory import build_meter, build_operators
from operators.llm.base import Prompt
from operators.llm.claude import Claude
from operators.llm.command.client import CommandModel
from operators.llm.compatible import OpenAICompatible
from operators.llm.meter import Meter
from operators.llm.scripted import Scripted
from operators.llm.several import Bandit, ModelRouter, Weighted
from prepare.config import SettingsError
from search.settings import config_for

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
        ("agent", ["tune", "crossover", "agent"], None),
        ("agents", ["draft", "tune", "reflexion", "improve", "hybrid", "debug"], ["draft", "tune"]),
        ("all", EVERYTHING, None),
    ],
)
def test_every_group_of_operators(name: str, with_model: list[str], without: list[str] | None) -> None:
    entries = {key: OperatorConfig.of(entry, key) for key, entry in load("operators", name).items()}
    toolbox = build_operators(entries, meter())
    assert list(toolbox.operators) == list(toolbox.weights) == with_model
    assert all(operator.name == key for key, operator in toolbox.operators.items())
    assert toolbox.left_out == ()
    assert [key for key, operator in toolbox.operators.items() if operator.needs_llm] == [
        key for key in with_model if (entries[key].llm or "beside") != "beside"
    ]
    if without is None:
        with pytest.raises(ValueError, match="Set ANTHROPIC_API_KEY, or choose operators=numeric"):
            build_operators(entries, None)
    else:
        kept = build_operators(entries, None)
        assert list(kept.operators) == without
        assert set(kept.left_out) == set(with_model) - set(without)


def test_a_group_lists_no_file_that_is_untested() -> None:
    assert {path.stem for path in (CONF / "operators").glob("*.yaml")} == {
        "auto",
        "numeric",
        "tune",
        "llm",
        "all",
        "agent",
        "agents",
    }
    assert {path.stem for path in (CONF / "llm").glob("*.yaml")} == {
        "claude", "openai", "local", "several", "scripted", "none", "command", "claude_code", "codex", "gemini_cli",
    }  # fmt: skip


def composed(*words: str) -> LlmConfig:
    """``llm`` of the configuration that these words ask for."""
    return config_for(list(words), "cpu").llm


KEYS = ("ANTHROPIC_API_KEY", "OPENAI_API_KEY")


@pytest.fixture
def keys(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """None is set."""
    for name in KEYS:
        monkeypatch.delenv(name, raising=False)
    return monkeypatch


def built(*words: str) -> Meter:
    found = build_meter(composed(*words))
    assert found is not None
    return found


def test_claude_needs_its_key(keys: pytest.MonkeyPatch) -> None:
    config = LlmConfig.of(load("llm", "claude"))
    assert config.missing_key == "ANTHROPIC_API_KEY"
    assert build_meter(config) is None
    assert config.packages == ()
    keys.setenv("ANTHROPIC_API_KEY", "sk-ant-not-a-key")
    assert config.packages == ("anthropic",)
    assert built("llm=claude").describe() == "claude-sonnet-5-5, at most $2.00 and 1,000,000 tokens"


def test_none_and_scripted() -> None:
    assert build_meter(LlmConfig.of(load("llm", "none"))) is None
    assert LlmConfig.of(load("llm", "none")).packages == ()
    scripted = build_meter(LlmConfig.of(load("llm", "scripted")))
    assert scripted is not None
    assert isinstance(scripted.model, Scripted)


def test_an_openai_endpoint_needs_its_key_and_a_local_one_needs_none(keys: pytest.MonkeyPatch) -> None:
    assert composed("llm=openai").missing_key == "OPENAI_API_KEY"
    assert build_meter(composed("llm=openai", "llm.key=OTHER_KEY_THAT_IS_NOT_SET")) is None
    keys.setenv("OPENAI_API_KEY", "sk-not-a-key")
    assert built("llm=openai").describe() == "gpt-6.1-terra, at most $2.00 and 1,000,000 tokens"
    keys.delenv("OPENAI_API_KEY")
    local = built("llm=local", "llm.model=mine")
    assert local.describe() == "mine, at most $2.00 and 100,000,000 tokens"
    assert local.model.max_cost(Prompt("", ())).dollars == 0.0
    assert local.concurrency == 2


@pytest.mark.parametrize(
    ("group", "name", "dollars"),
    [("claude_code", "sonnet", 0.5), ("codex", "gpt-6.1-terra", 0.2), ("gemini_cli", "auto", None)],
)
def test_every_coding_agent_is_built(keys: pytest.MonkeyPatch, group: str, name: str, dollars: float | None) -> None:
    keys.setenv("ANTHROPIC_API_KEY", "sk-ant-not-a-key")
    meter = built(f"llm={group}")
    model = meter.model
    assert isinstance(model, CommandModel)
    assert model._filled(model._command)[0] == {"claude_code": "claude", "gemini_cli": "gemini"}.get(group, group)
    assert (meter.model.name, meter.priced, meter.concurrency) == (name, dollars is not None, 2)
    assert model.max_cost(Prompt("", ())).dollars == (None if dollars is None else pytest.approx(dollars, rel=0.1))
    mine = built("llm=command", "llm.command='mine -q'", f"llm.hosts=[{group}.example.com]", "llm.sandbox=none")
    assert mine.describe().startswith("mine, whose price is unknown")


ENDPOINT = [
    "llm.base_url=http://127.0.0.1:1/v1", "llm.max_tokens=77", "llm.tokens_key=max_tokens", "llm.effort=low",
    "llm.temperature=0.5", "llm.timeout=9", "llm.retries=4", "llm.stream=false", "+llm.extra.top_k=3",
    "llm.price={input: 1, output: 2}", "llm.max_dollars=3", "llm.max_total_tokens=5000", "llm.concurrency=5",
    "llm.prompt_tokens=2000", "llm.model=m",
]  # fmt: skip


@pytest.mark.parametrize("group", ["openai", "local"])
def test_every_key_of_an_endpoint_arrives(keys: pytest.MonkeyPatch, group: str) -> None:
    keys.setenv("OPENAI_API_KEY", "sk-not-a-key")
    meter = built(f"llm={group}", *ENDPOINT)
    model = meter.model
    assert isinstance(model, OpenAICompatible)
    assert meter.describe() == "m, at most $3.00 and 5,000 tokens"
    assert (meter.concurrency, meter.prompt_tokens, model.attempts) == (5, 2000, 5)
    assert (model._base_url, model._timeout, model._stream) == ("http://127.0.0.1:1/v1", 9, False)
    assert model._fields == {"max_tokens": 77, "reasoning_effort": "low", "temperature": 0.5, "top_k": 3}
    assert model.max_cost(Prompt("", ())).dollars == pytest.approx((64 + 2 * 77) / 1e6, rel=0.1)


def test_every_key_of_claude_arrives(keys: pytest.MonkeyPatch) -> None:
    keys.setenv("OTHER_KEY", "sk-ant-not-a-key")
    words = [
        word for word in ENDPOINT if word.split("=")[0] not in ("llm.tokens_key", "llm.temperature", "+llm.extra.top_k")
    ]
    meter = built("llm=claude", *words, "llm.cache=1h", "llm.key=OTHER_KEY")
    model = meter.model
    assert isinstance(model, Claude)
    assert (model.name, model.attempts, model._timeout, model._stream, model._effort) == ("m", 5, 9, False, "low")
    assert model._mark == {"cache_control": {"type": "ephemeral", "ttl": "1h"}}
    assert meter.priced
    assert built("llm=claude", "llm.key=OTHER_KEY", "llm.cache=null").model._mark == {}  # type: ignore[union-attr]


def test_several_models_are_those_whose_keys_are_there(keys: pytest.MonkeyPatch) -> None:
    config = composed("llm=several")
    assert config.missing_key == "ANTHROPIC_API_KEY or OPENAI_API_KEY"
    assert build_meter(config) is None
    keys.setenv("OPENAI_API_KEY", "sk-not-a-key")
    assert config.left_out == {"strong": "ANTHROPIC_API_KEY", "fast": "ANTHROPIC_API_KEY"}
    assert config.packages == ("openai",)
    assert built("llm=several").describe() == "gpt-6.1-terra, at most $2.00 and 1,000,000 tokens"
    keys.setenv("ANTHROPIC_API_KEY", "sk-ant-not-a-key")
    meter = built("llm=several", "llm.weights.fast=0", "llm.choose.exploration=0.25", "llm.choose.first=7",
                  "llm.choose.training_dollars=0.5", "llm.models.strong.model=claude-opus-5")  # fmt: skip
    several = meter.model
    assert isinstance(several, ModelRouter)
    assert list(several.members) == ["strong", "other"]
    assert meter.describe() == "claude-opus-5 and gpt-6.1-terra, at most $2.00 and 1,000,000 tokens"
    bandit = several._chooser
    assert isinstance(bandit, Bandit)
    assert (bandit.exploration, bandit.training_dollars, bandit.first) == (0.25, 0.5, 7)
    assert isinstance(built("llm=several", "llm.choose=null").model._chooser, Weighted)  # type: ignore[union-attr]
    assert not built("llm=several", "llm.models.other.model=gpt-unheard-of").priced


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("llm.cache=2h",), "expected '5m' or '1h', or null"),
        (("llm.price={input: 1}",), "lacks 'output'"),
        (("llm.concurrency=0",), "expected at least 1"),
        (("llm=several", "llm.weights.strong=-1"), "expected numbers of at least 0"),
        (("llm=several", "+llm.weights.nobody=1"), "names 'nobody'"),
        (("llm=several", "llm.choose.first=0"), "and at least 1"),
        (("llm=several", "llm.choose.first='1'"), "llm.choose.first is '1'; expected a whole number"),
        (("llm=several", "llm.choose=ucb"), "expected a mapping with _target_, or null"),
        (("llm=several", "llm.weights=abc"), "expected a mapping from names of models"),
        (("llm=several", "llm.weights.fast=abc"), "llm.weights.fast is 'abc'; expected a number"),
        (("llm=several", "llm.models.fast=1.5"), "expected a mapping with _target_, or null"),
        (("llm.model=[1, 2]",), "expected the name of a model"),
        (("llm.base_url=''",), "expected an address"),
        (("llm.stream=abc",), "llm.stream is 'abc'; expected true or false"),
        (("llm.price=[]",), "llm.price is \\[\\]; expected a mapping"),
        (("llm.timeout=1e30",), "expected at most 1,000,000"),
        (("llm.max_dollars=-1",), "llm.max_dollars is -1; expected a number from 0 to 1,000,000,000,000"),
        (("llm=claude_code", "llm.reads='a b'"), "llm.reads is 'a b'; expected a list of texts"),
        (("llm=claude_code", "llm.call_dollars=0"), "expected dollars above 0"),
    ],
)
def test_settings_that_make_no_sense_are_said(keys: pytest.MonkeyPatch, words: tuple[str, ...], said: str) -> None:
    for name in KEYS:
        keys.setenv(name, "sk-not-a-key")
    with pytest.raises((ValueError, SettingsError), match=said):
        build_meter(composed(*words))
