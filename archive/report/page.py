"""The page as one HTML file that works offline, with facts and details embedded as compressed data.

The content policy allows the page's own script and style by their hashes and nothing else: no other script, no
requests. Data are in non-executable blocks, as base64, which cannot contain markup.
"""

from __future__ import annotations

import base64
import hashlib
import json
import zlib
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

CHUNK = 50
"""Nodes whose details are packed together: what a click has to unpack."""
PARTS = 4_000_000
"""Characters of the packed parts together; prompts and answers beyond them are left out."""

VIEWS = ("overview", "tree", "curves", "table", "compare", "parameters", "cases", "models", "failures")
"""Files of ``web/views`` in the order of the page's navigation."""
_WEB = Path(__file__).resolve().parent / "web"
_LIBRARY = "vendor/echarts.min.js"
_PARTS = ("core", "chart", "panel", "parts", "grid", "syntax", *(f"views/{name}" for name in VIEWS), "steer", "main")


def offline_page(
    facts: Mapping[str, Any], details: Iterable[Mapping[str, Any]], parts: Iterable[tuple[str, Any]] = ()
) -> Iterator[str]:
    """Yield the page's text in pieces.

    Args:
        details: An object per node, in the order of the nodes.
        parts: What views ask for by name; read after the details, until ``PARTS`` characters are used.
    """
    before, after = _template(connect="'none'").split("@data@")
    yield before
    yield f'<script type="application/octet-stream" id="facts" data-chunk="{CHUNK}">{_packed(facts)}</script>\n'
    held: list[Mapping[str, Any]] = []
    place = 0
    for detail in details:
        held.append(detail)
        if len(held) == CHUNK:
            yield _block(place, held)
            held, place = [], place + 1
    if held:
        yield _block(place, held)
    room = PARTS
    for name, value in parts:
        block = f'<script type="application/octet-stream" id="part-{name}">{_packed(value)}</script>\n'
        room -= len(block)
        if room < 0:
            break
        yield block
    yield after


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


def _block(place: int, held: list[Mapping[str, Any]]) -> str:
    return f'<script type="application/octet-stream" id="chunk-{place}">{_packed(held)}</script>\n'


def _packed(value: object) -> str:
    """Return JSON, deflated without a header, in base64."""
    packer = zlib.compressobj(6, zlib.DEFLATED, -15)
    data = json.dumps(value, separators=(",", ":"), allow_nan=False).encode()
    return base64.b64encode(packer.compress(data) + packer.flush()).decode()
