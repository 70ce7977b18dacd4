"""Tables as a person reads them: no escapes, nothing wider than the terminal, no number cut."""

from __future__ import annotations

import io
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from archive.query import tables
from archive.query.select import Result
from prepare.output import shortened


class _Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize("columns", ["200", "20"])
@pytest.mark.parametrize("out", [io.StringIO, _Terminal])
def test_a_table_never_passes_on_escapes_or_lines(
    out: type[io.StringIO], columns: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", columns)
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setenv("TERM", "dumb")
    evil = "\x1b[2J\x1b]0;owned\x07a\rb\nfake row\x9b31m \u202e[red]bold[/red]"
    stream = out()
    tables.print_table(Result(("id", evil), [("1", evil), ("2", "x" * 500)]), stream)
    shown = stream.getvalue()
    assert all(c.isprintable() or c == "\n" for c in shown)
    assert not any(line.startswith("fake row") for line in shown.splitlines())
    assert "[red]" in shown or columns == "20"
    assert "x" * 100 not in shown


_NUMBER = re.compile(r"[+-]?\d[\d,.]*(?:[eE][+-]?\d+)?")


@given(st.text("0123456789.,+-eE x>", max_size=40), st.integers(1, 40))
def test_a_cut_text_never_ends_within_a_number(text: str, limit: int) -> None:
    made = shortened(text, limit)
    assert len(made) <= limit
    assert set(_NUMBER.findall(made.removesuffix("…"))) <= set(_NUMBER.findall(text))
    assert made.endswith("…") or made == text


@pytest.mark.parametrize("columns", ["72", "80", "100", "120", "200"])
def test_a_table_on_a_terminal_fits_and_has_its_numbers_in_full(columns: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", columns)
    monkeypatch.setenv("TERM", "xterm")
    stream = _Terminal()
    row = (1, "d06d98e1e810ae3b", 4.4321987, -0.178781, "tune", "FOLLOWING 0.0 -> -0.407, TRIES 60 -> 130, WAITING 2.0")
    tables.print_table(Result(("place", "node_id", "score", "gain", "operator", "idea"), [row]), stream)
    shown = re.sub(r"\x1b\[[\d;]*m", "", stream.getvalue())
    assert max(map(len, shown.splitlines())) <= int(columns)
    assert {"1", "4.4322", "-0.178781"} <= set(shown.split())
    assert {number.rstrip(",") for number in _NUMBER.findall(shown.split("FOLLOWING")[1])} <= {
        "0.0",
        "-0.407",
        "60",
        "130",
        "2.0",
    }
