"""Numbers in JSON and YAML files by the path of their keys: ``model.layers.0.rate``.

A key that stands twice in one mapping has no one value, and neither do two paths that read the same.
"""

from __future__ import annotations

import json
import re
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from prepare.syntax import yaml_events

_JSON = re.compile(r'"(?:\\.|[^"\\])*+"|[{}\[\],:]|[^\s"{}\[\],:]++')
_MOST = 100_000
"""Nodes of a YAML file that are looked at."""

Span = tuple[int, int]
"""Characters [start, end) of a value."""


def json_values(text: str) -> Iterator[tuple[str, Span]]:
    """Yield (path, span) of each value that is no mapping and no list; none of a text that is no JSON."""
    try:
        json.loads(text)
    except (ValueError, RecursionError):
        return
    places: list[str | int] = []
    is_key = False
    for found in _JSON.finditer(text):
        token = found[0]
        if token in ("{", "["):
            places.append("" if token == "{" else 0)
            is_key = token == "{"
        elif token in ("}", "]"):
            places.pop()
        elif token == ",":
            is_key = isinstance(place := places[-1], str)
            places[-1] = place + 1 if isinstance(place, int) else place
        elif token == ":":
            is_key = False
        elif is_key:
            places[-1] = json.loads(token)
        else:
            yield ".".join(map(str, places)), found.span()


def yaml_values(text: str) -> Iterator[tuple[str, Span]]:
    """Yield (path, span) of each plain scalar; none of a text that is no YAML, or has several documents."""
    import yaml  # type: ignore[import-untyped]

    front: list[tuple[tuple[str, ...], Any]]
    try:
        deque(yaml_events(text), maxlen=0)  # what is nested too deeply takes the composer minutes
        front = [((), yaml.compose(text, Loader=yaml.SafeLoader))]
    except (yaml.YAMLError, ValueError):
        return
    seen: set[int] = set()  # an anchor is looked at once, at the first place that has it
    while front and len(seen) < _MOST:
        path, node = front.pop()
        if id(node) in seen:
            continue
        seen.add(id(node))
        match node:
            case yaml.MappingNode(value=pairs):
                named = [(key.value, value) for key, value in pairs if isinstance(key, yaml.ScalarNode)]
                front += [((*path, name), value) for name, value in reversed(named)]
            case yaml.SequenceNode(value=items):
                front += [((*path, str(place)), items[place]) for place in reversed(range(len(items)))]
            case yaml.ScalarNode(style=None, end_mark=mark, value=value):
                span = mark.index - len(value), mark.index  # an anchor may stand before it
                if text[slice(*span)] == value:
                    yield ".".join(path), span


READERS: Mapping[str, Callable[[str], Iterator[tuple[str, Span]]]] = {
    "json": json_values, "yaml": yaml_values, "yml": yaml_values,
}  # fmt: skip
"""By the suffix of a file."""
