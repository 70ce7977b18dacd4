"""The size of a state's header is checked before it is parsed in the search's own process."""

from __future__ import annotations

import json
import pickle

import numpy as np
import pytest
import safetensors.numpy

from prepare.language_model import LanguageModelTask
from train.language_model import training
from train.sandbox.abort import Aborted


def state_of(tensors: int) -> bytes:
    """Return a state of so many empty tensors: all of it is header."""
    header = json.dumps({f"{n:07}": {"dtype": "U8", "shape": [0], "data_offsets": [0, 0]} for n in range(tensors)})
    return len(header).to_bytes(8, "little") + header.encode()


def test_a_large_header_is_not_parsed(toy_task: LanguageModelTask, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("safetensors.deserialize", None)  # it is not called
    with pytest.raises(Aborted, match=r"the header of the state .* has 1,122,000 bytes; 1,000,000 are") as ended:
        training._state_metrics(state_of(17_000), toy_task)
    assert (ended.value.outcome, ended.value.violation) == ("invalid", False)


def test_a_state_of_many_tensors_is_measured(toy_task: LanguageModelTask) -> None:
    state = state_of(5000)
    assert training._state_metrics(state, toy_task) == {"parameters": 0.0, "state_bytes": len(state)}


SOUND = safetensors.numpy.save({"table": np.zeros((256, 256), np.float32)})
NO_STATES = {
    "truncated": SOUND[:-7],
    "of nothing": b"",
    "garbage": bytes(range(256)) * 40,
    "a header of a terabyte": (1 << 40).to_bytes(8, "little") + bytes(100),
    "a header without an end": (9).to_bytes(8, "little") + b'{"table"',
    "offsets beyond its end": SOUND.replace(b"262144", b"962144"),
    "a pickle": pickle.dumps({"table": [0.0]}),
    "with a tail": SOUND + bytes(1_500),
}


@pytest.mark.parametrize("kind", NO_STATES)
def test_bytes_that_are_no_state_are_a_violation(toy_task: LanguageModelTask, kind: str) -> None:
    assert training._state_metrics(SOUND, toy_task)["parameters"] == 256 * 256
    with pytest.raises(Aborted, match="the state is not a safetensors file") as ended:
        training._state_metrics(NO_STATES[kind], toy_task)
    assert (ended.value.outcome, ended.value.violation) == ("invalid", True)


def test_too_many_elements_are_counted(toy_task: LanguageModelTask) -> None:
    with pytest.raises(Aborted, match="the state has 400,000 elements; 100,000 are allowed"):
        training._state_metrics(safetensors.numpy.save({"table": np.zeros(400_000, np.uint8)}), toy_task)


@pytest.mark.parametrize("count", [-1, 1 << 62, 10**4000, 0.5, "3", None])
def test_a_count_that_a_candidate_sends_is_a_number_or_nothing(count: object) -> None:
    """Dividing by it must not overflow, and its digits are not printed."""
    assert not training._is_count(count)
    assert training._is_count(1 << 40)
