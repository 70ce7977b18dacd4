"""What is drawn fits any terminal, and says with characters what it says with colours."""

from __future__ import annotations

import io
import math
import re

import pytest
from rich.cells import cell_len
from rich.console import Console

from search.display.frame import RED, Fact, SlotRow, TerminalFrame, curve, duration

FALLING = tuple((share / 100, 5.0 - share / 25) for share in range(1, 51))
IDEAS = ("LEARNING_RATE 0.001 -> 0.0031 " * 5, "学习率调整" * 30, "e\u0301" * 90, "🚀" * 50, "")
FACTS = (
    (Fact("12 of 29 evaluations"), Fact("searching"), Fact("about 3 min left"), Fact("214 an hour")),
    (Fact("best 3.0925 bpb (c98c047c, 1 run)"), Fact("root 3.6178 (3 runs)"), Fact("sigma 0.0187")),
    (Fact("3 suspect nodes", RED), Fact("3fa9c1d2 found cheating " * 20, RED)),
    (),
)


def frame(slots: int) -> TerminalFrame:
    rows = [
        SlotRow(i, "3f2a91c4", "crossover", "train", i / 16, 7.0, FALLING, IDEAS[i % len(IDEAS)])
        if i % 4 != 3
        else SlotRow(i)
        for i in range(slots)
    ]
    return TerminalFrame(rows, FACTS)


def texts(drawn: TerminalFrame, width: int, height: int, ascii_only: bool = False) -> list[str]:
    lines = drawn.lines(width, height, ascii_only)
    return ["".join(segment.text for segment in line) for line in lines]


def printed(drawn: TerminalFrame, **options: object) -> str:
    stream = io.StringIO()
    Console(file=stream, force_terminal=True, width=100, height=30, **options).print(drawn)  # type: ignore[arg-type]
    return stream.getvalue()


@pytest.mark.parametrize("slots", [0, 1, 2, 4, 16, 100])
@pytest.mark.parametrize("size", [(140, 40), (80, 24), (60, 12), (40, 10), (20, 5), (3, 3), (1, 1), (250, 4)])
def test_it_fits(slots: int, size: tuple[int, int]) -> None:
    lines = texts(frame(slots), *size)
    assert lines
    assert len(lines) <= max(1, size[1] - 2)
    assert all(cell_len(line) <= size[0] for line in lines), lines
    assert not any("\n" in line for line in lines)


def test_a_small_terminal_shows_two_slots_and_what_matters_most() -> None:
    lines = texts(frame(16), 40, 10)
    assert lines[0].startswith(" 0 3f2a91c4 crossover train  ")
    assert "and 15 more slots" in lines[1]
    assert lines[2].startswith("12 of 29 evaluations")
    assert any(line.startswith("best 3.0925 bpb") for line in lines)


def test_two_slots_are_both_there_on_a_small_terminal() -> None:
    lines = texts(frame(2), 40, 10)
    assert [line[:10] for line in lines[:2]] == ["0 3f2a91c4", "1 3f2a91c4"]


def test_a_wide_terminal_shows_everything() -> None:
    lines = texts(frame(4), 140, 40)
    assert lines[0] == "─" * 140
    assert "LEARNING_RATE 0.001 -> 0.0031" in lines[1]
    assert "   7 s" in lines[1]
    assert "3.000" in lines[1]
    assert lines[4].split() == ["3", "idle"]
    assert lines[5] == "12 of 29 evaluations   searching   about 3 min left   214 an hour"
    assert len(lines) == 1 + 4 + 4  # the second of two long facts has a line of its own


# ---------------------------------------------------------------- curves


def test_a_curve_falls_and_leaves_room_for_what_is_to_come() -> None:
    done, rest = curve(FALLING, 0.5, 16)
    assert (len(done), rest) == (8, "·" * 8)
    assert done[0] == "█"
    assert done[-1] == "▁"
    assert list(done) == sorted(done, reverse=True)


def test_a_column_without_a_report_repeats_the_one_before() -> None:
    done, rest = curve([(0.05, 4.0), (0.95, 2.0)], 1.0, 10)
    assert (done, rest) == ("█████████▁", "")


@pytest.mark.parametrize("share", [-1.0, 0.0, 0.3, 1.0, 7.0])
def test_without_reports_it_is_a_bar(share: float) -> None:
    done, rest = curve((), share, 10)
    assert len(done) + len(rest) == 10
    assert set(done) <= {"▁"}
    assert len(done) == {-1.0: 0, 0.0: 0, 0.3: 3, 1.0: 10, 7.0: 10}[share]


@pytest.mark.parametrize(
    "losses",
    [
        [(0.1, 1.7e308), (0.9, -1.7e308)],
        [(0.1, math.inf), (0.2, math.nan)],
        [(-5.0, 1.0), (99.0, 2.0)],
        [(0.5, 5e-324), (0.6, 0.0)],
        [(0.5, 3.0)] * 5,
    ],
)
def test_losses_need_not_be_sane(losses: list[tuple[float, float]]) -> None:
    done, rest = curve(losses, 1.0, 12)
    assert (len(done), rest) == (12, "")
    row = SlotRow(0, "3f2a91c4", "tune", "train", 1.0, 1.0, losses, "")
    assert all(cell_len(line) <= 80 for line in texts(TerminalFrame([row]), 80, 24))


# ---------------------------------------------------------------- colours and characters


def test_no_color_means_none() -> None:
    colour = re.compile(r"\x1b\[(?:[0-9]+;)*(3[0-8]|4[0-8]|9[0-7])[;m]")
    plain = printed(frame(4), _environ={"NO_COLOR": "1", "TERM": "xterm-256color"})
    dyed = printed(frame(4), _environ={"TERM": "xterm-256color"})
    assert not colour.search(plain)
    assert colour.search(dyed)
    assert re.sub(r"\x1b\[[0-9;]*m", "", plain) == re.sub(r"\x1b\[[0-9;]*m", "", dyed)


def test_a_terminal_without_unicode_gets_none_of_ours() -> None:
    rows = [SlotRow(0, "3f2a91c4", "tune", "train", 0.5, 1.0, FALLING, "an idea"), SlotRow(1)]
    lines = texts(TerminalFrame(rows, FACTS), 100, 30, ascii_only=True)
    assert all(line.isascii() for line in lines)
    assert "#" in lines[1]


@pytest.mark.parametrize(
    ("seconds", "said"),
    [(0, "0 s"), (99.4, "99 s"), (150, "2 min"), (9000, "2.5 h"), (86_000, "24 h"), (3e5, "3 days")],
)
def test_durations(seconds: float, said: str) -> None:
    assert duration(seconds) == said
