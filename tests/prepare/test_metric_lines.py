"""The strict parser of METRIC lines, JSON and ``name: value`` lines."""

from __future__ import annotations

import pytest

from prepare.metric_lines import MetricError, metrics_in, metrics_in_json, metrics_of
from prepare.scorer import finite_number


@pytest.mark.parametrize(
    ("output", "found"),
    [
        ("METRIC s=12.5\n", {"s": 12.5}),
        ("log\r\n  METRIC  s = -1e-3 \r\nMETRIC other=2", {"s": -0.001, "other": 2.0}),
        ("METRIC s=1\nMETRIC s=1.0\n", {"s": 1.0}),
        ("METRIC s=1\nMETRIC loss=5\nMETRIC loss=4\nMETRIC bad=nan", {"s": 1.0, "loss": 4.0}),
        ('{"s": 3, "text": "a", "flag": true, "nested": {"s": 4}}', {"s": 3.0}),
        ('training ...\n{"s": 3}\n', {"s": 3.0}),
        ("---\ns:          0.9979\ntraining_seconds: 300.1\n", {"s": 0.9979, "training_seconds": 300.1}),
        ("s=7", {"s": 7.0}),
    ],
)
def test_outputs_with_a_score(output: str, found: dict[str, float]) -> None:
    assert metrics_in(output, "s") == found


@pytest.mark.parametrize(
    ("output", "words"),
    [
        ("", "is missing"),
        ("s is 3", "is missing"),
        ("METRIC t=3\ns: 4", "found t"),
        ("METRIC s=1\nMETRIC s=2", "different values, 1.0 and 2.0"),
        ("METRIC s=nan", "s is nan"),
        ("METRIC s=inf", "s is inf"),
        ("METRIC s=1e999", "s is inf"),
        ("METRIC s=True", "s is True"),
        ("METRIC s=None", "s is None"),
        ("METRIC s=1_000", "s is 1_000"),
        ("METRIC s=0x10", "s is 0x10"),
        ("METRIC s=12 ms", "s is 12 ms"),
        ("METRIC s=", "s is ;"),
        ("METRIC s=٣", "s is ٣"),
        ('{"s": true}', "s is True"),
        ('{"s": null}', "s is None"),
        ('{"s": NaN}', "s is nan"),
        ('{"s": "3"}', "s is 3"),
        ('{"s": 1, "s": 2}', "different values"),
        ('{"s": ' + "9" * 400 + "}", "expected a finite number"),
        ("[" * 100_000, "is missing"),
        ("{" * 100_000, "is missing"),
    ],
)
def test_what_is_no_score(output: str, words: str) -> None:
    with pytest.raises(MetricError) as caught:
        metrics_in(output, "s")
    assert words in str(caught.value)
    assert len(str(caught.value)) < 300


def test_both_signs_for_micro_are_one_name() -> None:
    assert metrics_in("METRIC latency_\u00b5s=3", "latency_\u03bcs") == {"latency_\u03bcs": 3.0}
    assert metrics_in("METRIC größe=3", "größe") == {"größe": 3.0}


def test_json_files_hold_an_object() -> None:
    assert metrics_in_json('{"reward": 0.5, "speed": 2}', "reward") == {"reward": 0.5, "speed": 2.0}
    for text in ("", "0.5", "[1]", "{"):
        with pytest.raises(MetricError, match="expected a JSON object"):
            metrics_in_json(text, "reward")


def test_decoded_values() -> None:
    assert metrics_of({"combined_score": 1, "error": None}, "combined_score") == {"combined_score": 1.0}
    assert [finite_number(value) for value in (True, "1", None, float("nan"), 10**400, 2)] == [*[None] * 5, 2.0]
