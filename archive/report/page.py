"""The page as one HTML file that works offline, with the data of runs embedded as compressed blocks.

The blocks of the run that is shown first have plain names (``facts``, ``chunk-0``, ``part-cases``); those of each other
run have a prefix (``r1-facts``). The last block, ``runs``, names the runs that are in the file.

The content policy allows the page's own script and style by their hashes and nothing else: no other script, no
requests. Data are in non-executable blocks, as base64, which cannot contain markup.
"""

from __future__ import annotations

import base64
import hashlib
import json
import zlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

CHUNK = 50
"""Nodes whose details are packed together: what a click has to unpack."""
PARTS = 4_000_000
"""Characters of a run's packed parts together; prompts and answers beyond them are left out."""
PARTS_OF_OTHERS = 1_000_000
"""The same for each further run."""
LARGEST = 12_000_000
"""Characters of the file, which further runs do not exceed."""

VIEWS = ("overview", "tree", "curves", "table", "compare", "parameters", "cases", "models", "failures")
"""Files of ``web/views`` in the order of the page's navigation."""
_WEB = Path(__file__).resolve().parent / "web"
_LIBRARY = "vendor/echarts.min.js"
_PARTS = ("core", "chart", "panel", "parts", "grid", "syntax", *(f"views/{name}" for name in VIEWS), "steer", "main")


@dataclass(frozen=True)
class RunData:
    """What the page holds of one run. ``details`` and then ``parts`` are read once."""

    facts: Mapping[str, Any]
    details: Iterable[Mapping[str, Any]] = ()
    """An object per node, in the order of the nodes."""
    parts: Iterable[tuple[str, Any]] = ()
    """What views ask for by name, the most important first."""


def offline_page(shown: RunData, others: Iterable[RunData] = ()) -> Iterator[str]:
    """Yield the page's text in pieces.

    Args:
        shown: The run that is shown first.
        others: Further runs, the smallest first: taken until one does not fit into ``LARGEST`` characters.
    """
    before, after = _template(connect="'none'").split("@data@")
    size = len(before) + len(after)
    yield before
    for block in _blocks(shown, "", PARTS):
        size += len(block)
        yield block
    held = {_name(shown): ""}
    for number, other in enumerate(others, 1):
        blocks = _at_most(_blocks(other, f"r{number}-", PARTS_OF_OTHERS), LARGEST - size)
        if blocks is None:
            break
        size += sum(map(len, blocks))
        held[_name(other)] = f"r{number}-"
        yield from blocks
    yield _block("runs", held)
    yield after


def _name(run: RunData) -> str:
    return str(run.facts["run"]["run"])


def _at_most(blocks: Iterable[str], room: int) -> list[str] | None:
    """Return the blocks; None if they have more than ``room`` characters."""
    kept = []
    for block in blocks:
        room -= len(block)
        if room < 0:
            return None
        kept.append(block)
    return kept


def _blocks(run: RunData, prefix: str, most: int) -> Iterator[str]:
    """Yield the blocks of a run; its parts until ``most`` characters are used."""
    yield _block(f"{prefix}facts", run.facts)
    held: list[Mapping[str, Any]] = []
    place = 0
    for detail in run.details:
        held.append(detail)
        if len(held) == CHUNK:
            yield _block(f"{prefix}chunk-{place}", held)
            held, place = [], place + 1
    if held:
        yield _block(f"{prefix}chunk-{place}", held)
    for name, value in run.parts:
        block = _block(f"{prefix}part-{name}", value)
        most -= len(block)
        if most < 0:
            return
        yield block


def live_page() -> str:
    """Return the page for a server: it requests ``facts``, ``node/ID`` and ``steer`` from its own address."""
    return _template(connect="'self'").replace("@data@\n", "")


def policy(connect: str) -> str:
    """Return the content policy: the page's own script and style by their hashes, and nothing else."""
    return (
        f"default-src 'none'; script-src {_hash(script())}; style-src {_hash(_style())}; "
        f"connect-src {connect}; base-uri 'none'; form-action 'none'"
    )


@cache
def script() -> str:
    """Return the page's one script: the chart library, then the page's own parts in a scope of their own."""
    parts = "".join(_read(f"{name}.js") for name in _PARTS)
    return f'{_read(_LIBRARY)}\n(() => {{\n"use strict";\n{parts}}})();\n'


def _template(connect: str) -> str:
    page = _read("page.html").replace("@policy@", policy(connect))
    return page.replace("@style@", _style()).replace("@script@", script())


def _style() -> str:
    return _read("page.css") + _read("views.css")


def _read(name: str) -> str:
    return (_WEB / name).read_text(encoding="utf-8")


def _hash(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


def _block(name: str, value: object) -> str:
    return f'<script type="application/octet-stream" id="{name}" data-chunk="{CHUNK}">{_packed(value)}</script>\n'


def _packed(value: object) -> str:
    """Return JSON, deflated without a header, in base64."""
    packer = zlib.compressobj(6, zlib.DEFLATED, -15)
    data = json.dumps(value, separators=(",", ":"), allow_nan=False).encode()
    return base64.b64encode(packer.compress(data) + packer.flush()).decode()
