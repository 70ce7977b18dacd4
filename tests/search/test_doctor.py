"""``search doctor``: its findings as JSON, in process."""

from __future__ import annotations

import json

import pytest

from search.cli.doctor import examine
from search.words import Words


def test_findings_of_doctor_as_json(capsys: pytest.CaptureFixture[str]) -> None:
    assert examine(Words(("sandbox=docker",), json=True)) == 1
    found = {finding["what"]: finding for finding in json.loads(capsys.readouterr().out)}
    assert found["sandbox"]["level"] == "problem"
    assert "docker" in found["sandbox"]["words"]
    assert found["budget"]["level"] == "ok"
