"""Contrast of the page's colours in light and dark, by the formula of WCAG: 4.5 for text (AA), 3 for marks."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from archive.report import page

WEB = Path(page.__file__).parent / "web"
SCHEMES = ("light", "dark")
TEXTS = ("ink", "quiet", "best", "bad", "odd", "link")
CODE = ("ink", "keyword", "string", "comment", "number")
CODE_ON = ("paper", "add", "del")


def variables(scheme: str) -> dict[str, str]:
    """The colours of the style sheets, by name: those of light, and what dark has in their place."""
    style = "".join((WEB / name).read_text() for name in ("page.css", "views.css"))
    dark = "".join(re.findall(r"@media \(prefers-color-scheme: dark\) \{ :root (\{[^}]*\})", style))
    light = "".join(re.findall(r"^:root (\{[^}]*\})", style, re.MULTILINE))
    found = dict(re.findall(r"--(\w+): (#\w{6})", light))
    return found if scheme == "light" else {**found, **dict(re.findall(r"--(\w+): (#\w{6})", dark))}


def palettes(scheme: str) -> list[str]:
    """The colours of charts: kinds of things, and shades from the worst to the best."""
    text = (WEB / "chart.js").read_text()
    return [
        colour
        for name in ("KINDS", "SHADES")
        for colour in json.loads(re.sub(r"(\w+):", r'"\1":', re.findall(rf"const {name} = (.*?);", text)[0]))[scheme]
    ]


def luminance(colour: str) -> float:
    parts = [int(colour[k : k + 2], 16) / 255 for k in (1, 3, 5)]
    red, green, blue = (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(front: str, back: str) -> float:
    low, high = sorted((luminance(front), luminance(back)))
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("scheme", SCHEMES)
def test_text_is_aa(scheme: str) -> None:
    colours = variables(scheme)
    pairs = [(front, back) for front in TEXTS for back in ("paper", "shade")]
    pairs += [(front, back) for front in CODE for back in CODE_ON]
    assert {
        pair: round(contrast(*map(colours.get, pair)), 2) for pair in pairs if contrast(*map(colours.get, pair)) < 4.5
    } == {}  # type: ignore[arg-type]


@pytest.mark.parametrize("scheme", SCHEMES)
def test_marks_and_lines_stand_out_from_the_paper(scheme: str) -> None:
    colours = variables(scheme)
    marks = [*palettes(scheme), *(colours[name] for name in ("dot", "warn", "edge", "best", "bad", "odd", "quiet"))]
    assert len(marks) == 8 + 6 + 7
    assert {
        mark: round(contrast(mark, colours["paper"]), 2) for mark in marks if contrast(mark, colours["paper"]) < 3
    } == {}
