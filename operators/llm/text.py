"""Text that crosses the border to a service: always encodable, and joined where it comes in parts.

``Answer``, ``Message``, ``Prompt`` and ``LlmError`` pass their texts through ``encodable``, so that no text from a
service enters the program, and none leaves it, that UTF-8 cannot encode.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from operators.sanitize import clean

_ANSWER_PARTS = frozenset({None, "text", "output_text"})
"""Types of the parts of a content that are the answer; others are reasoning, tool calls or images."""
LONGEST_NAME = 200


def encodable(text: str) -> str:
    """Join the halves of surrogate pairs and replace lone surrogates by U+FFFD; all other text stays as it is."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    return text


def one_name(name: str) -> str:
    """Return a model's name, as a server reports it, as one printable line."""
    return " ".join(clean(name[: 2 * LONGEST_NAME]).split())[:LONGEST_NAME]


def content_text(content: Any) -> str:
    """Return the text of a message's content: a string, a typed part, or a list of these. Reasoning is left out."""
    if isinstance(content, str):
        return content
    if isinstance(content, (list, tuple)):
        return "".join(map(content_text, content))
    if field(content, "type") not in _ANSWER_PARTS:
        return ""
    text = field(content, "text")
    return text if isinstance(text, str) else content_text(field(text, "value") or "") if text else ""


def has_reasoning(content: Any) -> bool:
    """Return whether a message's content has a part that is reasoning."""
    parts = content if isinstance(content, (list, tuple)) else [content]
    return any(field(part, "type") in ("thinking", "reasoning", "redacted_thinking") for part in parts)


def field(value: Any, *path: str) -> Any:
    """Return ``value.a.b``, or None if a part is missing: SDKs do not check what a server omits."""
    for name in path:
        value = value.get(name) if isinstance(value, Mapping) else getattr(value, name, None)
    return value


_THOUGHTS = re.compile(r"\A\s*<think(?:ing)?>.*?</think(?:ing)?>\s*", re.DOTALL)


def without_thoughts(text: str) -> str:
    """Remove the reasoning that some local servers leave at the beginning of an answer."""
    return _THOUGHTS.sub("", text)
