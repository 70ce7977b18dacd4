"""Answers of a real model are read as they were when they were recorded, so that no form of answer is lost unseen."""

from __future__ import annotations

from typing import Any

import pytest
from recorded import recorded, verdict

BOOK = recorded()


@pytest.mark.parametrize("answer", BOOK["answers"], ids=lambda answer: str(answer["operator"]))
def test_an_answer_is_read_as_recorded(answer: dict[str, Any]) -> None:
    program = BOOK["programs"][answer["program"]]
    assert verdict(answer["operator"], BOOK["path"], program, answer["text"]) == answer["verdict"]
