"""Overrides as text: what is typed means what it says, and what is printed works when it is typed back."""

from __future__ import annotations

import shlex

import pytest
from example_counts import examples
from hypothesis import example, given, settings
from hypothesis import strategies as st

from prepare.compose import compose, sweep
from prepare.config import SettingsError
from prepare.overrides import readable, value_of, written

texts = st.text(st.sampled_from("\\${}[]()\"'`,;:=#~@&|!?*+-% ab01\n\tüß李😀"), max_size=9) | st.text(max_size=20)


@pytest.mark.slow
@settings(max_examples=examples(5))
@given(texts.filter(lambda text: text != "???"))  # which is a missing value for OmegaConf, also in quotes
@example("true")
@example("null")
@example("1e3")
@example("007")
@example("größe")
@example("nacht=1")
@example("a,b")
@example(r"\${a}")
@example("${oc.env:HOME}\\")
@example('it\'s "x" \\')
def test_a_printed_text_is_read_back_through_the_shell(text: str) -> None:
    (typed,) = shlex.split(shlex.quote(written("run", text)))
    assert compose([typed]).values["run"] == text


@given(texts)
@example("0\n")
def test_reading_twice_is_reading_once(text: str) -> None:
    once = readable(f"run={text}")
    assert readable(once) == once


@pytest.mark.parametrize(
    "text",
    [
        "größe",
        "李明",
        "nacht=1",
        "a#b",
        "it's",
        "1e3",
        "007",
        "1_0",
        "~/x",
        "a;b",
        "a&b",
        "x!",
        "50%",
        "a b",
        "é,",
    ],
)
def test_a_text_needs_no_quotes_of_the_grammar(text: str) -> None:
    assert compose([f"archive={text}"]).values["archive"] == text


@pytest.mark.parametrize(
    ("typed", "value"),
    [("run='a#b'", "a#b"), ('run="true"', "true"), ("run=null", None), ("run=true", True), ("run=${seed}", 0)],
)
def test_what_the_grammar_reads_stays(typed: str, value: object) -> None:
    assert compose([typed]).values["run"] == value


def test_the_values_of_a_sweep_are_texts_too() -> None:
    runs = [compose(overrides).values["run"] for overrides in sweep(["run=größe,nacht=1,b"])]
    assert runs == ["größe", "nacht=1", "b"]
    (_, (typed,), _) = sweep(["run=größe,nacht=1,b"])
    assert value_of(typed) == "nacht=1"


@pytest.mark.parametrize("typed", ["policy=[ucb", "run='a", 'run="a', "task.constants={A: 1"])
def test_what_begins_as_a_list_or_a_quotation_is_no_text(typed: str) -> None:
    with pytest.raises(SettingsError, match="cannot be read"):
        compose([typed])


@pytest.mark.parametrize("typed", ["run=a,b", "run=größe,b", "archive='a,b',c"])
def test_the_advice_for_several_values_works_as_printed(typed: str) -> None:
    with pytest.raises(SettingsError) as refused:
        compose([typed])
    (advised,) = shlex.split(str(refused.value).rpartition("single value: ")[2])
    key, _, value = typed.partition("=")
    assert compose([advised]).values[key] == value


@pytest.mark.parametrize(
    ("typed", "expected"),
    [
        ("llm.extra={top_p: 0.9}", {"top_p": 0.9}),
        ("llm.extra={top_p:0.9}", {"top_p": 0.9}),
        ("llm.extra.top_p=0.9", {"top_p": 0.9}),
        ("+llm.extra.top_p=0.9", {"top_p": 0.9}),
        ("llm.extra={provider: {order: [a, b]}, seed: 1}", {"provider": {"order": ["a", "b"]}, "seed": 1}),
        ("llm.extra={}", {}),
    ],
)
def test_the_further_fields_of_a_request_take_any_key(typed: str, expected: object) -> None:
    assert compose(["llm=openai", typed]).values["llm"]["extra"] == expected


def test_several_models_have_further_fields_each() -> None:
    llm = compose(["llm=several", "llm.models.other.extra={top_p: 0.9}"]).values["llm"]
    assert llm["models"]["other"]["extra"] == {"top_p": 0.9}


def test_other_mappings_refuse_unknown_keys() -> None:
    with pytest.raises(SettingsError, match=r"unknown override 'llm\.extras'"):
        compose(["llm=openai", "llm.extras={top_p: 0.9}"])


@pytest.mark.parametrize("typed", ["policy=[ucb,greedy]", "policy=[ucb]", "task=[]"])
def test_a_list_of_files_is_refused(typed: str) -> None:
    """Hydra merges them: of two policies, it would run one that nobody has named."""
    group = typed.split("=")[0]
    with pytest.raises(SettingsError, match=rf"is a list, .* expected {group}=NAME, or .*Choices for {group}: "):
        compose([typed])


@pytest.mark.parametrize(
    ("llm", "typed", "expected"),
    [
        ("claude_code", "llm.command={}", r"'llm\.command=\{\}' cannot be used; expected no mapping"),
        ("openai", "llm.extra=[1]", r"expected llm\.extra=\{KEY: VALUE\}"),
        ("none", "task.limits=[1]", r"expected a mapping, as task\.limits\."),
    ],
)
def test_a_known_key_with_a_value_of_another_shape_is_not_called_unknown(llm: str, typed: str, expected: str) -> None:
    with pytest.raises(SettingsError, match=expected):
        compose([f"llm={llm}", typed])
